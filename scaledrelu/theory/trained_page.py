"""The section of the page on networks: around a real ReLU, and what published runs have learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.reports.drawing import CRASH, drawing, look, save_picture
from scaledrelu.text import markdown_table
from scaledrelu.theory.finding import (
    Finding,
    Section,
    Verdict,
    of_share,
    picture,
    signed,
    span,
)
from scaledrelu.theory.networks import AroundReLU
from scaledrelu.theory.trained import (
    DEIT,
    FULL,
    LAYERS,
    STEM,
    TAIL,
    WITH_AND_WITHOUT,
    Difference,
    Trained,
)

PICTURE = "theory_trained"
STEMS = {"tail_exempt": TAIL}  # of our own networks; the others have the full conv-stem


def draw(trained: Trained, around: Sequence[AroundReLU], folder: Path) -> list[Path]:
    """Draw the section's picture.

    Args:
        trained: what published runs say.
        around: our own networks.
        folder: where pictures lie.
    """
    with drawing(11, 4.2, ncols=3) as (figure, (left, middle, right)):
        _draw_around(left, around)
        _draw_similarity(middle, trained)
        _draw_shifts(right, trained)
        return save_picture(figure, folder / PICTURE)


def _draw_around(ax: Any, around: Sequence[AroundReLU]) -> None:
    kinds = list(dict.fromkeys((a.network.name, a.network.state) for a in around))
    for one in around:
        number = kinds.index((one.network.name, one.network.state))
        style = look(number)
        for before, size in ((one.before, 7), (one.before_signed, 3)):
            ax.plot(
                (before, one.after),
                (number, number + 0.25),
                color=style.colour,
                marker=style.marker,
                markersize=size,
                linestyle="-" if size > 3 else ":",
                linewidth=1,
            )
    names = [f"{STEMS.get(name, FULL)},\n{state}" for name, state in kinds]
    ax.set_yticks(range(len(kinds)), names, fontsize=7)
    ax.set(xlabel="mean cosine of positions", ylim=(-0.4, max(1, len(kinds)) - 0.4))
    ax.set_title(
        "around the last ReLU: below before, above after\n(large: absolute, small: signed)"
    )
    ax.title.set_fontsize(8)


def _draw_similarity(ax: Any, trained: Trained) -> None:
    setting = f"{DEIT}, AdamW, lr 1e-3"
    stems = list(dict.fromkeys(name for pair in WITH_AND_WITHOUT for name in pair))
    for number, name in enumerate(stems):
        runs = trained.evidence.get((setting, name), ())
        for where, run in zip(np.linspace(-0.3, 0.3, len(runs)), runs, strict=True):
            style = CRASH if run.is_crash else look(number).dots
            ax.plot([run.similarity_L[STEM]], [number + where], **{**style, "markersize": 4})
    ax.set_yticks(range(len(stems)), stems, fontsize=7)
    ax.invert_yaxis()
    ax.set(xlabel="mean absolute cosine behind the stem", xlim=(0, 1))
    ax.set_title(f"published, {setting}\n(x: crash)", fontsize=8)


def _draw_shifts(ax: Any, trained: Trained) -> None:
    for number, shifts in enumerate(trained.shifts):
        rng = np.random.default_rng(0)
        jitter = number + rng.uniform(-0.3, 0.3, size=len(shifts.ratios))
        ax.plot(shifts.ratios, jitter, ".", color=look(number).colour, markersize=2.5)
        ax.plot([shifts.needed] * 2, [number - 0.35, number + 0.35], color="#B00020")
    names = [s.family.replace(", lr", ",\nlr", 1) for s in trained.shifts]
    ax.set_yticks(range(len(names)), names, fontsize=6.5)
    ax.axvline(0, color="#444444", linewidth=0.8)
    ax.set(xlabel="alpha / beta of a channel")
    ax.set_title("learned shifts\n(bar: what would be needed)", fontsize=8)


def section(trained: Trained, around: Sequence[AroundReLU]) -> Section:
    """Return the section's text and findings.

    Args:
        trained: what published runs say.
        around: our own networks.
    """
    lines = [
        "## Trained networks",
        *_around(around),
        *_shifts(trained),
        *_similarity(trained),
        picture(
            PICTURE,
            "Left: cosine of positions on both sides of the stem's last ReLU. Middle: mean "
            "absolute cosine of tokens behind the stem, one dot per seed. Right: learned shifts.",
        ),
    ]
    return Section(tuple(lines), tuple(_findings(trained, around)))


def _around(around: Sequence[AroundReLU]) -> Iterator[str]:
    yield (
        "Real tokens are not independent. The table shows the mean cosine between positions of the "
        "stem's last feature map, before and after its ReLU, over the 360 validation images of "
        "mini. Before the ReLU, the values are normalised, with mean zero in every channel:"
    )
    rows = [
        (
            _stem(one),
            str(one.network.seed),
            one.network.state,
            f"{one.num_tokens} x {one.num_features}",
            f"{one.before:.3f}",
            f"{one.after:.3f}",
            f"{one.before_signed:+.3f}",
            f"{one.after_signed:+.3f}",
        )
        for one in around
    ]
    cosines = ("absolute, before", "after", "signed, before", "after")
    yield markdown_table(("stem", "seed", "network", "N x D", *cosines), rows)
    if around:
        up_signed, up = _rises(around)
        yield (
            f"The signed cosine rises in {up_signed} of {len(around)} networks, the absolute one "
            f"in {up}. The absolute cosine can fall where many pairs of positions point away from "
            "each other."
        )


def _shifts(trained: Trained) -> Iterator[str]:
    yield (
        "The next table shows alpha / beta of every channel of the stem's last scaled ReLU, in the "
        "published mini runs of Table 2 that did not crash. All of them start at 0. `needed` is "
        "the shift below which independent tokens become less alike. `corr` is the rank "
        "correlation over channels of `|(alpha, beta)|` and the norm of the first attention's "
        "weights, for stems whose scaled ReLU has the channels of the tokens:"
    )
    rows = [
        (
            s.family,
            str(s.runs),
            f"{100 * s.negative:.0f} %",
            f"{s.ratios.min():+.2f}",
            f"{np.median(s.ratios):+.2f}",
            f"{s.ratios.max():+.2f}",
            f"{s.needed:.2f}",
            f"{100 * (s.ratios < s.needed).mean():.0f} %",
            ", ".join(f"{c:+.2f}" for c in s.correlations) or "-",
        )
        for s in trained.shifts
    ]
    header = ("runs of", "number", "negative", "lowest", "median", "highest")
    yield markdown_table((*header, "needed", "below that", "corr"), rows)
    if trained.shifts:
        ratios, (below, channels) = _all_ratios(trained), _below(trained)
        yield (
            f"{100 * (ratios < 0).mean():.0f} % of the shifts have the sign that the argument "
            f"needs, and {below} of {channels} are negative enough. A run at mini has a few "
            "hundred updates; how far shifts move in the paper's 375,300 updates is not known here."
        )


def _similarity(trained: Trained) -> Iterator[str]:
    yield (
        "The next table shows the mean absolute cosine of tokens for a stem with a ReLU minus the "
        "same stem without, over paired seeds where neither run crashed (95 % t interval). The "
        "argument needs negative numbers. For VOLO, which has other layers, only the stem is "
        "compared. The last rows compare the two stems of Figure 1."
    )
    rows = []
    for one in trained.differences:
        known = one.size is not None
        half = f" +/- {one.size.half:.3f}" if known and one.size.half is not None else ""
        rows.append(
            (
                one.setting,
                f"{one.one} - {one.other}",
                LAYERS[one.layer],
                f"{one.size.mean:+.3f}{half}" if known else "-",
                str(one.size.n) if known else "0",
                str(one.crashed),
                _direction(one),
            )
        )
    header = ("setting", "stems", "layer", "difference", "seeds", "left out", "verdict")
    yield markdown_table(header, rows)


def _direction(one: Difference) -> str:
    if one.size is None:
        return "not run" if not one.crashed else "no pair that held"
    if not one.is_decided:
        return "undecided"
    return "less alike" if one.size.mean < 0 else "more alike"


def _findings(trained: Trained, around: Sequence[AroundReLU]) -> Iterator[Finding]:
    up_signed, up = _rises(around)
    n = len(around)
    yield Finding(
        "A scaled ReLU makes real tokens less alike",
        of_share(n - up, n),
        f"absolute cosine falls in {n - up} of {n} networks, signed in {n - up_signed}",
        "positions on both sides of the stem's last ReLU, mini, before and after training",
    )
    at_stem = [d for d in trained.differences if d.layer == STEM and d.is_decided]
    less = [d for d in at_stem if d.size.mean < 0]
    total = sum(d.layer == STEM for d in trained.differences)
    yield Finding(
        "Stems with a ReLU give less similar tokens",
        of_share(len(less), len(at_stem)),
        f"of {total} comparisons behind the stem {len(at_stem)} are decided: less alike in "
        f"{len(less)}, more alike in {len(at_stem) - len(less)}",
        "published mini runs of Table 2, paired seeds",
    )
    if trained.shifts:
        ratios, (below, channels) = _all_ratios(trained), _below(trained)
        needed = [s.needed for s in trained.shifts]
        yield Finding(
            "Unsaid: the shift has to be clearly negative for the cosine to fall",
            Verdict.MISSING,
            f"{100 * (ratios < 0).mean():.0f} % of {channels} learned shifts are negative, the "
            f"lowest is {ratios.min():+.2f}; independent tokens need "
            f"{span(needed, signed)}, {below} channels have that",
            f"{sum(s.runs for s in trained.shifts)} published mini runs of Table 2",
        )
        found = [c for s in trained.shifts for c in s.correlations]
        if found:
            yield Finding(
                "... and attention weights of channels with larger (alpha, beta) are smaller",
                of_share(sum(c < 0 for c in found), len(found)),
                f"rank correlation over channels {span(found, signed)}",
                f"{len(found)} published mini runs, {TAIL}",
            )


def _rises(around: Sequence[AroundReLU]) -> tuple[int, int]:
    up_signed = sum(a.after_signed > a.before_signed for a in around)
    return up_signed, sum(a.after > a.before for a in around)


def _all_ratios(trained: Trained) -> np.ndarray:
    return np.concatenate([s.ratios for s in trained.shifts])


def _below(trained: Trained) -> tuple[int, int]:
    """Return how many channels have a shift of the size that is needed, and how many there are."""
    below = sum(int((s.ratios < s.needed).sum()) for s in trained.shifts)
    return below, sum(len(s.ratios) for s in trained.shifts)


def _stem(one: AroundReLU) -> str:
    return STEMS.get(one.network.name, FULL)
