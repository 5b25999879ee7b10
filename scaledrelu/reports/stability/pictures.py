"""Two pictures of stability: every seed over its rate, largest values along training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from scaledrelu.reports.stability.lines import RateLine, rates_of
from scaledrelu.reports.stability.overflow import KINDS, LIMIT, Watched
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import value_text
from scaledrelu.tables.table import Column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAST = 0.99  # share of training from which a run counts as trained to its end
TITLES = {"activation": "largest activation", "score": "largest attention score, unscaled"}
HELD = {"marker": "o", "linestyle": "none", "markersize": 4}
SPREAD = 1.05  # factor of the rate between two series, so that their seeds stand side by side
# Shares of training where series stand side by side: ends of runs, and runs that do not say when.
AT_THE_END, ONLY_MAXIMUM = (1.03, 1.27), (1.31, 1.55)


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
        seeds = [s for o in lines for v in o.cells.values() for s in v.seeds if s.status.done]
        if any(seed.value is None for seed in seeds):
            explain_no_value(panels[0][0])
        _legend(figure, panels[0], looks)
        return save_picture(figure, place)


def draw_largest(watched: Sequence[Watched], names: Mapping[str, str], place: Path) -> list[Path]:
    """Draw the largest values of every run along its training; crashed runs end in a cross.

    The ends of runs that were trained to their end stand side by side, series by series. A run that
    says only how large its values became, not when, is an open mark to the right of them.

    Args:
        watched: finished runs.
        names: run id -> series.
        place: path without suffix.
    """
    looks = _looks(names[one.run.run_id] for one in watched)
    line = FAINT if len(watched) > MANY * len(looks) else {"linewidth": 0.9, "alpha": 0.8}
    timed = [one.has_series for one in watched]
    order = sorted(watched, key=lambda one: list(looks).index(names[one.run.run_id]))
    aside = _side_by_side([one for one in order if one.has_series], AT_THE_END)
    aside |= _side_by_side([one for one in order if not one.has_series], ONLY_MAXIMUM)
    with drawing(10, 3.6 + 0.2 * len(looks), ncols=2) as (figure, panels):
        for axes, kind in zip(panels, KINDS, strict=True):
            for one in watched:
                name = names[one.run.run_id]
                place_of_it = aside[one.run.run_id]
                _draw_run(axes, one, kind, looks[name], line=line, aside=place_of_it)
            _draw_span(axes, timed)
            _draw_limit(axes)
            axes.set_yscale("log")
            axes.set_xlabel("share of training")
            axes.set_title(TITLES[kind])
        _legend(figure, panels, looks)
        return save_picture(figure, place)


def _side_by_side(runs: Sequence[Watched], band: tuple[float, float]) -> dict[str, float]:
    """Return run id -> where each stands within a band, evenly spread."""
    (left, right), count = band, len(runs)
    return {r.run.run_id: left + (right - left) * (n + 0.5) / count for n, r in enumerate(runs)}


def _draw_span(axes: Axes, timed: Sequence[bool]) -> None:
    """Set the horizontal axis: the training, and beside it room for its end and for no time."""
    ticks = {0.0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75", 1.0: "1"}
    bands = {"at the\nend": AT_THE_END} if any(timed) else {}
    bands |= {} if all(timed) else {"maximum\nonly": ONLY_MAXIMUM}
    for name, (left, right) in bands.items():
        axes.axvspan(left - 0.01, right + 0.01, color="#000000", alpha=0.05, linewidth=0)
        ticks[(left + right) / 2] = name
    lefts, rights = zip(*bands.values(), strict=True)
    axes.set_xlim(0 if any(timed) else min(lefts) - 0.02, max(rights) + 0.02)
    axes.set_xticks(list(ticks), list(ticks.values()))


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
                if seed.status is Status.CRASH:
                    mark_no_value(axes, rate * shift, style)
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
        end = (aside if steps[-1] >= LAST else steps[-1], drawn[-1])
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
