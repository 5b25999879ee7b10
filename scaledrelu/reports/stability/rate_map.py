"""The map of stability: accuracy by rate and warm-up, hatched where most seeds crash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scaledrelu.reports.cells import CellValue
from scaledrelu.reports.drawing import drawing, save_picture, text_on
from scaledrelu.reports.stability.lines import RateLine, rates_of
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import value_text
from scaledrelu.tables.table import Column

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

NARROWEST = 10.0  # range of the colours: noise over seeds should not look like an edge


def draw_map(lines: Sequence[RateLine], column: Column, place: Path) -> list[Path]:
    """Draw accuracy by rate and warm-up; the scale of the colours is that of the map's values.

    Args:
        lines: the lines of a table, in its order.
        column: what is printed.
        place: path without suffix.
    """
    rates = rates_of(lines)
    scale = _scale([value.value for line in lines for value in line.cells.values()])
    with drawing(3.5 + 0.9 * len(rates), 1.3 + 0.5 * len(lines)) as (figure, axes):
        axes.grid(False)
        for y, line in enumerate(lines):
            for x, rate in enumerate(rates):
                if rate in line.cells:
                    _draw_cell(axes, x, y, line.cells[rate], scale, column)
        axes.set_xlim(-0.5, len(rates) - 0.5)
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xticks(range(len(rates)), [value_text(rate) for rate in rates])
        axes.set_yticks(range(len(lines)), [line.name for line in lines])
        axes.set_xlabel("learning rate (lr.base)")
        if scale is not None:
            _draw_bar(figure, axes, scale, column)
        figure.suptitle(
            f"{column.header}, mean over seeds\n"
            "x k/n: k of n seeds crashed; hatched: more than half",
            fontsize=9,
        )
        return save_picture(figure, place)


def _scale(means: Iterable[float | None]) -> ScalarMappable | None:
    """Return the colours of some means, over ``NARROWEST`` at least; None where there is none."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    known = [mean for mean in means if mean is not None]
    if not known:
        return None
    wider = max(NARROWEST - (max(known) - min(known)), 0) / 2
    return ScalarMappable(Normalize(min(known) - wider, max(known) + wider), _colours())


def _colours() -> Colormap:
    """Return the colours of the scale; its low end differs from a cell without a value."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    blues = colormaps["Blues"]
    return LinearSegmentedColormap.from_list("map", [blues(0.1 + 0.075 * i) for i in range(11)])


def _draw_bar(figure: Figure, axes: Axes, scale: ScalarMappable, column: Column) -> None:
    """Draw the colour bar, with both ends of the scale printed."""
    low, high = scale.get_clim()
    ends = [low, (low + high) / 2, high]
    bar = figure.colorbar(scale, ax=axes, shrink=0.6, aspect=15, label=column.header)
    bar.set_ticks(ends, labels=[f"{value:.{column.digits}f}" for value in ends])
    bar.outline.set_visible(False)
    bar.solids.set_rasterized(False)  # a page holds no pictures but drawings


def _draw_cell(
    axes: Axes, x: int, y: int, value: CellValue, scale: ScalarMappable | None, column: Column
) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    mean, finished, is_hatched = value.value, len(value.finished), value.status is Status.CRASH
    colour = "white" if mean is None else scale.to_rgba(mean)
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white"))
    if is_hatched:
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, hatch="////", edgecolor="#9a9a9a")
        )
    crashed = value.count(Status.CRASH)
    texts = [f"{mean:.{column.digits}f}"] if mean is not None else []
    texts += [f"x {crashed}/{finished}"] if crashed else []
    left = len(value.seeds) - finished
    texts += [f"{left} missing"] if left else []
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
    axes.text(
        x,
        y,
        "\n".join(texts),
        ha="center",
        va="center",
        fontsize=8,
        color="black" if is_hatched else text_on(to_rgb(colour)),
        bbox=box if is_hatched else None,
    )
