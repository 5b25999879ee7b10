"""Training curves of every row of a table, from what its runs left: CSV and picture.

Writes ``<results>/<profile>/curves/<table>.{csv,png,svg}``; trains nothing. A run without curves is
named, and keeps nothing else from being drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.files import write_changed
from scaledrelu.reports.cells import UPSTREAM
from scaledrelu.reports.command import how_to_train
from scaledrelu.reports.curves_picture import RowCurves, draw
from scaledrelu.reports.grid import grid_columns, grid_title
from scaledrelu.reports.histories import LOSS, read_history
from scaledrelu.reports.report_files import CURVES
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.table import Table
from scaledrelu.text import csv_of

COLUMNS = (
    "table",
    "row",
    "block",
    "data",
    "curve",
    "seed",
    "status",
    "epoch",
    "step",
    "value",
    "run_id",
    "note",
)  # docs/reports.md says what each holds


@dataclass(frozen=True, slots=True)
class Written:
    """The curves of one table.

    Attributes:
        files: what was written; none if no run of the table has finished.
        lines: which runs are not in it, and why.
    """

    files: tuple[Path, ...]
    lines: tuple[str, ...]


def write_curves(plan: Plan, table: Table) -> Written:
    """Write the curves of a table; unchanged files are left alone.

    Args:
        plan: the plan that the table belongs to.
        table: the table.
    """
    rows = read_rows(plan, table)
    place = plan.results / plan.profile / CURVES / table.name
    files: list[Path] = []
    if any(history.run.status.done for row in rows for history in row.histories):
        files.append(write_changed(place.with_suffix(".csv"), _csv_text(table, rows)))
        files += draw(rows, place)
    return Written(tuple(files), tuple(_lines(plan, table, rows)))


def read_rows(plan: Plan, table: Table) -> list[RowCurves]:
    """Return the curves of every row, block by block; once for each data set of a row.

    Args:
        plan: the plan that the table belongs to.
        table: the table.
    """
    groups = grid_columns(table)
    found = []
    for columns in groups:
        data = grid_title(columns) if len(groups) > 1 else ""
        for cell in plan.cells_of(table):
            if cell.column is columns[0]:
                runs = [plan.runs[name] for name in cell.run_ids]
                metric = cell.composed.config.evaluation.headline or cell.column.source
                histories = [read_history(plan, run, metric) for run in runs]
                found.append(RowCurves(cell, data, tuple(histories)))
    return found


def _csv_text(table: Table, rows: Sequence[RowCurves]) -> str:
    """Return one line per point; a run without curves has one line, with the reason."""
    lines = []
    for row in rows:
        name = [table.name.removeprefix("table"), row.cell.row.number, row.cell.row.block, row.data]
        for history in row.histories:
            run = history.run
            who, of = [run.seed, str(run.status)], run.run_id
            for curve, points in ((LOSS, history.loss), (history.metric, history.validation)):
                for point in points:
                    where = [f"{point.epochs:.4f}", point.step, f"{point.value:.6g}"]
                    lines.append([*name, curve, *who, *where, of, ""])
            if history.crashed_at is not None:
                note = ", ".join(filter(None, [f"crash: {history.kind}", history.doubt]))
                end = [f"{history.crashed_at:.4f}", "", "", of, note]
                lines.append([*name, "", *who, *end])
            if history.absent:
                lines.append([*name, "", *who, "", "", "", of, history.absent])
    return csv_of(COLUMNS, lines)


def _lines(plan: Plan, table: Table, rows: Sequence[RowCurves]) -> list[str]:
    """Return one line for each damaged run and one for all that have not finished."""
    histories = [(row, history) for row in rows for history in row.histories]
    lines = [
        f"{table.name}, row {row.name}, seed {history.run.seed}, {history.run.run_id}: "
        f"{history.absent}; its curves are left out"
        for row, history in histories
        if history.absent and history.run.status.done
    ]
    undone = {h.run.run_id for _, h in histories if not h.run.status.done and h.absent != UPSTREAM}
    if undone:
        runs = f"{len(undone)} run{'s have' if len(undone) > 1 else ' has'} not finished"
        how = how_to_train(plan, table)
        lines.append(f"{table.name}: {runs}; to train what is missing: {how}")
    return lines
