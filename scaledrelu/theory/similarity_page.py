"""The section of the page on Theorem 2 and Eq. 6: norms, the bound, the cosine around a ReLU."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from scaledrelu.text import markdown_table
from scaledrelu.theory import theorem2
from scaledrelu.theory.finding import Finding, Section, Verdict, judged, picture, size, span
from scaledrelu.theory.similarity import (
    SCALES,
    SHIFTS,
    VACUOUS,
    D,
    Draw,
    N,
    Similarities,
    moments,
)
from scaledrelu.theory.similarity_picture import COSINES, NORMS


def section(facts: Similarities) -> Section:
    """Return the section's text and findings."""
    lines = ["## Theorem 2 and Eq. 6", *_norms(facts), *_bound(facts), *_cosine(facts)]
    return Section(tuple(lines), tuple(_findings(facts)))


def _norms(facts: Similarities) -> Iterator[str]:
    yield (
        "We draw token matrices of independent elements with mean 0 and variance 1, as the theorem "
        "assumes, and compare them before and after `beta * max(x + shift, 0)`. There are "
        f"{len(facts.draws)} draws over several sizes, shifts from {min(SHIFTS):g} to "
        f"{max(SHIFTS):g}, beta {', '.join(f'{b:g}' for b in SCALES)} and three distributions. The "
        "table shows normal elements with beta 1:"
    )
    yield _norm_table(facts)
    yield _proof_of_the_order(_normal(facts, 0.0)[0])
    yield picture(
        NORMS,
        "Operator norm by size and shift, the gamma that Theorem 2's row bound needs, and where "
        "the right side of Eq. 6 is 1 or more.",
    )


def _norm_table(facts: Similarities) -> str:
    headers = (
        "N x D",
        "shift",
        "operator norm",
        "closed form",
        "(mu + sigma) sqrt(N D)",
        "smallest row",
        "typical row",
        "gamma needed",
    )
    shifts = (None, -2.0, -1.0, 0.0, 1.0)
    rows = [_norm_row(facts, shift, n, d) for n, d in facts.sizes for shift in shifts]
    return markdown_table(headers, rows)


def _norm_row(facts: Similarities, shift: float | None, n: int, d: int) -> tuple[str, ...]:
    drawn = _normal(facts, shift, n, d)
    mean, std = moments(shift)
    return (
        f"{n} x {d}",
        "before" if shift is None else f"{shift:g}",
        span([one.size.operator_norm for one in drawn]),
        size(theorem2.operator_norm_limit(mean, std, n, d)),
        size((mean + std) * math.sqrt(n * d)),
        span([one.size.min_row_norm for one in drawn]),
        size(math.sqrt(d * (mean**2 + std**2))),
        span([theorem2.gamma_needed(one.size) for one in drawn]),
    )


def _proof_of_the_order(cut: Draw) -> str:
    """Say what is right of the order of the norms, on one draw without a shift."""
    bernstein, trivial = _bernstein(cut)
    return (
        "The orders are right: both norms grow in proportion to beta, and no draw exceeds "
        "`(mu + sigma) sqrt(N D)`. That bound is certain, not only probable, since the Frobenius "
        "norm is `sqrt(N D (mu^2 + sigma^2))`. The closed form is that of a rank-one mean in "
        "noise; it needs many elements above zero. The way in which the proof derives the order is "
        "wrong: Eq. 8 treats a single matrix as a sum of many. For "
        f"{N} x {D} without a shift and at failure probability 0.05, Eq. 8 gives "
        f"{size(bernstein)}. The `R_max` that it assumes is {size(trivial)} and already bounds the "
        f"norm. The norm measured without the mean is {size(_centred(cut))}."
    )


