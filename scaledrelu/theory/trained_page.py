"""The section of the page on networks: around a real ReLU, and what published runs have learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.reports.drawing import CRASH, drawing, look, save_picture
from scaledrelu.theory import theorem2
from scaledrelu.theory.finding import Finding, Section, Verdict, of_share, picture, table
from scaledrelu.theory.networks import AroundReLU, Network
from scaledrelu.theory.trained import (
    DEIT,
    LAYERS,
    STEM,
    TAIL,
    WITH_AND_WITHOUT,
    Difference,
    Trained,
)

PICTURE = "theory_trained"


@dataclass(frozen=True, slots=True)
class Around:
    """One network of ours, and its tokens on both sides of the stem's last ReLU."""

    network: Network
    found: AroundReLU


def draw(trained: Trained, around: Sequence[Around], folder: Path) -> list[Path]:
    """Draw the section's picture.

    Args:
        trained: what published runs say.
        around: our own networks.
        folder: where pictures lie.
    """
    with drawing(9.5, 4, ncols=3) as (figure, (left, middle, right)):
        _draw_around(left, around)
        _draw_similarity(middle, trained)
        _draw_shifts(right, trained)
        return save_picture(figure, folder / PICTURE)


def _draw_around(ax: Any, around: Sequence[Around]) -> None:
    kinds = list(dict.fromkeys((a.network.name, a.network.state) for a in around))
    for one in around:
        style = look(kinds.index((one.network.name, one.network.state)))
        label = f"{_stem(one)}, {one.network.state}" if one.network.seed == 0 else None
        for y, line in ((one.found.before, style.line), (one.found.before_signed, ":")):
            values = (y, one.found.after)
            ax.plot(
                (0, 1),
                values,
                color=style.colour,
                marker=style.marker,
                linestyle=line,
                label=label if line == style.line and y == one.found.before else None,
                alpha=1 if y == one.found.before else 0.35,
            )
    ax.set_xticks((0, 1), ("before", "after the ReLU"))
    ax.set(ylabel="mean cosine of positions (faint: signed)", title="stem's last ReLU, mini")
    ax.legend(fontsize=7)


def _draw_similarity(ax: Any, trained: Trained) -> None:
    setting = f"{DEIT}, AdamW, lr 1e-3"
    stems = list(dict.fromkeys(name for pair in WITH_AND_WITHOUT for name in pair))
    for number, name in enumerate(stems):
        for run in trained.evidence.get((setting, name), ()):
            style = CRASH if run.is_crash else {"color": look(number).colour, "marker": "o"}
            where = number + 0.08 * (run.seed - 2)
            ax.plot([where], [run.similarity_L[STEM]], **{"linestyle": "none", **style})
    ax.set_xticks(range(len(stems)), stems, rotation=40, ha="right", fontsize=7.5)
    ax.set(
        ylabel="mean absolute cosine behind the stem", title=f"{setting} (x: crash)", ylim=(0, 1)
    )


def _draw_shifts(ax: Any, trained: Trained) -> None:
    for number, shifts in enumerate(trained.shifts):
        rng = np.random.default_rng(0)
        jitter = number + rng.uniform(-0.3, 0.3, size=len(shifts.ratios))
        ax.plot(shifts.ratios, jitter, ".", color=look(number).colour, markersize=2.5)
    names = [s.family.replace(", lr", ",\nlr", 1) for s in trained.shifts]
    ax.set_yticks(range(len(names)), names, fontsize=6.5)
    needed = theorem2.falls_below(_width(trained))
    ax.axvline(0, color="#444444", linewidth=0.8)
    ax.axvline(needed, color="#B00020", linestyle="--", linewidth=1)
    ax.annotate(f"needed: {needed:.2f}", (needed, -0.45), xytext=(3, 0), textcoords="offset points")
    ax.set(xlabel="alpha / beta of a channel", title="learned shifts")


def section(trained: Trained, around: Sequence[Around]) -> Section:
    """Return the section's text and findings.

    Args:
        trained: what published runs say.
        around: our own networks.
    """
    lines = [
        "## Trained networks",
        "",
        *_around(around),
        *_shifts(trained),
        *_similarity(trained),
        *picture(
            PICTURE,
            "Left: cosine of positions on both sides of the stem's last ReLU. Middle: mean "
            "absolute cosine of tokens behind the stem, one dot per seed. Right: learned shifts.",
        ),
    ]
    return Section(tuple(lines), tuple(_findings(trained, around)))


