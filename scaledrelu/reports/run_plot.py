"""A metric of runs against a key: a dot for every run, a cross if it crashed, a line of means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaledrelu.reports.drawing import CRASH, Look, drawing, look, save_picture
from scaledrelu.reports.run_filters import cell_text
from scaledrelu.reports.run_groups import RunGroup
from scaledrelu.reports.run_table import sort_key
from scaledrelu.runs.record import Status

RATES = ("lr.", "optimizer.build.weight_decay", "optimizer.build.lr")  # drawn on a log scale
SPREAD = 0.12  # how far apart series stand, in places of a scale without numbers


def draw_groups(groups: Sequence[RunGroup], by: Sequence[str], place: Path) -> list[Path]:
    """Write the picture of some groups as PNG and SVG.

    The first key with numbers only is drawn from left to right, the others make the series; without
    such a key the last one is.

    Args:
        groups: groups of runs.
        by: the keys that made them.
        place: path without suffix.
    """
    at = _across(groups)
    series: dict[tuple[Any, ...], list[RunGroup]] = {}
    for group in groups:
        rest = tuple(value for number, value in enumerate(group.values) if number != at)
        series.setdefault(rest, []).append(group)
    scale = _Scale.of(groups, at, by[at], num_series=len(series))
    with drawing(6.4, 4.2) as (figure, axes):
        for number, (name, members) in enumerate(series.items()):
            text = ", ".join(map(cell_text, name)) or None
            _draw_series(axes, members, at, scale, number, text)
        _label_crashes(axes, groups)
        scale.label(axes)
        axes.set_xlabel(by[at])
        axes.set_ylabel(groups[0].metric)
        others = [key for number, key in enumerate(by) if number != at]
        if axes.get_legend_handles_labels()[1]:
            axes.legend(title=", ".join(others) or None)
        return save_picture(figure, place)


class _Scale:
    """Where a value stands from left to right."""

    def __init__(self, values: Sequence[Any], *, key: str, num_series: int) -> None:
        self._values, self._num_series = list(values), num_series
        self._is_number = all(_is_number(value) for value in values)
        self._is_log = self._is_number and key.startswith(RATES) and min(values) > 0

    @classmethod
    def of(cls, groups: Sequence[RunGroup], at: int, key: str, *, num_series: int) -> _Scale:
        values = sorted({group.values[at] for group in groups}, key=sort_key)
        return cls(values, key=key, num_series=num_series)

    def place(self, value: Any, number: int) -> float:
        """Return the place of a value in the n-th series."""
        if self._is_number:
            return float(value)
        return self._values.index(value) + SPREAD * (number - (self._num_series - 1) / 2)

    def label(self, axes: Any) -> None:
        """Name the values that there are."""
        if self._is_log:
            axes.set_xscale("log")
        places = self._values if self._is_number else range(len(self._values))
        axes.set_xticks(list(places), [cell_text(value) for value in self._values])
        axes.minorticks_off()


def _across(groups: Sequence[RunGroup]) -> int:
    for number in range(len(groups[0].values)):
        if all(_is_number(group.values[number]) for group in groups):
            return number
    return len(groups[0].values) - 1


def _draw_series(
    axes: Any, members: Sequence[RunGroup], at: int, scale: _Scale, number: int, text: str | None
) -> None:
    own = look(number)
    means = [
        (scale.place(group.values[at], number), found.mean)
        for group in members
        if (found := group.mean(group.judged)) is not None
    ]
    for group in members:
        place = scale.place(group.values[at], number)
        _draw_runs(axes, group, place, own)
    if means:
        axes.plot(*zip(*means, strict=True), **own.settings, markersize=0, label=None)
        axes.plot([], [], **own.settings, label=text)


def _draw_runs(axes: Any, group: RunGroup, place: float, own: Look) -> None:
    held = [group.value_of(row) for row in group.held]
    crashed = [row for row in group.finished if row["outcome"] == Status.CRASH]
    axes.plot(
        [place] * len(held), held, color=own.colour, marker=own.marker, linestyle="none", alpha=0.8
    )
    ends = [group.value_of(row) for row in crashed]
    axes.plot([place] * len(ends), [0.0 if end is None else end for end in ends], **CRASH)


def _label_crashes(axes: Any, groups: Sequence[RunGroup]) -> None:
    if any(group.num_crashed for group in groups):
        axes.plot([], [], **CRASH, label="crashed, at what it ended with")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
