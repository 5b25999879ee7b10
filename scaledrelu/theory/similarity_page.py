"""The section of the page on Theorem 2 and Eq. 6: norms, the bound, the cosine around a ReLU."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.reports.drawing import drawing, look, save_picture
from scaledrelu.text import markdown_table
from scaledrelu.theory import theorem2
from scaledrelu.theory.finding import Finding, Section, Verdict, judged, picture, size, span
from scaledrelu.theory.similarity import KINDS, SCALES, SHIFTS, D, Draw, N, Similarities

COSINES, NORMS = "theory_cosine", "theory_norms"
VACUOUS = 1.0  # a cosine is never larger


def draw(facts: Similarities, folder: Path) -> list[Path]:
    """Draw the section's pictures.

    Args:
        facts: the numbers.
        folder: where pictures lie.
    """
    with drawing(9, 4.2, ncols=2) as (figure, (left, right)):
        _draw_cosines(left, facts)
        _draw_pairs(right, facts)
        written = save_picture(figure, folder / COSINES)
    with drawing(9.5, 3.8, ncols=3) as (figure, (left, middle, right)):
        _draw_operator_norms(left, facts)
        _draw_row_norms(middle, facts)
        _draw_map(right, facts)
        return written + save_picture(figure, folder / NORMS)


def _draw_cosines(ax: Any, facts: Similarities) -> None:
    fine = np.linspace(min(SHIFTS), max(SHIFTS), 200)
    ax.plot(fine, [theorem2.cosine_after(a) for a in fine], color="#0072B2", label="closed form")
    for number, kind in enumerate(KINDS):
        drawn = _after(facts, N, D, kind=kind)
        ax.plot(
            [d.shift for d in drawn],
            [d.cosine.absolute for d in drawn],
            markersize=4,
            label=f"drawn, {kind}",
            **look(number).dots,
        )
    before, at = theorem2.cosine_before(D), theorem2.falls_below(D)
    ax.axhline(before, color="#444444", linestyle="--", linewidth=1, label="before the ReLU")
    ax.axvline(at, color="#444444", linestyle=":", linewidth=1)
    ax.annotate(f"{at:.2f}", (at, 0.0012), xytext=(4, 0), textcoords="offset points")
    drawn = [d for d in _after(facts, N, D) if d.seed == 0]
    ax.plot(
        [d.shift for d in drawn],
        [d.bound if math.isfinite(d.bound) else np.nan for d in drawn],
        color="#CC79A7",
        marker="D",
        markersize=3.5,
        linestyle="-.",
        label="right side of Eq. 6",
    )
    ax.set(yscale="log", ylim=(1e-3, 2), xlabel="shift alpha / beta")
    ax.set(ylabel="mean absolute cosine", title=f"{N} independent tokens, {D} features")
    ax.legend(loc="lower right", fontsize=7.5)


def _draw_pairs(ax: Any, facts: Similarities) -> None:
    fine = np.linspace(-1, 1, 200)
    ax.plot(fine, [theorem2.arc_cosine(r) for r in fine], color="#0072B2", label="closed form")
    for pair in facts.pairs:
        ax.plot(
            [pair.correlation] * len(pair.drawn), pair.drawn, "o", color="#0072B2", markersize=4
        )
    ax.plot(fine, fine, color="#444444", linewidth=0.8, label="before, signed")
    ax.plot(fine, np.abs(fine), color="#D55E00", linestyle="--", label="before, absolute")
    ax.set(xlabel="cosine of two tokens before the ReLU", ylabel="cosine after a ReLU")
    ax.set(title="two correlated tokens, no shift")
    ax.legend(loc="lower right")


def _draw_operator_norms(ax: Any, facts: Similarities) -> None:
    for number, (n, d) in enumerate(_sizes(facts)):
        style = look(number)
        drawn = _after(facts, n, d)
        ax.plot(
            [one.shift for one in drawn],
            [one.size.operator_norm / math.sqrt(n * d) for one in drawn],
            markersize=3.5,
            label=f"{n} x {d}",
            **style.dots,
        )
        limits = [theorem2.operator_norm_limit(*_moments(a), n, d) for a in SHIFTS]
        ax.plot(SHIFTS, np.array(limits) / math.sqrt(n * d), color=style.colour, linewidth=0.8)
    moments = [_moments(a) for a in SHIFTS]
    ax.plot(SHIFTS, [m + s for m, s in moments], "--", color="#444444", label="mu + sigma")
    ax.set(xlabel="shift", ylabel="operator norm / sqrt(N D)", yscale="log")
    ax.set(title="operator norm: drawn, closed form")
    ax.legend(fontsize=7.5)


def _draw_row_norms(ax: Any, facts: Similarities) -> None:
    for number, (n, d) in enumerate(_sizes(facts)):
        drawn = _after(facts, n, d)
        ax.plot(
            [one.shift for one in drawn],
            [theorem2.gamma_needed(one.size, num_features=d) for one in drawn],
            markersize=3.5,
            **look(number).dots,
        )
    ax.axhline(1, color="#444444", linewidth=0.8)
    ax.set(xlabel="shift", ylabel="gamma that the smallest row needs", ylim=(0, None))
    ax.set(title="rows of Theorem 2")


def _draw_map(ax: Any, facts: Similarities) -> None:
    shown = np.where(np.isfinite(facts.bounds), facts.bounds, np.nan)
    image = ax.imshow(shown, aspect="auto", cmap="viridis", vmin=0, vmax=1.5)
    for row, values in enumerate(facts.bounds):
        for column, value in enumerate(values):
            if value >= VACUOUS:
                ax.text(column, row, "x", ha="center", va="center", fontsize=8, color="#B00020")
    ax.set_xticks(range(0, len(SHIFTS), 2), [f"{a:g}" for a in SHIFTS[::2]])
    ax.set_yticks(range(len(facts.widths)), [str(width) for width in facts.widths])
    ax.grid(visible=False)
    ax.set(
        xlabel="shift",
        ylabel=f"features, {N} tokens",
        title="Eq. 6 (x: says nothing)",
    )
    ax.figure.colorbar(image, ax=ax)


def section(facts: Similarities) -> Section:
    """Return the section's text and findings."""
    lines = ["## Theorem 2 and Eq. 6", *_norms(facts), *_bound(facts), *_cosine(facts)]
    return Section(tuple(lines), tuple(_findings(facts)))


