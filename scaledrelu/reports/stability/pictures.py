"""Two pictures of stability: every seed over its rate, largest values along training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledrelu.reports.drawing import CRASH, FAINT, MANY, Look, drawing, look, save_picture
from scaledrelu.reports.stability.lines import RateLine, rates_of
from scaledrelu.reports.stability.overflow import KINDS, LIMIT, Watched
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import value_text
from scaledrelu.tables.table import Column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {"activation": "largest activation", "score": "largest attention score, unscaled"}
HELD = {"marker": "o", "linestyle": "none", "markersize": 4}
SPREAD = 1.05  # factor of the rate between two series, so that their seeds stand side by side
ONLY_MAXIMUM = (1.04, 1.3)  # where runs are drawn that do not say when


def draw_rates(lines: Sequence[RateLine], column: Column, place: Path) -> list[Path]:
    """Draw every seed over the rate, a panel for each warm-up; crashed seeds are crosses.

    Args:
        lines: the lines of a table, in its order.
        column: what is drawn.
        place: path without suffix.
    """
    warmups = sorted({line.warmup for line in lines})
    looks, rates = _looks(line.series for line in lines), rates_of(lines)
    with drawing(
        1.4 + 3.2 * len(warmups),
        3.4 + 0.2 * len(looks),
        ncols=len(warmups),
        sharex=True,
        sharey=True,
        squeeze=False,
    ) as (figure, panels):
        for axes, warmup in zip(panels[0], warmups, strict=True):
            own = [line for line in lines if line.warmup == warmup]
            for number, line in enumerate(own):
                shift = SPREAD ** (number - (len(own) - 1) / 2)
                _draw_seeds(axes, line, looks[line.series], shift=shift)
            axes.set_xscale("log")
            axes.set_xticks(rates, [value_text(rate) for rate in rates])
            axes.set_xlim(rates[0] / 1.3, rates[-1] * 1.3)
            axes.minorticks_off()
            axes.set_title(f"warm-up {warmup:g}")
            beside = "\ndots of a rate stand side by side" if len(own) > 1 else ""
            axes.set_xlabel(f"learning rate (lr.base){beside}")
        panels[0][0].set_ylabel(column.header)
        _legend(figure, panels[0], looks)
        return save_picture(figure, place)


def draw_largest(watched: Sequence[Watched], names: Mapping[str, str], place: Path) -> list[Path]:
    """Draw the largest values of every run along its training; crashed runs end in a cross.

    A run that says only how large its values became, not when, is an open mark at the right end.

    Args:
        watched: finished runs.
        names: run id -> series.
        place: path without suffix.
    """
    looks = _looks(names[one.run.run_id] for one in watched)
    line = FAINT if len(watched) > MANY * len(looks) else {"linewidth": 0.9, "alpha": 0.8}
    (left, right), timed = ONLY_MAXIMUM, [one.has_series for one in watched]
    places = {name: left + (right - left) * (n + 0.5) / len(looks) for n, name in enumerate(looks)}
    with drawing(10, 3.6 + 0.2 * len(looks), ncols=2) as (figure, panels):
        for axes, kind in zip(panels, KINDS, strict=True):
            for one in watched:
                name = names[one.run.run_id]
                _draw_run(axes, one, kind, looks[name], line=line, aside=places[name])
            _draw_span(axes, timed)
            _draw_limit(axes)
            axes.set_yscale("log")
            axes.set_xlabel("share of training")
            axes.set_title(TITLES[kind])
        _legend(figure, panels, looks)
        return save_picture(figure, place)


def _draw_span(axes: Axes, timed: Sequence[bool]) -> None:
    """Set the horizontal axis: the training, and beside it room for what has no time."""
    left, right = ONLY_MAXIMUM
    axes.set_xlim(0 if any(timed) else left - 0.02, 1.03 if all(timed) else right)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    if not all(timed):
        axes.axvspan(left - 0.02, right, color="#000000", alpha=0.05, linewidth=0)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1, (left + right) / 2])
        axes.set_xticklabels(["0", "0.25", "0.5", "0.75", "1", "maximum only"])


def _draw_limit(axes: Axes) -> None:
    axes.axhline(LIMIT, color="black", linestyle=(0, (6, 3)), linewidth=1.6, zorder=3)
    axes.annotate(
        "fp16 ends: 65,504",
        (0, LIMIT),
        xycoords=("axes fraction", "data"),
        xytext=(2, 2),
        textcoords="offset points",
        fontsize=7,
    )


def _draw_seeds(axes: Axes, line: RateLine, style: Look, *, shift: float) -> None:
    means = {r: v.value for r, v in line.cells.items() if v.value is not None}
    axes.plot(
        [rate * shift for rate in means],
        list(means.values()),
        color=style.colour,
        linestyle=style.line,
        linewidth=1,
    )
    for rate, value in line.cells.items():
        for seed in value.seeds:
            if seed.value is None:
                continue
            crashed = seed.status is Status.CRASH
            mark = CRASH if crashed else {**HELD, "marker": style.marker}
            axes.plot([rate * shift], [seed.value], **{**mark, "color": style.colour})


def _draw_run(
    axes: Axes, one: Watched, kind: str, style: Look, *, line: Mapping[str, float], aside: float
) -> None:
    largest = one.largest[kind]
    if largest.series:
        total = one.run.result.provenance.get("steps") or max(largest.series)
        steps = [step / total for step in largest.series]
        drawn = list(largest.series.values())
        axes.plot(steps, drawn, color=style.colour, linestyle=style.line, **line)
        end = (steps[-1], drawn[-1])
        mark = {**style.dots, "markersize": 4}
    elif largest.value is not None:
        end = (aside, largest.value)
        mark = {**style.dots, "markersize": 5, "markerfacecolor": "none"}
    else:
        return
    mark = {**CRASH, "markersize": 6, "color": style.colour} if one.crashed else mark
    axes.plot([end[0]], [end[1]], **mark)


def _looks(names: Iterable[str]) -> dict[str, Look]:
    return {name: look(number) for number, name in enumerate(dict.fromkeys(names))}


def _legend(figure: Any, panels: Sequence[Axes], looks: Mapping[str, Look]) -> None:
    for name, style in looks.items():
        panels[0].plot([], [], label=name, **style.settings, markersize=4)
    panels[0].plot([], [], label="crashed", **{**CRASH, "color": "black", "markersize": 6})
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
