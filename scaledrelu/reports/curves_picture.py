"""Training curves as small multiples: a few rows of a block side by side, every seed a line.

Left the training loss, right the validation metric; a crash is marked where it happened. Where a
row has many seeds their lines are faint, and a bold one is their mean.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from scaledrelu.config.evaluation import is_percent
from scaledrelu.reports.drawing import (
    CRASH,
    FAINT,
    MANY,
    Look,
    drawing,
    explain_no_value,
    look,
    mark_no_value,
    save_picture,
)
from scaledrelu.reports.grid import row_name
from scaledrelu.reports.histories import History, Point
from scaledrelu.tables.captions import rows_text
from scaledrelu.tables.plan import Cell
from scaledrelu.tables.table import Column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 4  # in one panel; more cannot be told apart
WIDTH, HEIGHT = 11.5, 2.35  # inches, of one panel
LEGEND = 34  # characters of a line
BOLD = 2.4  # points, of a mean
NUMBER = re.compile(r"[\d.e+,()-]+")


@dataclass(frozen=True, slots=True)
class RowCurves:
    """One row of a table and the curves of its seeds.

    Attributes:
        cell: the row's cell.
        data: the data set, where a table has several; else empty.
        histories: one per seed.
    """

    cell: Cell
    data: str
    histories: tuple[History, ...]

    @property
    def name(self) -> str:
        """How a reader names the row."""
        return row_name(self.cell.row)

    @property
    def short(self) -> str:
        """Its name beside the block's."""
        return "base" if self.cell.row.is_baseline else str(self.cell.row.number)

    @property
    def is_crowded(self) -> bool:
        """Whether it has too many seeds to follow each of them."""
        return len(self.histories) > MANY


def draw(rows: Sequence[RowCurves], place: Path) -> list[Path]:
    """Draw the curves of a table.

    Args:
        rows: its rows, block by block.
        place: path without suffix.
    """
    panels = [panel for block in _blocks(rows) for panel in _panels(block) if _is_there(panel)]
    height = HEIGHT * len(panels)
    with drawing(WIDTH, height, nrows=len(panels), ncols=2, squeeze=False) as (picture, axes):
        for (left, right), panel in zip(axes, panels, strict=True):
            _draw_panel(left, right, panel)
        for block in _blocks(rows):
            alike = [pair for pair, panel in zip(axes, panels, strict=True) if panel[0] in block]
            if alike:
                _align(alike)
        return save_picture(picture, place)


def _blocks(rows: Sequence[RowCurves]) -> list[list[RowCurves]]:
    blocks: dict[tuple[str, str], list[RowCurves]] = {}
    for row in rows:
        blocks.setdefault((row.data, row.cell.row.block), []).append(row)
    return list(blocks.values())


def _panels(block: Sequence[RowCurves]) -> list[list[RowCurves]]:
    """Return the rows of a block in panels of nearly the same size."""
    count = math.ceil(len(block) / MOST_ROWS)
    size = math.ceil(len(block) / count)
    return [list(block[i : i + size]) for i in range(0, len(block), size)]


def _is_there(panel: Sequence[RowCurves]) -> bool:
    """Say whether any run of a panel has finished."""
    return any(history.run.status.done for row in panel for history in row.histories)


def _draw_panel(left: Axes, right: Axes, rows: Sequence[RowCurves]) -> None:
    metric = rows[0].histories[0].metric
    for number, row in enumerate(rows):
        _draw_row(left, row, [history.loss for history in row.histories], look(number))
        _draw_row(right, row, [history.validation for history in row.histories], look(number))
        width = BOLD if row.is_crowded else None
        mark = {**look(number).settings, "markersize": 4, "linewidth": width}
        right.plot([], [], **mark, label=_legend(row, rows))
    _explain(right, rows)
    left.set_title(_title(rows), loc="left")
    left.set_ylabel("training loss")
    right.set_ylabel(f"{metric} (%)" if is_percent(metric) else metric)
    for axes in (left, right):
        axes.set_xlabel("epoch of the run")
        axes.xaxis.get_major_locator().set_params(integer=True)
    right.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=3, fontsize=8)


def _explain(axes: Axes, rows: Sequence[RowCurves]) -> None:
    """Say in the legend what crosses, open marks, faint and bold lines are, if there are any."""
    crashes = [h for row in rows for h in row.histories if h.crashed_at is not None]
    crossed = [history for history in crashes if history.loss or history.validation]
    if crossed:
        doubts = sorted({history.doubt for history in crossed} - {""})
        axes.plot([], [], **CRASH, label=",\n    or ".join(["crashed here", *doubts]))
    if any(not history.loss or not history.validation for history in crashes):
        explain_no_value(axes)
    if any(row.is_crowded for row in rows):
        axes.plot([], [], color="#444444", **FAINT, label="one seed; bold: mean of a row")


