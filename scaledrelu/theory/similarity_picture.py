"""The pictures of Theorem 2 and Eq. 6: the cosine around a ReLU, norms, and the bound."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.reports.drawing import drawing, look, save_picture
from scaledrelu.theory import theorem2
from scaledrelu.theory.similarity import KINDS, SHIFTS, VACUOUS, D, Draw, N, Similarities, moments

COSINES, NORMS = "theory_cosine", "theory_norms"


def draw(facts: Similarities, folder: Path) -> list[Path]:
    """Draw both pictures.

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
    for number, (n, d) in enumerate(facts.sizes):
        style = look(number)
        drawn = _after(facts, n, d)
        ax.plot(
            [one.shift for one in drawn],
            [one.size.operator_norm / math.sqrt(n * d) for one in drawn],
            markersize=3.5,
            label=f"{n} x {d}",
            **style.dots,
        )
        limits = [theorem2.operator_norm_limit(*moments(a), n, d) for a in SHIFTS]
        ax.plot(SHIFTS, np.array(limits) / math.sqrt(n * d), color=style.colour, linewidth=0.8)
    sums = [sum(moments(a)) for a in SHIFTS]
    ax.plot(SHIFTS, sums, "--", color="#444444", label="mu + sigma")
    ax.set(xlabel="shift", ylabel="operator norm / sqrt(N D)", yscale="log")
    ax.set(title="operator norm: drawn, closed form")
    ax.legend(fontsize=7.5)


def _draw_row_norms(ax: Any, facts: Similarities) -> None:
    for number, (n, d) in enumerate(facts.sizes):
        drawn = _after(facts, n, d)
        ax.plot(
            [one.shift for one in drawn],
            [theorem2.gamma_needed(one.size) for one in drawn],
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
    # The steps between columns differ: each has its number.
    ax.set_xticks(range(len(SHIFTS)), [f"{a:g}" for a in SHIFTS], rotation=90)
    ax.set_yticks(range(len(facts.widths)), [str(width) for width in facts.widths])
    ax.grid(visible=False)
    ax.set(
        xlabel="shift",
        ylabel=f"features, {N} tokens",
        title="Eq. 6 (x: says nothing)",
    )
    ax.figure.colorbar(image, ax=ax, label="right side of Eq. 6")


def _after(facts: Similarities, n: int, d: int, *, kind: str = KINDS[0]) -> list[Draw]:
    """Return the draws with beta 1 after a ReLU."""
    drawn = facts.of(n, d, kind=kind)
    return [one for one in drawn if one.beta == 1 and one.shift is not None]
