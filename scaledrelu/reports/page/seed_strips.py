"""A row's seeds as a small drawing: a dot each, a cross for a crash, on one axis for all rows.

A mean never stands without the seeds behind it. The same numbers stand beside the drawing as
text, so nothing is said by the drawing alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scaledrelu.reports.cells import CellValue, SeedValue
from scaledrelu.reports.page.html import Html, tag
from scaledrelu.reports.page.links import Links
from scaledrelu.runs.record import Status

WIDTH, HEIGHT = 200, 34
LEFT, RIGHT = 22, 8  # room at the sides; on the left for crashes without a value
RADIUS = 3.5
STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Axis:
    """Which values lie where, from the lowest tick to the highest."""

    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Return the x of a value; values beyond the ends lie at the ends."""
        low, high = self.ticks[0], self.ticks[-1]
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def axis_for(values: Sequence[CellValue]) -> Axis | None:
    """Return the axis that some rows share for one metric; None where no seed has a value."""
    shown = [number for value in values for number in value.values.values()]
    if not shown:
        return None
    shown += [value.target for value in values if _has_paper_tick(value)]
    low, high = min(shown), max(shown)
    step = _step((high - low) or abs(high) or 1.0)
    first, last = math.floor(low / step), math.ceil(high / step)
    if first == last:
        last += 1
    return Axis(tuple(round(n * step, 6) for n in range(first, last + 1)))


def axis_drawing(axis: Axis) -> Html:
    """Return the numbers of an axis, for the head of the column."""
    shown = axis.ticks if len(axis.ticks) <= 6 else axis.ticks[:: math.ceil(len(axis.ticks) / 6)]
    labels = [
        tag("text", f"{tick:g}", x=axis.place(tick), y=10, text_anchor="middle") for tick in shown
    ]
    return _svg(14, "axis", labels)


def strip(value: CellValue, axis: Axis, links: Links) -> Html:
    """Return one row's seeds as a drawing, each linked to its record.

    Args:
        value: the row.
        axis: the axis of its column.
        links: where the records are.
    """
    middle = HEIGHT / 2
    grid = [
        tag("line", x1=axis.place(t), x2=axis.place(t), y1=2, y2=HEIGHT - 2, class_="tick")
        for t in axis.ticks
    ]
    parts = [*grid, *_mean(value, axis, middle)]
    if _has_paper_tick(value):
        x = axis.place(value.target)
        parts.append(tag("line", x1=x, x2=x, y1=3, y2=HEIGHT - 3, class_="paper"))
    return _svg(HEIGHT, "strip", [*parts, *_marks(value, axis, middle, links)])


def seed_text(seed: SeedValue, digits: int) -> str:
    """Return what became of one seed: ``95.0``, ``crash 18.1``, ``missing``.

    Args:
        seed: the seed.
        digits: digits after the decimal point.
    """
    number = "" if seed.value is None else f"{seed.value:.{digits}f}"
    if seed.status is Status.OK:
        return number
    return f"{seed.status} {number}".rstrip()


def _svg(height: float, kind: str, parts: Iterable[Html]) -> Html:
    """Return a drawing that is passed over when read aloud: its numbers stand beside it."""
    size = {"width": WIDTH, "height": height, "viewBox": f"0 0 {WIDTH} {height}"}
    return tag("svg", *parts, class_=kind, aria_hidden="true", focusable="false", **size)


def _has_paper_tick(value: CellValue) -> bool:
    return value.target is not None and value.cell.on_papers_data


def _mean(value: CellValue, axis: Axis, y: float) -> list[Html]:
    """Draw the mean over all seeds and its interval, as far as the axis reaches."""
    found = value.all_seeds
    if found is None or found.half is None:
        return []
    low, high = (axis.place(found.mean + side * found.half) for side in (-1, 1))
    x = axis.place(found.mean)
    return [
        tag("line", x1=low, x2=high, y1=y, y2=y, class_="interval"),
        tag("line", x1=x, x2=x, y1=y - 7, y2=y + 7, class_="mean"),
    ]


def _marks(value: CellValue, axis: Axis, y: float, links: Links) -> list[Html]:
    marks, placed = [], []
    for seed in value.seeds:
        if not seed.status.done:
            continue
        x = LEFT / 2 - 4 if seed.value is None else axis.place(seed.value)
        offset = _free(x, placed)
        placed.append((x, offset))
        mark = _mark(seed, x, y + offset)
        title = tag("title", f"seed {seed.run.seed}: {seed_text(seed, value.cell.column.digits)}")
        target = links.target(seed.run.run_id)
        marks.append(tag("a", title, mark, href=target, tabindex=-1) if target else mark)
    return marks


def _free(x: float, placed: Sequence[tuple[float, float]]) -> float:
    """Return how far a mark is moved up or down so that it covers no earlier one."""
    for level in (0, -1, 1, -2, 2):
        offset = level * (2 * RADIUS - 1)
        if all(abs(x - a) > 2 * RADIUS - 1 or b != offset for a, b in placed):
            return offset
    return 0


def _mark(seed: SeedValue, x: float, y: float) -> Html:
    if seed.status is not Status.CRASH:
        return tag("circle", cx=x, cy=y, r=RADIUS, class_="seed")
    path = f"M{x - RADIUS:.1f} {y - RADIUS:.1f}l{2 * RADIUS:g} {2 * RADIUS:g}m0 {-2 * RADIUS:g}"
    return tag("path", d=f"{path}l{-2 * RADIUS:g} {2 * RADIUS:g}", class_="crashed")


def _step(span: float) -> float:
    """Return the distance of ticks that a reader takes for round: about four of them."""
    rough = span / 4
    power = 10 ** math.floor(math.log10(rough))
    return next(step * power for step in STEPS if step * power >= rough * (1 - 1e-9))