def _draw_row(axes: Axes, row: RowCurves, curves: Sequence[Sequence[Point]], style: Look) -> None:
    """Draw every seed of a row; of many seeds their mean too."""
    line = FAINT if row.is_crowded else {"linestyle": style.line, "linewidth": 1, "alpha": 0.8}
    for history, points in zip(row.histories, curves, strict=True):
        x, y = [point.epochs for point in points], [point.value for point in points]
        axes.plot(x, y, color=style.colour, **line)
        dot = {"marker": style.marker, "markersize": 4, "alpha": line["alpha"]}
        axes.plot(x[-1:], y[-1:], color=style.colour, **dot)
        if history.crashed_at is not None:
            _draw_crash(axes, history.crashed_at, x, y, style)
    if row.is_crowded:
        mean = _mean_curve(curves)
        x, y = [point.epochs for point in mean], [point.value for point in mean]
        axes.plot(x, y, color=style.colour, linestyle=style.line, linewidth=BOLD, zorder=3)


def _mean_curve(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Return the mean over seeds, as far as all that have a curve go."""
    # Beyond that it would be a mean over other seeds: those that held.
    seeds = [{point.step: point for point in points} for points in curves if points]
    shared = [step for step in seeds[0] if all(step in one for one in seeds)] if seeds else []
    return [
        replace(seeds[0][step], value=fmean(one[step].value for one in seeds)) for step in shared
    ]


def _draw_crash(
    axes: Axes, epochs: float, x: Sequence[float], y: Sequence[float], style: Look
) -> None:
    """Mark a crash on the curve (x, y), beside it at the height of its nearer end, or below it."""
    if not x:  # crashed before anything was recorded
        mark_no_value(axes, epochs, style)
        return
    import numpy as np

    height = float(np.interp(epochs, x, y))
    way = [epochs, min(max(epochs, x[0]), x[-1])]
    axes.plot(way, [height] * 2, color=style.colour, linestyle=":", linewidth=0.8)
    mark = {"color": style.colour, "marker": style.marker, "markersize": 4}
    axes.plot([epochs], [height], **mark, zorder=4)
    axes.plot([epochs], [height], **CRASH, zorder=4)


def _title(rows: Sequence[RowCurves]) -> str:
    """Return the data set, the block, the rows, and what these rows share and others do not."""
    first = rows[0]
    what = [first.data, first.cell.row.block, f"rows {rows_text([row.short for row in rows])}"]
    table, shared = first.cell.table, []
    for column in table.labels if len(rows) < len(table.rows) else ():
        alike = {row.cell.labels[column.name] for row in rows}
        if len(alike) == 1 and not alike & {first.cell.row.block, *first.cell.row.block.split()}:
            shared.append(_label(column, *alike))
    return ", ".join(filter(None, what)) + (f": {', '.join(shared)}" if shared else "")


def _legend(row: RowCurves, rows: Sequence[RowCurves]) -> str:
    """Return the row's number, what sets it apart in its panel, and what is not as it should be."""
    text = ", ".join(_apart(row, rows))
    crashed = sum(history.crashed for history in row.histories)
    absent = [history.absent for history in row.histories if history.absent]
    seeds = len(row.histories)
    parts = textwrap.wrap(f"{row.short}: {text}" if text else row.short, LEGEND)
    parts += [f"{crashed} of {seeds} crashed"] if crashed else []
    parts += [f"{absent.count(why)} of {seeds} {why}" for why in dict.fromkeys(absent)]
    return "\n    ".join(parts)


def _apart(row: RowCurves, rows: Sequence[RowCurves]) -> list[str]:
    """Return the labels in which the rows of a panel differ."""
    return [
        _label(column, row.cell.labels[column.name])
        for column in row.cell.table.labels
        if len({other.cell.labels[column.name] for other in rows}) > 1
    ]


def _label(column: Column, value: str) -> str:
    """Return a label in short; a number with its column."""
    short = value.partition(" [")[0]  # [run as ...]
    return f"{column.header} {short}" if NUMBER.fullmatch(short) else short


def _align(pairs: Sequence[Sequence[Axes]]) -> None:
    """Give the panels of a block the same axes; epochs begin at 0, on both sides."""
    last = max(axes.get_xlim()[1] for pair in pairs for axes in pair)
    for column in zip(*pairs, strict=True):
        ends = [axes.get_ylim() for axes in column]
        for axes in column:
            axes.set_xlim(0, last)
            axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
