"""Reports: a pure function of table files, configuration and run directories; nothing is trained.

Writes ``<results>/<profile>/<table>.csv`` (tidy, one line per cell) and ``.md``. Holes are printed
as holes; a crash is printed only where a result says so.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scaledrelu.runs.record import Status, write_atomic
from scaledrelu.tables.cells import CellValue, cell_notes, read_cell
from scaledrelu.tables.markdown import markdown
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.spec import MISSING, Table

LEADING = ("table", "row", "block")
TRAILING = (
    "metric",
    "value",
    "std",
    "n_ok",
    "n_crash",
    "n_failed",
    "last_value",
    "paper",
    "delta",
    "status",
    "run_ids",
    "note",
)


def write_reports(plan: Plan, *, results: Path) -> list[Path]:
    """Write CSV and markdown of every planned table; unchanged files are left alone.

    Returns:
        The files, in table order.
    """
    written = []
    for table in plan.tables:
        values = [read_cell(plan, cell) for cell in plan.cells_of(table)]
        for suffix, text in (
            ("csv", csv_text(table, values)),
            ("md", markdown(plan, table, values)),
        ):
            path = results / plan.profile / f"{table.name}.{suffix}"
            if not path.is_file() or path.read_bytes() != text.encode():
                write_atomic(path, text)
            written.append(path)
    return written


def csv_text(table: Table, values: Sequence[CellValue]) -> str:
    """Return one line per cell: labels, ours, the paper's, status, runs.

    A block's baseline has row 0. ``value`` is empty unless the status is ok. Columns of one metric
    (Table 4 has two data sets) are told apart by their own names.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    labels = [column.name for column in table.labels]
    writer.writerow([*LEADING, *labels, *TRAILING])
    sources = Counter(column.source for column in table.metrics)
    for value in values:
        cell, source = value.cell, value.cell.column.source
        writer.writerow(
            [
                table.name.removeprefix("table"),
                cell.row.number,
                cell.row.block,
                *(cell.labels[name] for name in labels),
                source if sources[source] == 1 else cell.column.name,
                _number(value.value),
                _number(value.std),
                value.count(Status.OK),
                value.count(Status.CRASH),
                value.count(Status.FAILED),
                _number(value.last_value),
                _paper(value),
                _number(value.delta),
                value.status,
                " ".join(cell.run_ids),
                csv_note(value),
            ]
        )
    return buffer.getvalue()


def csv_note(value: CellValue) -> str:
    """Return what a reader of one CSV line has to know beside the numbers."""
    parts = cell_notes(value.cell)
    if value.is_misprint:
        parts.append(f"{value.doubt}: no target")
    if value.cell.row.is_baseline:
        parts.append("baseline")
    n_crash, n = value.count(Status.CRASH), len(value.seeds)
    if n_crash and n > 1:
        parts.append(f"{n_crash} of {n} crashed")
    holes = value.count(Status.MISSING)
    if holes and n > 1:
        parts.append(f"{holes} of {n} missing")
    reasons = dict.fromkeys(seed.why for seed in value.seeds if seed.why)
    return "; ".join([*parts, *reasons])


def _paper(value: CellValue) -> str:
    if isinstance(value.paper, str):
        return "" if value.paper == MISSING else value.paper
    return f"{value.paper:.{value.cell.column.digits}f}"


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.4f}"