def _bound(facts: Similarities) -> Iterator[str]:
    before = _normal(facts, None)
    vacuous = facts.bounds >= VACUOUS
    yield (
        "Eq. 6 bounds the mean cosine of tokens whose products are not negative. This page takes "
        "absolute values of the cosine (recipes G.5), and then the bound is valid for no other "
        "tokens. Before the ReLU, where products have both signs, it bounds only the signed mean: "
        f"at {N} x {D} its right side is {span([d.bound for d in before])}, the mean absolute "
        f"cosine is {span([d.cosine.absolute for d in before])}, and the mean signed cosine is at "
        f"most {size(max(abs(d.cosine.signed) for d in before))}."
    )
    yield (
        f"The bound says nothing in {int(vacuous.sum())} of {vacuous.size} cells of the map over "
        f"{', '.join(map(str, facts.widths))} features and {len(SHIFTS)} shifts, since it is 1 or "
        f"more there or a token is all zeros: {_where_vacuous(facts)}."
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
        "The paper argues that both norms are of the same order, so the cosine becomes smaller. "
        "That does not follow: the cosine does not change when a matrix is multiplied by a number, "
        "so beta, and with it the variance, has no influence on it. Only the shift in units of "
        "beta has one. For independent Gaussian tokens there are closed forms. Before the ReLU, "
        "the mean absolute cosine is `Gamma(D/2) / (sqrt(pi) Gamma((D+1)/2))`. After the ReLU, it "
        "is the squared mean over the second moment, which is 1 / pi without a shift."
    )
    yield _cosine_table(facts)
    limits = ", ".join(f"{theorem2.falls_below(d):.2f} for {d}" for d in facts.widths)
    yield (
        f"The table is for {N} x {D}, normal elements, seeds {_seeds(facts)}. The mean absolute "
        f"cosine falls only if the shift is below a limit: {limits} features. For two correlated "
        "tokens, the cosine after a ReLU is the arc-cosine kernel, which lies above the signed "
        "cosine everywhere. The absolute cosine falls for tokens that point away from each other, "
        f"with a cosine below {_crossing():.2f}."
    )
    yield picture(
        COSINES,
        "Mean absolute cosine of independent tokens after a shifted ReLU, and the cosine of two "
        "correlated tokens before and after one.",
    )


def _cosine_table(facts: Similarities) -> str:
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
    return markdown_table(headers, rows)


def _findings(facts: Similarities) -> Iterator[Finding]:
    yield from _findings_on_norms(facts)
    yield from _findings_on_the_proof(_normal(facts, 0.0)[0])
    yield from _findings_on_the_bound(facts)
    yield from _findings_on_the_cosine(facts)


def _findings_on_norms(facts: Similarities) -> Iterator[Finding]:
    alive = [d for d in facts.draws if d.size.std > 0]  # uniform elements can all be cut
    above = [d.size.operator_norm / theorem2.operator_norm_bound(d.size) for d in alive]
    yield Finding(
        "Theorem 2: the operator norm is of the order of mean and deviation",
        judged(max(above) <= 1),
        f"{span(above)} times `(mu + sigma) sqrt(N D)`",
        f"{len(alive)} draws",
    )
    gammas = [theorem2.gamma_needed(d.size) for d in alive]
    yield Finding(
        "Theorem 2: the smallest row is of the order of `sqrt(mu^2 + (1 - gamma) sigma^2)`",
        Verdict.MISSING,
        f"gamma has to be {span(gammas)}; a token can be zero as a whole",
        f"{len(alive)} draws",
    )


def _findings_on_the_proof(cut: Draw) -> Iterator[Finding]:
    yield Finding(
        "The mean is larger after the ReLU than before",
        judged(all(moments(shift)[0] > 0 for shift in SHIFTS)),
        f"{span([moments(shift)[0] for shift in SHIFTS])} against 0",
        f"closed form, shifts from {min(SHIFTS):g} to {max(SHIFTS):g}",
    )
    bernstein, trivial = _bernstein(cut)
    yield Finding(
        "Eq. 8: matrix Bernstein says more than the bound that it assumes",
        judged(bernstein < trivial),
        f"{size(bernstein)}, above the {size(trivial)} that are assumed; measured "
        f"{size(_centred(cut))}",
        f"{N} x {D}, no shift, seed 0",
    )