def _norms(facts: Similarities) -> Iterator[str]:
    yield (
        "Token matrices of independent elements with mean 0 and variance 1, as the theorem has "
        f"them, before and after `beta * max(x + shift, 0)`: {len(facts.draws)} draws over sizes, "
        f"shifts from {min(SHIFTS):g} to {max(SHIFTS):g}, beta "
        f"{', '.join(f'{b:g}' for b in SCALES)}, three distributions."
    )
    rows = []
    for n, d in _sizes(facts):
        for shift in (None, -2.0, -1.0, 0.0, 1.0):
            drawn = _normal(facts, shift, n, d)
            mean, std = _moments(shift)
            limit = theorem2.operator_norm_limit(mean, std, n, d)
            rows.append(
                (
                    f"{n} x {d}",
                    "before" if shift is None else f"{shift:g}",
                    span([one.size.operator_norm for one in drawn]),
                    size(limit),
                    size((mean + std) * math.sqrt(n * d)),
                    span([one.size.min_row_norm for one in drawn]),
                    size(math.sqrt(d * (mean**2 + std**2))),
                    span([theorem2.gamma_needed(one.size, num_features=d) for one in drawn]),
                )
            )
    yield markdown_table(
        (
            "N x D",
            "shift",
            "operator norm",
            "closed form",
            "(mu + sigma) sqrt(N D)",
            "smallest row",
            "typical row",
            "gamma needed",
        ),
        rows,
    )
    cut = _normal(facts, 0.0)[0]
    bernstein, trivial = _bernstein(cut)
    yield (
        "The orders are right: both norms grow in proportion to beta, and no draw exceeds "
        "`(mu + sigma) sqrt(N D)`, which needs no probability at all, since the Frobenius norm is "
        "`sqrt(N D (mu^2 + sigma^2))`. The closed form is that of a rank-one mean in noise; it "
        "needs many elements above zero. The proof's way to the order is not right: Eq. 8 takes a "
        f"single matrix for a sum of many. For {N} x {D} without a shift and at failure "
        f"probability 0.05 it gives {size(bernstein)}; the `R_max` that it assumes is "
        f"{size(trivial)} and bounds the norm by itself. Measured without the mean: "
        f"{size(_centred(cut))}."
    )
    yield picture(
        NORMS,
        "Operator norm by size and shift, the gamma that Theorem 2's row bound needs, and where "
        "the right side of Eq. 6 is 1 or more.",
    )


