"""Draws the GPU-hours of the whole paper by method: official scripts, ours, floor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaledrelu.cost.hours import Hours
from scaledrelu.cost.whole import OFFICIAL, OURS, TUNED, Group
from scaledrelu.reports.drawing import drawing, look, save_picture
from scaledrelu.reports.performance.basis import NAMES

BARS = {OFFICIAL: "official", TUNED: "official, tuned", OURS: "ours", "floor": "floor"}
HATCHES = ("", "//", "", "..")  # told apart without colour
HEIGHT = 0.2  # of a bar; methods are one apart


def draw(groups: Sequence[Group], *, place: Path) -> list[Path]:
    """Write a picture with a group of bars for each method, and their ranges.

    Args:
        groups: all runs.
        place: path without suffix.
    """
    with drawing(7.0, 4.2) as (figure, axes):
        for number, (side, label) in enumerate(BARS.items()):
            hours = [_hours(group, side) for group in groups]
            bars = axes.barh(
                [row + (number - 1.5) * HEIGHT for row in range(len(groups))],
                [one.likely for one in hours],
                height=HEIGHT,
                color=look(number).colour,
                hatch=HATCHES[number],
                edgecolor="white",
                label=f"{label}: {sum(one.likely for one in hours):,.0f} in all",
                xerr=[
                    [one.likely - one.low for one in hours],
                    [one.high - one.likely for one in hours],
                ],
                error_kw={"elinewidth": 0.8, "capsize": 1.5},
            )
            texts = [f"{one.likely:,.0f}" for one in hours]
            axes.bar_label(bars, labels=texts, padding=3, fontsize=7)
        axes.set_yticks(range(len(groups)), [NAMES[one.method, one.sam] for one in groups])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("GPU-hours; the line on a bar is its range")
        axes.legend(loc="lower right")
        return save_picture(figure, place)


def _hours(group: Group, side: str) -> Hours:
    return Hours(*[group.floor] * 3) if side == "floor" else group.hours(side)
