"""Runs with the same values of some keys, as one number: mean, interval, and how many crashed.

As in the tables, a crashed run counts with the value that it ended at, and beside the mean over all
finished runs stands that over the runs that held.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scaledrelu.reports.collect.rows import Row, is_done
from scaledrelu.reports.collect.table import sort_key, telling_keys, varying_keys
from scaledrelu.reports.statistics import Estimate, estimate
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import value_text
from scaledrelu.text import plural

NONE = "-"


@dataclass(frozen=True, slots=True)
class RunGroup:
    """The runs of one group and what they add up to.

    Attributes:
        values: what they share, in the order of the keys.
        rows: the runs.
        metric: what is averaged.
    """

    values: tuple[Any, ...]
    rows: tuple[Row, ...]
    metric: str

    @property
    def finished(self) -> list[Row]:
        """Those with a result; a crash is a result."""
        return [row for row in self.rows if is_done(row)]

    @property
    def judged(self) -> list[Row]:
        """Those whose metric is a finite number."""
        return [row for row in self.finished if self.value_of(row) is not None]

    @property
    def held(self) -> list[Row]:
        """Of these, those that did not crash."""
        return [row for row in self.judged if row["outcome"] == Status.OK]

    @property
    def num_crashed(self) -> int:
        """How many crashed."""
        return sum(row["outcome"] == Status.CRASH for row in self.rows)

    def value_of(self, row: Row) -> float | None:
        """Return the metric of a run; None where it is not a finite number."""
        value = row.get(self.metric)
        return value if value is not None and math.isfinite(value) else None

    def mean(self, rows: Sequence[Row]) -> Estimate | None:
        """Return mean and interval over some of its runs."""
        return estimate([row[self.metric] for row in rows])


def group_runs(rows: Sequence[Row], by: Sequence[str], metric: str) -> list[RunGroup]:
    """Return the groups, sorted by their values.

    Args:
        rows: runs.
        by: keys whose values make a group.
        metric: what is averaged.
    """
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(key) for key in by), []).append(row)
    order = sorted(found, key=lambda values: [sort_key(value) for value in values])
    return [RunGroup(values, tuple(found[values]), metric) for values in order]


def averaged_over(groups: Sequence[RunGroup]) -> list[str]:
    """Return the keys that differ inside of groups: what a mean is taken over."""
    inside = {}
    for group in groups:
        varying = varying_keys(group.rows)
        inside |= dict.fromkeys(telling_keys(group.rows, varying))
    return list(inside)


def group_lines(groups: Sequence[RunGroup], by: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return headers and texts, one line for each group.

    Args:
        groups: groups of runs.
        by: the keys that made them.
    """
    metric = groups[0].metric
    columns: dict[str, list[str]] = {
        key: [value_text(group.values[place]) for group in groups] for place, key in enumerate(by)
    }
    columns["runs"] = [str(len(group.finished)) for group in groups]
    columns["crashed"] = [str(group.num_crashed) for group in groups]
    columns[metric] = [_estimate_text(group.mean(group.judged)) for group in groups]
    if any(group.num_crashed for group in groups):
        columns["without crashed"] = [_estimate_text(group.mean(group.held)) for group in groups]
    if any(_open_text(group) for group in groups):
        columns["besides"] = [_open_text(group) or NONE for group in groups]
    lines = zip(*columns.values(), strict=True)
    return list(columns), [list(line) for line in lines]


def pivot_lines(groups: Sequence[RunGroup], by: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return headers and texts with the values of the last key side by side.

    Args:
        groups: groups of runs.
        by: the keys that made them, at least two.
    """
    across = sorted({group.values[-1] for group in groups}, key=sort_key)
    cells: dict[tuple[Any, ...], Mapping[Any, str]] = {}
    for group in groups:
        head, last = group.values[:-1], group.values[-1]
        cells[head] = {**cells.get(head, {}), last: _pivot_cell(group)}
    headers = [*by[:-1], *(f"{by[-1]} {value_text(value)}" for value in across)]
    return headers, [
        [*map(value_text, head), *(line.get(value, NONE) for value in across)]
        for head, line in cells.items()
    ]


def _pivot_cell(group: RunGroup) -> str:
    """Return e.g. ``59.44 +/- 45.30 (5 runs, 1 crashed)``."""
    counted = [plural(len(group.finished), "run")]
    counted += [f"{group.num_crashed} crashed"] if group.num_crashed else []
    counted += [_open_text(group)] if _open_text(group) else []
    return f"{_estimate_text(group.mean(group.judged))} ({', '.join(counted)})"


def _estimate_text(found: Estimate | None) -> str:
    """Return ``mean +/- half of the 95 % interval``; one run has no interval."""
    return NONE if found is None else found.text(2)


def group_record(group: RunGroup, by: Sequence[str]) -> Row:
    """Return a group as plain values, for a CSV file.

    Args:
        group: runs.
        by: the keys that made it.
    """
    everything, held = group.mean(group.judged), group.mean(group.held)
    return {
        **dict(zip(by, group.values, strict=True)),
        "metric": group.metric,
        "mean": everything and everything.mean,
        "half_interval": everything and everything.half,
        "sd": everything and everything.sd,
        "n": len(group.judged),
        "mean_held": held and held.mean,
        "half_interval_held": held and held.half,
        **{f"n_{status}": sum(row["outcome"] == status for row in group.rows) for status in Status},
        "run_ids": " ".join(row["run_id"] for row in group.rows),
    }


def _open_text(group: RunGroup) -> str:
    """Return what is in no mean: runs without a result, or without this metric."""
    counted = Counter(row["outcome"] for row in group.rows if not is_done(row))
    parts = [f"{count} {outcome}" for outcome, count in sorted(counted.items())]
    without = len(group.finished) - len(group.judged)
    return ", ".join([*parts, *([f"{without} without a value"] if without else [])])