def _bound(facts: Similarities) -> Iterator[str]:
    before = _normal(facts, None)
    vacuous = facts.bounds >= VACUOUS
    yield (
        "Eq. 6 bounds the mean cosine of tokens whose products are not negative. With the absolute "
        "values that the cosine is read with here (recipes G.5) it holds for no others: before the "
        f"ReLU, where products have both signs, it bounds the signed mean alone: at {N} x {D} its "
        f"right side is {span([d.bound for d in before])}, the mean absolute cosine "
        f"{span([d.cosine.absolute for d in before])}, the signed one at most "
        f"{size(max(abs(d.cosine.signed) for d in before))}."
    )
    yield (
        f"It says nothing (1 or more, or a token of zeros) in {int(vacuous.sum())} of "
        f"{vacuous.size} cells of the map over {', '.join(map(str, facts.widths))} features and "
        f"{len(SHIFTS)} shifts: {_where_vacuous(facts)}."
    )


def _where_vacuous(facts: Similarities) -> str:
    parts = []
    for width, values in zip(facts.widths, facts.bounds, strict=True):
        shifts = [f"{a:g}" for a, value in zip(SHIFTS, values, strict=True) if value >= VACUOUS]
        parts.append(f"{width} features at {', '.join(shifts) or 'none'}")
    return "; ".join(parts)


def _cosine(facts: Similarities) -> Iterator[str]:
    yield "### Is the cosine smaller after the ReLU?"
    yield (
        "The paper concludes from orders of equal size that the cosine becomes smaller. It cannot: "
        "the cosine does not change when a matrix is multiplied by a number, so beta, and with it "
        "the variance, has no influence on it. Only the shift in units of beta has. Independent "
        "Gaussian tokens have closed forms: before, the mean absolute cosine is "
        "`Gamma(D/2) / (sqrt(pi) Gamma((D+1)/2))`; after, the squared mean over the second moment, "
        "1 / pi without a shift."
    )
    rows = []
    for shift in (None, *SHIFTS):
        drawn = _normal(facts, shift)
        closed = theorem2.cosine_before(D) if shift is None else theorem2.cosine_after(shift)
        bounds = [d.bound for d in drawn if math.isfinite(d.bound)]
        rows.append(
            (
                "before" if shift is None else f"{shift:g}",
                span([d.cosine.absolute for d in drawn]),
                size(closed),
                span(bounds) if len(bounds) == len(drawn) else "a token of zeros",
            )
        )
    headers = ("shift", "mean absolute cosine", "closed form", "right side of Eq. 6")
    yield markdown_table(headers, rows)
    limits = ", ".join(f"{theorem2.falls_below(d):.2f} for {d}" for d in facts.widths)
    yield (
        f"{N} x {D}, normal, seeds {_seeds(facts)}. It falls only below a shift of {limits} "
        "features. With two correlated tokens the cosine after a ReLU is the arc-cosine kernel, "
        "which lies above the signed cosine everywhere; the absolute one falls for tokens that "
        f"point away from each other: below a cosine of {_crossing():.2f}."
    )
    yield picture(
        COSINES,
        "Mean absolute cosine of independent tokens after a shifted ReLU, and the cosine of two "
        "correlated tokens before and after one.",
    )


