"""Differences that a table may print: against the paper, against a block's baseline row.

A difference is undecided where the interval over seeds contains zero (a single seed has none), or
where it is smaller than what the validation images can resolve.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scaledrelu.reports.cells import CellValue
from scaledrelu.reports.statistics import Estimate, is_decided, paired, resolvable
from scaledrelu.tables.table import Column

NO_SHARES = ("val/map",)  # a mean of something else than right or wrong
IMAGES = "validation images"


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of ours, and whether seeds and images suffice to call it one."""

    size: Estimate
    is_decided: bool


@dataclass(frozen=True, slots=True)
class _JudgedOn:
    """How many things stand behind every value of a column, and what they are called."""

    count: int
    name: str


def base_of(value: CellValue, values: Iterable[CellValue]) -> CellValue | None:
    """Return the cell that a cell is compared with in its block; None for itself or without one.

    Args:
        value: the cell.
        values: all cells of its table.
    """
    row, column = value.cell.table.baseline_of(value.cell.row), value.cell.column
    return next((v for v in values if v.cell.row is row and v.cell.column is column), None)


def against_base(value: CellValue, base: CellValue | None) -> Difference | None:
    """Return ours minus the base's, over the seeds that both have; None without such a seed.

    Args:
        value: the cell.
        base: what it is compared with, or None.
    """
    size = paired(value.values, base.values) if base else None
    if size is None:
        return None
    return Difference(size, is_decided(size, value.value, base.value, share_of(value)))


def paper_against_base(value: CellValue, base: CellValue | None) -> float | None:
    """Return the same difference as the paper printed it; None where either is not a target.

    Args:
        value: the cell.
        base: what it is compared with, or None.
    """
    if base is None or value.target is None or base.target is None:
        return None
    return value.target - base.target


def against_paper(value: CellValue) -> Difference | None:
    """Return ours minus the paper's; None on other data than the paper's or without numbers."""
    ours, paper = value.all_seeds, value.target
    if ours is None or paper is None or not value.cell.on_papers_data:
        return None
    size = Estimate(ours.mean - paper, ours.half, ours.sd, ours.n)
    return Difference(size, is_decided(size, ours.mean, paper, share_of(value)))


def _judged_on(values: Iterable[CellValue]) -> _JudgedOn | None:
    """Return what the runs of some cells with one data set were judged on; None if unknown."""
    seeds = [(value.cell.column, seed) for value in values for seed in value.seeds]
    named = {
        (int(seed.num_judged), column.judged_on[1])
        for column, seed in seeds
        if column.judged_on and seed.num_judged is not None
    }
    counted = {(s.sizes["val"], IMAGES) for _, s in seeds if s.sizes.get("val")}
    found = sorted(named or counted)
    return _JudgedOn(*found[0]) if found else None  # the fewest, should runs ever differ


def resolution_notes(columns: Sequence[Column], values: Sequence[CellValue]) -> list[str]:
    """Say what the validation images of some columns, which share their runs, can resolve.

    Args:
        columns: metrics of the same runs.
        values: cells of these columns.
    """
    judged = _judged_on(values)
    if judged is None:
        return []
    shares = [column for column in columns if _is_share(column)]
    means = [column for column in columns if not _is_share(column)]
    notes = [f"{column.header}: the mean over {judged.count:,} {judged.name}" for column in means]
    levels = [v.value for v in values if v.cell.column in shares and v.value is not None]
    if levels:
        several = len(columns) > 1
        about = f"{', '.join(column.header for column in shares)}: " if several else ""
        notes.append(about + _resolution(judged, levels))
    return notes


def _is_share(column: Column) -> bool:
    """Say whether a metric is the share of images that a run gets right."""
    return column.source not in NO_SHARES


def _resolution(judged: _JudgedOn, levels: Sequence[float]) -> str:
    """Say what it takes to tell two runs apart, at the levels (%) where it is most and least."""
    limits = sorted(
        (100 * resolvable(level / 100, level / 100, judged.count), level) for level in levels
    )
    ends = dict.fromkeys(
        f"{limit:.1f} points at {level:.0f} %" for limit, level in (limits[-1], limits[0])
    )
    one = "one" if judged.name == IMAGES else "one query"
    return (
        f"{judged.count:,} {judged.name}; {one} is {100 / judged.count:.2g} points. Two runs that "
        f"differ by less than {' or '.join(ends)} cannot be told apart by them (95 %)"
    )


def share_of(value: CellValue) -> int | None:
    """Return how many images, or queries, a value is a share of; None for a mean or if unknown."""
    judged = _judged_on([value]) if _is_share(value.cell.column) else None
    return judged.count if judged else None
