"""Figure 1 as a picture: every seed a thin line with its dots, the mean of a series a thick one.

What the paper prints along its axes and in its legend is taken over; its own curves are drawn where
somebody has read them off.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scaledrelu.reports.drawing import CRASH, PAPER, drawing, look, save_picture
from scaledrelu.reports.similarity import Metric, Series
from scaledrelu.runs.record import Status
from scaledrelu.tables.figures import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as PictureFigure

TITLES = {Metric.ABSOLUTE: "absolute value of the cosine", Metric.SIGNED: "signed cosine"}
CRASHED = {**CRASH, "markersize": 6}
NUDGE = 0.07  # layers between the dots of two series, so that they do not hide each other
BLOCKS_FROM = 3  # the stem and the positions come first


def draw(figure: Figure, series: Sequence[Series], place: Path) -> list[Path]:
    """Draw the absolute similarity on the left and the signed one on the right.

    Args:
        figure: what the paper prints.
        series: our runs.
        place: path without suffix.
    """
    layers = next((len(one.mean(Metric.ABSOLUTE)) for one in series if one.drawn), figure.layers)
    with drawing(10.5, 5.2, ncols=2, sharex=True) as (picture, panels):
        for panel, metric in zip(panels, Metric, strict=True):
            for number, one in enumerate(series):
                _draw_series(panel, one, metric, number, len(series))
            if metric is Metric.ABSOLUTE:
                _draw_paper(panel, figure, layers)
            _label(panel, figure, layers)
            panel.set_title(TITLES[metric])
        _add_legend(picture, panels[0])
        return save_picture(picture, place)


def _draw_series(panel: Axes, one: Series, metric: Metric, number: int, of: int) -> None:
    style, mean = look(number), one.mean(metric)
    shift = (number - (of - 1) / 2) * NUDGE
    for curve in one.drawn:
        values = curve.values[metric]
        x = [i + shift for i in range(1, len(values) + 1)]
        panel.plot(x, values, color=style.colour, linewidth=0.7, alpha=0.45)
        panel.plot(x, values, **style.dots, markersize=3)
        if curve.status is Status.CRASH:
            panel.plot(x, values, **CRASHED, label="a run that crashed", zorder=4)
    x = [i + shift for i in range(1, len(mean) + 1)]
    panel.plot(x, mean, **style.settings, linewidth=2.2, markersize=6.5, label=_legend(one))


def _legend(one: Series) -> str:
    """Return the paper's legend, and how many seeds are behind the line."""
    drawn, all_of_it = len(one.drawn), len(one.curves)
    if not drawn:
        return f"{one.label} (none of {all_of_it} runs is here)"
    lost = f", {all_of_it - drawn} absent" if drawn < all_of_it else ""
    what = f"mean of {drawn} seeds" if drawn > 1 else "one seed"
    return f"{one.label} ({what}{lost})"


def _draw_paper(panel: Axes, figure: Figure, layers: int) -> None:
    """Draw what was read off the paper; its blocks at the same relative depth as ours."""
    for number, label in enumerate(figure.labels):
        values = figure.values.get(label, ())
        stretch = (layers - 2) / (figure.layers - 2)
        x = [i if i < BLOCKS_FROM else 2 + (i - 2) * stretch for i in range(1, len(values) + 1)]
        if values:
            mark = {**PAPER, "linestyle": look(number).line, "linewidth": 1, "markersize": 9}
            panel.plot(x, values, **mark, label=f"{label}, the paper")


def _add_legend(picture: PictureFigure, panel: Axes) -> None:
    """Put the legend below: the series in the paper's order, then what the marks mean."""
    found = dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
    crashed = found.pop("a run that crashed", None)
    (thin,) = panel.plot([], [], color="#444444", linewidth=0.7, marker="o", markersize=3)
    found["one seed"] = thin
    if crashed:
        found["a run that crashed"] = crashed
    columns = 3 if len(found) > 4 else 2
    picture.legend(
        found.values(), found.keys(), loc="outside lower center", ncols=columns, handlelength=3
    )


def _label(panel: Axes, figure: Figure, layers: int) -> None:
    names = ["stem", "pos.", *(str(i) for i in range(1, layers - 1))]
    panel.set_xticks(range(1, layers + 1), names)
    panel.set_xlabel(f"{figure.axes.x}: stem, position embedding, blocks 1 to {layers - 2}")
    panel.set_ylabel(figure.axes.y)
