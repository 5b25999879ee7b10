"""Reports: a pure function of table files, configuration and run directories; nothing is trained.

Writes ``<results>/<profile>/<table>.csv`` (tidy, one line per cell) and ``.md``. Holes are printed
as holes; a crash is printed only where a result says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from scaledrelu.files import write_changed
from scaledrelu.reports.cells import UPSTREAM, CellValue, SeedValue, cell_notes, read_cell
from scaledrelu.reports.command import without_paths
from scaledrelu.reports.comparison import against_base, against_paper, base_of, share_of
from scaledrelu.reports.grid import seeds_text
from scaledrelu.reports.markdown import markdown, sections
from scaledrelu.reports.stability.files import write_stability
from scaledrelu.runs.record import Status
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.table import MISSING
from scaledrelu.text import csv_of, four_digits


def write_reports(plan: Plan, *, planner: Planner | None = None) -> list[Path]:
    """Write CSV and markdown of every planned table; unchanged files are left alone.

    A grid of rates has its own page and pictures instead (:mod:`scaledrelu.reports.stability`).

    Args:
        plan: what is reported.
        planner: plans the table with more seeds than a grid; None = a new one.

    Returns:
        The files, in table order.
    """
    written = []
    for table in plan.tables:
        if table.is_grid:
            written += write_stability(plan, table, planner=planner)
            continue
        values = [read_cell(plan, cell) for cell in plan.cells_of(table)]
        for suffix, text in (
            ("csv", csv_text(values)),
            ("md", markdown(table, values, sections(plan, table, values))),
        ):
            path = plan.results / plan.profile / f"{table.name}.{suffix}"
            written.append(write_changed(path, text))
    return written


def csv_text(values: Sequence[CellValue]) -> str:
    """Return one line per cell: labels, the paper's value, ours over all seeds, the runs.

    docs/reports.md says what each column holds.

    Args:
        values: the cells of a table, in printed order.
    """
    lines = [_line(value, values) for value in values]
    names = (name for name, _ in lines[0])
    return csv_of(names, ((content for _, content in line) for line in lines))


def _line(value: CellValue, values: Sequence[CellValue]) -> list[tuple[str, object]]:
    """Return the columns of one line, each with its name; a block's baseline has row 0.

    Columns of one metric (Table 4 has two data sets) are told apart by their own names.
    """
    cell, source = value.cell, value.cell.column.source
    is_alone = sum(column.source == source for column in cell.table.metrics) == 1
    fields = {
        "metric": source if is_alone else cell.column.name,
        **_counts(value),
        **_numbers(value, base_of(value, values)),
        **_per_seed(value),
        "run_ids": " ".join(cell.run_ids),
        "note": _csv_note(value),
    }
    return [
        ("table", cell.table.name.removeprefix("table")),
        ("row", cell.row.number),
        ("block", cell.row.block),
        *cell.labels.items(),
        *fields.items(),
    ]


def _csv_note(value: CellValue) -> str:
    """Return what a reader of one CSV line has to know beside the numbers."""
    parts = cell_notes(value.cell)
    if value.is_misprint:
        parts.append(f"{value.doubt}: no target")
    if value.cell.row.is_baseline:
        parts.append("baseline")
    if len(value.seeds) > 1 and (
        value.count(Status.CRASH) or len(value.finished) < len(value.seeds)
    ):
        parts.append(seeds_text(value))
    whys = [without_paths(s.why, s.run) for s in value.seeds if s.why]
    # Whoever reads the CSV counts the seeds that could not start, so these are not merged.
    reasons = [w for i, w in enumerate(whys) if w not in whys[:i] or w.startswith(UPSTREAM)]
    remarks = [f"seed {s.run.seed}: {remark}" for s in value.seeds for remark in s.remarks]
    return "; ".join([*parts, *reasons, *remarks])


def _counts(value: CellValue) -> dict[str, object]:
    return {
        "paper": _paper(value),
        "target": "" if value.target is None else _paper(value),
        "status": value.status,
        "n": len(value.finished),
        "n_ok": value.count(Status.OK),
        "n_crash": value.count(Status.CRASH),
        "n_failed": value.num_failed,
        "n_missing": value.count(Status.MISSING),
        "n_images": share_of(value) or "",
    }


def _numbers(value: CellValue, base: CellValue | None) -> dict[str, object]:
    everyone, held = value.all_seeds, value.held
    paper, relative = against_paper(value), against_base(value, base)
    return {
        "mean_all": four_digits(everyone and everyone.mean),
        "ci_all": four_digits(everyone and everyone.half),
        "sd": four_digits(everyone and everyone.sd),
        "mean_held": four_digits(held and held.mean),
        "ci_held": four_digits(held and held.half),
        "delta": four_digits(paper and paper.size.mean),
        "base": "" if base is None else base.cell.row.number,
        "vs_base": four_digits(relative and relative.size.mean),
        "ci_vs_base": four_digits(relative and relative.size.half),
        "decided": "" if relative is None else ("yes" if relative.is_decided else "no"),
    }


def _per_seed(value: CellValue) -> dict[str, str]:
    last, best = value.last_epoch, value.best_epoch
    limits = dict.fromkeys(four_digits(s.limit) for s in value.seeds if s.limit)
    return {
        "epoch": value.cell.composed.config.evaluation.report,
        "values": _seed_list(value, lambda seed: seed.value),
        "mean_last": four_digits(last and last.mean),
        "values_last": _seed_list(value, lambda seed: seed.last),
        "mean_best": four_digits(best and best.mean),
        "values_best": _seed_list(value, lambda seed: seed.best),
        "judged_losses": _seed_list(value, lambda seed: seed.judged_loss),
        "judged_limit": " ".join(limits),
    }


def _seed_list(value: CellValue, number: Callable[[SeedValue], float | None]) -> str:
    """Return ``0=92.1667 1=crash:31.3889 2=missing``: a crash without a value ends in a colon."""
    if all(number(seed) is None for seed in value.finished):
        return ""
    items = []
    for seed in value.seeds:
        mark = f"{seed.status}:" if seed.status is Status.CRASH else ""
        text = f"{mark}{four_digits(number(seed))}" if seed.status.done else str(seed.status)
        items.append(f"{seed.run.seed}={text}")
    return " ".join(items)


def _paper(value: CellValue) -> str:
    if isinstance(value.paper, str):
        return "" if value.paper == MISSING else value.paper
    return f"{value.paper:.{value.cell.column.digits}f}"