def _around(around: Sequence[Around]) -> Iterator[str]:
    yield (
        "Real tokens are not independent. The positions of the stem's last feature map, before and "
        "after its ReLU, mean over the 360 validation images of mini; before means normalised, "
        "with mean zero in every channel:"
    )
    yield ""
    rows = [
        (
            _stem(one),
            str(one.network.seed),
            one.network.state,
            f"{one.found.num_tokens} x {one.found.num_features}",
            f"{one.found.before:.3f}",
            f"{one.found.after:.3f}",
            f"{one.found.before_signed:+.3f}",
            f"{one.found.after_signed:+.3f}",
        )
        for one in around
    ]
    cosines = ("absolute, before", "after", "signed, before", "after")
    yield from table(("stem", "seed", "network", "N x D", *cosines), rows)
    if around:
        signed, absolute = _rises(around)
        yield (
            f"The signed cosine rises in {signed} of {len(around)} networks, the absolute one in "
            f"{absolute}: it can fall where many pairs of positions point away from each other."
        )
        yield ""


def _shifts(trained: Trained) -> Iterator[str]:
    yield (
        "Published mini runs of Table 2 that did not crash, alpha / beta of every channel of the "
        "stem's last scaled ReLU, all starting at 0; `corr` is the rank correlation over channels "
        "of `|(alpha, beta)|` and the norm of the first attention's weights, where channels are "
        "those of the tokens:"
    )
    yield ""
    needed = theorem2.falls_below(_width(trained))
    rows = [
        (
            s.family,
            str(s.runs),
            f"{100 * s.negative:.0f} %",
            f"{s.ratios.min():+.2f}",
            f"{np.median(s.ratios):+.2f}",
            f"{s.ratios.max():+.2f}",
            f"{100 * (s.ratios < needed).mean():.0f} %",
            ", ".join(f"{c:+.2f}" for c in s.correlations) or "-",
        )
        for s in trained.shifts
    ]
    header = ("runs of", "number", "negative", "lowest", "median", "highest")
    yield from table((*header, f"below {needed:.2f}", "corr"), rows)
    yield (
        "The sign is mostly the one that the argument needs, the size is not: independent tokens "
        f"would need a shift below {needed:.2f} at {_width(trained)} channels. A run of mini has "
        "352 updates; how far shifts move in 375,300 is not known here."
        if _mostly_negative(trained)
        else "The sign is not mostly the one that the argument needs."
    )
    yield ""


def _similarity(trained: Trained) -> Iterator[str]:
    yield (
        "Mean absolute cosine of tokens, stem with a ReLU minus the same stem without, over paired "
        "seeds that held in both (95 % t interval). The argument wants negative numbers. For VOLO, "
        "whose layers are others, the stem alone is compared. The last lines are Figure 1's two "
        "stems."
    )
    yield ""
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
    yield from table(header, rows)


def _direction(one: Difference) -> str:
    if one.size is None:
        return "not run" if not one.crashed else "no pair that held"
    if not one.is_decided:
        return "undecided"
    return "less alike" if one.size.mean < 0 else "more alike"


def _findings(trained: Trained, around: Sequence[Around]) -> Iterator[Finding]:
    signed, absolute = _rises(around)
    n = len(around)
    yield Finding(
        "A scaled ReLU makes real tokens less alike",
        of_share(n - absolute, n),
        f"absolute cosine falls in {n - absolute} of {n} networks, signed in {n - signed}",
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
        needed, ratios = theorem2.falls_below(_width(trained)), _all_ratios(trained)
        yield Finding(
            "Unsaid: the shift has to be clearly negative for the cosine to fall",
            Verdict.MISSING,
            f"{100 * (ratios < 0).mean():.0f} % of learned shifts are negative, the lowest is "
            f"{ratios.min():+.2f}; independent tokens need {needed:.2f}",
            f"{sum(s.runs for s in trained.shifts)} published mini runs of Table 2",
        )
        found = [c for s in trained.shifts for c in s.correlations]
        if found:
            yield Finding(
                "... and attention weights of channels with larger (alpha, beta) are smaller",
                of_share(sum(c < 0 for c in found), len(found)),
                f"rank correlation over channels {min(found):+.2f} to {max(found):+.2f}",
                f"{len(found)} published mini runs, {TAIL}",
            )


def _rises(around: Sequence[Around]) -> tuple[int, int]:
    signed = sum(a.found.after_signed > a.found.before_signed for a in around)
    return signed, sum(a.found.after > a.found.before for a in around)


def _all_ratios(trained: Trained) -> np.ndarray:
    return np.concatenate([s.ratios for s in trained.shifts])


def _mostly_negative(trained: Trained) -> bool:
    return bool(trained.shifts) and float((_all_ratios(trained) < 0).mean()) > 0.5


def _width(trained: Trained) -> int:
    """Return the fewest channels of a scaled ReLU: they need the smallest shift."""
    widths = [
        len(run.alpha_C)
        for runs in trained.evidence.values()
        for run in runs
        if run.alpha_C is not None
    ]
    return min(widths, default=64)


def _stem(one: Around) -> str:
    return "1Proj+1BN+1ReLU" if one.network.name.startswith("tail") else "3Conv+3BN+3ReLU+1Proj"