def _findings(facts: Similarities) -> Iterator[Finding]:
    size_text = f"{N} x {D}, seeds {_seeds(facts)}"
    before = _normal(facts, None)
    after = _normal(facts, 0.0)
    alive = [d for d in facts.draws if d.size.std > 0]  # uniform elements can all be cut
    above = [d.size.operator_norm / _order(d) for d in alive]
    yield Finding(
        "Theorem 2: the operator norm is of the order of mean and deviation",
        judged(max(above) <= 1),
        f"{span(above)} times `(mu + sigma) sqrt(N D)`",
        f"{len(alive)} draws",
    )
    gammas = [theorem2.gamma_needed(d.size, num_features=d.num_features) for d in alive]
    yield Finding(
        "Theorem 2: the smallest row is of the order of `sqrt(mu^2 + (1 - gamma) sigma^2)`",
        Verdict.MISSING,
        f"gamma has to be {span(gammas)}; a token can be zero as a whole",
        f"{len(alive)} draws",
    )
    yield Finding(
        "The mean is larger after the ReLU than before",
        judged(all(_moments(shift)[0] > 0 for shift in SHIFTS)),
        f"{span([_moments(shift)[0] for shift in SHIFTS])} against 0",
        f"closed form, shifts from {min(SHIFTS):g} to {max(SHIFTS):g}",
    )
    bernstein, trivial = _bernstein(after[0])
    yield Finding(
        "Eq. 8: matrix Bernstein says more than the bound that it assumes",
        judged(bernstein < trivial),
        f"{size(bernstein)}, above the {size(trivial)} that are assumed; measured "
        f"{size(_centred(after[0]))}",
        f"{N} x {D}, no shift, seed 0",
    )
    bounded = all(d.cosine.absolute <= d.bound for d in before)
    yield Finding(
        "Eq. 6 bounds the mean absolute cosine of any token matrix",
        judged(bounded),
        f"before the ReLU {span([d.cosine.absolute for d in before])} against a bound of "
        f"{span([d.bound for d in before])}",
        size_text,
    )
    cut = [d for d in facts.draws if d.shift is not None]
    yield Finding(
        "... of non-negative tokens",
        judged(all(d.cosine.absolute <= d.bound for d in cut)),
        f"below the bound in {sum(d.cosine.absolute <= d.bound for d in cut)} of {len(cut)} draws",
        f"after the ReLU; the bound is 1 or more in {sum(d.bound >= VACUOUS for d in cut)} of them",
    )
    rises = all(b.cosine.absolute > a.cosine.absolute for a, b in zip(before, after, strict=True))
    yield Finding(
        "A scaled ReLU makes the cosine smaller, under the theorem's premise",
        Verdict.WRONG if rises else Verdict.RIGHT,
        f"before {span([d.cosine.absolute for d in before])}, after "
        f"{span([d.cosine.absolute for d in after])}; falls below a shift of "
        f"{theorem2.falls_below(D):.2f} only",
        size_text,
    )
    yield Finding(
        "A scale beta that keeps the variance makes the cosine smaller",
        judged(_spread_over_scales(facts) > 1e-9),
        f"differences over beta {', '.join(f'{b:g}' for b in SCALES)}: "
        f"{size(_spread_over_scales(facts))}",
        size_text,
    )


def _spread_over_scales(facts: Similarities) -> float:
    apart = [0.0]
    for shift in SHIFTS:
        drawn = facts.of(num_tokens=N, num_features=D, kind=KINDS[0], shift=shift)
        for seed in {d.seed for d in drawn}:
            values = [d.cosine.absolute for d in drawn if d.seed == seed]
            apart.append(max(values) - min(values))
    return max(apart)


def _bernstein(cut: Draw) -> tuple[float, float]:
    """Return Eq. 8 and its assumption R_max, with the smallest R that the draw allows."""
    n, d = cut.num_tokens, cut.num_features
    before = theorem2.operator_norm_limit(0.0, 1.0, n, d)
    trivial = before + cut.size.mean * math.sqrt(n * d)
    return theorem2.bernstein_bound(cut.size.std, trivial, n, d), trivial


def _centred(cut: Draw) -> float:
    tokens = theorem2.draw_tokens(cut.seed, cut.num_tokens, cut.num_features, kind=cut.kind)
    return theorem2.token_size(np.maximum(tokens + cut.shift, 0) - cut.size.mean).operator_norm


def _order(one: Draw) -> float:
    return theorem2.operator_norm_bound(
        one.size, num_tokens=one.num_tokens, num_features=one.num_features
    )


def _moments(shift: float | None) -> tuple[float, float]:
    """Return mean and standard deviation of an element."""
    if shift is None:
        return 0.0, 1.0
    mean, square = theorem2.relu_moments(shift)
    return mean, math.sqrt(square - mean**2)


def _crossing() -> float:
    """Return the cosine below which the absolute value falls in a ReLU."""
    from scipy.optimize import brentq

    return float(brentq(lambda r: theorem2.arc_cosine(r) + r, -1.0, 0.0))


def _sizes(facts: Similarities) -> list[tuple[int, int]]:
    return list(dict.fromkeys((d.num_tokens, d.num_features) for d in facts.draws))


def _normal(facts: Similarities, shift: float | None, n: int = N, d: int = D) -> list[Draw]:
    """Return the normal draws with beta 1 at a shift; None before the ReLU."""
    return facts.of(num_tokens=n, num_features=d, kind=KINDS[0], beta=1.0, shift=shift)


def _after(facts: Similarities, n: int, d: int, *, kind: str = KINDS[0]) -> Sequence[Draw]:
    drawn = facts.of(num_tokens=n, num_features=d, kind=kind, beta=1.0)
    return [one for one in drawn if one.shift is not None]


def _seeds(facts: Similarities) -> str:
    return ", ".join(str(seed) for seed in sorted({d.seed for d in facts.draws}))
