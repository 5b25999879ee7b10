"""A metric of runs against a key: a dot for every run, a cross if it crashed, a line of means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from scaledrelu.reports.collect.groups import RunGroup
from scaledrelu.reports.collect.rows import Row
from scaledrelu.reports.collect.table import sort_key
from scaledrelu.reports.drawing import (
    CRASH,
    Look,
    drawing,
    explain_no_value,
    look,
    mark_no_value,
    save_picture,
)
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import value_text

RATES = ("lr.", "optimizer.build.weight_decay")  # drawn on a log scale
SPREAD = 0.5  # of the smallest distance between two values: room for the series side by side


def draw_groups(groups: Sequence[RunGroup], by: Sequence[str], place: Path) -> list[Path]:
    """Write the picture of some groups as PNG and SVG.

    The first key that holds numbers only goes from left to right, without one the last key; the
    other keys make the series.

    Args:
        groups: groups of runs.
        by: the keys that made them.
        place: path without suffix.
    """
    at = _across(groups)
    series: dict[tuple[Any, ...], list[RunGroup]] = {}
    for group in groups:
        series.setdefault(_without(group.values, at), []).append(group)
    values = sorted({group.values[at] for group in groups}, key=sort_key)
    scale = _Scale(by[at], tuple(values), len(series))
    with drawing(6.4, 4.6) as (figure, axes):
        for number, (name, members) in enumerate(series.items()):
            text = ", ".join(map(value_text, name)) or "mean"
            _draw_series(axes, members, [scale.place(m.values[at], number) for m in members], text)
        ends = [group.value_of(row) for group in groups for row in _crashed(group)]
        if any(end is not None for end in ends):
            axes.plot([], [], **CRASH, label="crashed, at the value it ended with")
        if None in ends:
            explain_no_value(axes)
        axes.set_xticks([scale.middle(value) for value in values], list(map(value_text, values)))
        axes.set_xlabel(f"{by[at]} (log scale)" if scale.is_log else by[at])
        axes.set_ylabel(f"{groups[0].metric} (lines join means)")
        figure.legend(
            loc="outside lower center", ncols=3, title=", ".join(_without(tuple(by), at)) or None
        )
        return save_picture(figure, place)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where values stand from left to right, series side by side."""

    key: str
    values: tuple[Any, ...]
    num_series: int

    @property
    def is_log(self) -> bool:
        numbers = all(_is_number(value) and value > 0 for value in self.values)
        return numbers and self.key.startswith(RATES)

    def middle(self, value: Any) -> float:
        """Return the place of a value."""
        if self.is_log:
            return math.log10(value)
        numbers = all(map(_is_number, self.values))
        return float(value) if numbers else float(self.values.index(value))

    def place(self, value: Any, number: int) -> float:
        """Return the place of a value in the n-th series."""
        places = sorted(map(self.middle, self.values))
        gap = min((b - a for a, b in pairwise(places)), default=1.0)
        step = SPREAD * gap / self.num_series
        return self.middle(value) + step * (number - (self.num_series - 1) / 2)


def _draw_series(
    axes: Any, members: Sequence[RunGroup], places: Sequence[float], text: str
) -> None:
    own = look(len(axes.get_legend_handles_labels()[1]))
    means = [group.mean(group.judged) for group in members]
    line = [(x, found.mean) for x, found in zip(places, means, strict=True) if found is not None]
    axes.plot([x for x, _ in line], [y for _, y in line], **{**own.settings, "marker": ""})
    axes.plot([], [], **own.settings, label=text)
    for group, x in zip(members, places, strict=True):
        _draw_runs(axes, group, x, own)


def _draw_runs(axes: Any, group: RunGroup, x: float, own: Look) -> None:
    held = [group.value_of(row) for row in group.held]
    axes.plot([x] * len(held), held, **own.dots, alpha=0.8)
    values = [group.value_of(row) for row in _crashed(group)]
    ends = [value for value in values if value is not None]
    axes.plot([x] * len(ends), ends, **own.dots, fillstyle="none")
    axes.plot([x] * len(ends), ends, **CRASH)
    if None in values:  # never judged
        mark_no_value(axes, x, own)


def _crashed(group: RunGroup) -> list[Row]:
    return [row for row in group.finished if row["outcome"] == Status.CRASH]


def _across(groups: Sequence[RunGroup]) -> int:
    places = range(len(groups[0].values))
    numeric = (at for at in places if all(_is_number(group.values[at]) for group in groups))
    return next(numeric, len(places) - 1)


def _without(values: tuple[Any, ...], at: int) -> tuple[Any, ...]:
    return values[:at] + values[at + 1 :]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