def _findings_on_the_bound(facts: Similarities) -> Iterator[Finding]:
    before = _normal(facts, None)
    bounded = all(d.cosine.absolute <= d.bound for d in before)
    yield Finding(
        "Eq. 6 bounds the mean absolute cosine of any token matrix",
        judged(bounded),
        f"before the ReLU {span([d.cosine.absolute for d in before])} against a bound of "
        f"{span([d.bound for d in before])}",
        _drawn(facts),
    )
    cut = [d for d in facts.draws if d.shift is not None]
    yield Finding(
        "... of non-negative tokens",
        judged(all(d.cosine.absolute <= d.bound for d in cut)),
        f"below the bound in {sum(d.cosine.absolute <= d.bound for d in cut)} of {len(cut)} draws",
        f"after the ReLU; the bound is 1 or more in {sum(d.bound >= VACUOUS for d in cut)} of them",
    )


def _findings_on_the_cosine(facts: Similarities) -> Iterator[Finding]:
    before, after = _normal(facts, None), _normal(facts, 0.0)
    rises = all(b.cosine.absolute > a.cosine.absolute for a, b in zip(before, after, strict=True))
    yield Finding(
        "A scaled ReLU makes the cosine smaller, under the theorem's premise",
        Verdict.WRONG if rises else Verdict.RIGHT,
        f"before {span([d.cosine.absolute for d in before])}, after "
        f"{span([d.cosine.absolute for d in after])}; falls below a shift of "
        f"{theorem2.falls_below(D):.2f} only",
        _drawn(facts),
    )
    spread = _spread_over_scales(facts)
    yield Finding(
        "A scale beta that keeps the variance makes the cosine smaller",
        judged(spread > 1e-9),
        f"differences over beta {', '.join(f'{b:g}' for b in SCALES)}: {size(spread)}",
        _drawn(facts),
    )


def _spread_over_scales(facts: Similarities) -> float:
    apart = [0.0]
    for shift in SHIFTS:
        drawn = [d for d in facts.of() if d.shift == shift]
        for seed in {d.seed for d in drawn}:
            values = [d.cosine.absolute for d in drawn if d.seed == seed]
            apart.append(max(values) - min(values))
    return max(apart)


def _bernstein(cut: Draw) -> tuple[float, float]:
    """Return Eq. 8 and its assumption R_max, with the smallest R that the draw allows."""
    n, d = cut.shape
    before = theorem2.operator_norm_limit(0.0, 1.0, n, d)
    trivial = before + cut.size.mean * math.sqrt(n * d)
    return theorem2.bernstein_bound(cut.size.std, trivial, n, d), trivial


def _centred(cut: Draw) -> float:
    tokens = theorem2.draw_tokens(cut.seed, *cut.shape, kind=cut.kind)
    return theorem2.token_size(np.maximum(tokens + cut.shift, 0) - cut.size.mean).operator_norm


def _crossing() -> float:
    """Return the cosine below which the absolute value falls in a ReLU."""
    from scipy.optimize import brentq

    return float(brentq(lambda r: theorem2.arc_cosine(r) + r, -1.0, 0.0))


def _normal(facts: Similarities, shift: float | None, n: int = N, d: int = D) -> list[Draw]:
    """Return the normal draws with beta 1 at a shift; None before the ReLU."""
    return [one for one in facts.of(n, d) if (one.beta, one.shift) == (1, shift)]


def _seeds(facts: Similarities) -> str:
    return ", ".join(str(seed) for seed in sorted({d.seed for d in facts.draws}))


def _drawn(facts: Similarities) -> str:
    """Return which token matrices most numbers are of."""
    return f"{N} x {D}, seeds {_seeds(facts)}"
