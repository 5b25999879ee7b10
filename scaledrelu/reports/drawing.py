"""How every picture looks: one style, readable without colour, the same bytes for the same numbers.

A picture is written as PNG, for people, and as SVG, for the web page. matplotlib is imported only
when something is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledrelu.files import write_changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
SUFFIXES = ("png", "svg")
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "svg.hashsalt": "scaledrelu",  # ids of an SVG would be random otherwise
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
}


@dataclass(frozen=True, slots=True)
class Look:
    """Colour, marker and line of one series: two of the three already tell series apart."""

    colour: str
    marker: str
    line: str

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot``."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.line}

    @property
    def dots(self) -> dict[str, Any]:
        """The same for a series whose points no line joins."""
        return {**self.settings, "linestyle": "none"}


# Okabe and Ito's colours: told apart by people who see colours differently.
LOOKS = (
    Look("#0072B2", "o", "-"),
    Look("#D55E00", "s", "--"),
    Look("#009E73", "^", "-."),
    Look("#CC79A7", "D", ":"),
    Look("#E69F00", "v", "-"),
    Look("#56B4E9", "P", "--"),
    Look("#8C510A", "p", "-."),
    Look("#666666", "*", ":"),
    Look("#000000", "<", "-"),
)
MANY = 5  # lines of one look; of more, each is thin and faint
FAINT = {"linewidth": 0.6, "alpha": 0.5}
CRASH = {"marker": "x", "color": "#B00020", "linestyle": "none", "markersize": 8}
NO_VALUE = "crashed without a value"  # what the mark of `mark_no_value` means
BELOW = 4.5  # points below the axis where that mark lies
PAPER = {"color": "#444444", "linestyle": "none", "marker": "_", "markersize": 12}


def look(number: int) -> Look:
    """Return the look of the n-th series; after the last the first follows again."""
    return LOOKS[number % len(LOOKS)]


def mark_no_value(axes: Axes, x: float, style: Look) -> None:
    """Draw an open mark below the horizontal axis: a run that crashed before it had a value.

    Args:
        axes: the panel.
        x: where on its horizontal axis.
        style: look of the run's series.
    """
    from matplotlib.transforms import ScaledTranslation

    down = ScaledTranslation(0, -BELOW / 72, axes.figure.dpi_scale_trans)
    place = axes.get_xaxis_transform() + down
    axes.plot([x], [0], **_open(style), transform=place, clip_on=False, zorder=4)
    # Such a mark widens no axis by itself.
    axes.update_datalim([(x, 0)], updatey=False)
    axes.autoscale_view(scaley=False)


def explain_no_value(axes: Axes) -> None:
    """Say in the legend what the mark of :func:`mark_no_value` is."""
    axes.plot([], [], **_open(Look("#000000", "o", "none")), label=NO_VALUE)


def text_on(colour: tuple[float, ...]) -> str:
    """Return black or white, whichever stands out more from a colour.

    Args:
        colour: red, green and blue in [0, 1], perhaps with opacity behind them.
    Source: relative luminance and contrast of WCAG 2.2; one of the two has at least 4.5.
    """
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour[:3]]
    light = sum(share * v for share, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "white" if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else "black"


def _open(style: Look) -> dict[str, Any]:
    return {**style.dots, "markerfacecolor": "none", "markersize": 5}


@contextmanager
def drawing(width: float, height: float, **subplots: Any) -> Iterator[tuple[Figure, Any]]:
    """Yield a figure and its axes in the common style; closed afterwards.

    Args:
        width: inches.
        height: inches.
        subplots: further arguments of ``matplotlib.pyplot.subplots``, such as ``ncols=2``.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained", **subplots)
        try:
            yield figure, axes
        finally:
            pyplot.close(figure)


def save_picture(figure: Figure, place: Path) -> list[Path]:
    """Write ``<place>.png`` and ``<place>.svg``; a file that would not change is left alone.

    Args:
        figure: what was drawn, inside :func:`drawing`.
        place: path without suffix.
    """
    written = []
    undated = {"Software": None}, {"Date": None, "Creator": None}
    for suffix, metadata in zip(SUFFIXES, undated, strict=True):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, metadata=metadata)
        path = place.with_name(f"{place.name}.{suffix}")
        written.append(write_changed(path, buffer.getvalue()))
    return written
