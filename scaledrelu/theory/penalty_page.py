"""The section of the page on Theorem 1: the equality, the forms of a scaled ReLU, the penalty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.models.channels import ATTENTION, PROJECTION, THEOREM
from scaledrelu.reports.drawing import drawing, look, save_picture
from scaledrelu.text import markdown_table
from scaledrelu.theory.finding import (
    ROUNDING,
    Finding,
    Section,
    Verdict,
    judged,
    picture,
    size,
    span,
)
from scaledrelu.theory.networks import AT_START, FEW, TRAINED
from scaledrelu.theory.penalty import (
    CHANNELS,
    COLUMNS,
    DECAY,
    ROWS,
    SAMPLES,
    SEEDS,
    WEIGHTS,
    Compared,
    Fitted,
    Moved,
    Penalty,
)

PICTURE = "theory_penalty"
ZERO = 1e-9  # of an effective weight, where the matrix is of order 1
PAIRS = {  # which parameters, and what lies between them
    PROJECTION: ("BatchNorm before the stem's last ReLU -> projection of the stem", "nothing"),
    ATTENTION: ("LayerNorm of block 1 -> its queries, keys, values", "nothing"),
    THEOREM: (
        "BatchNorm before the ReLU behind the projection -> queries, keys, values of block 1",
        "positions, LayerNorm",
    ),
}


def draw(facts: Penalty, folder: Path) -> list[Path]:
    """Draw the section's picture.

    Args:
        facts: the numbers.
        folder: where pictures lie.
    """
    with drawing(9, 5.4, nrows=2, ncols=3) as (figure, axes):
        _draw_penalties(axes[0], facts)
        _draw_matrices(axes[1], facts.fitted)
        return save_picture(figure, folder / PICTURE)


def _draw_penalties(axes: Sequence[Any], facts: Penalty) -> None:
    for ax, (title, compared) in zip(axes, grouped(facts.compared).items(), strict=False):
        found = np.concatenate([c.found_C for c in compared])
        for number, (label, values) in enumerate(
            (
                ("group lasso", [c.group_C for c in compared]),
                ("entrywise l1", [c.entries_C for c in compared]),
            )
        ):
            ax.plot(
                found,
                np.concatenate(values) / found,
                markersize=3,
                alpha=0.6,
                rasterized=True,  # thousands of markers would make the SVG large
                label=label,
                **look(number).dots,
            )
        ax.set(yscale="log", ylim=(0.7, 50), title=title)
        ax.set_yticks((1, 3, 10, 30), ("1", "3", "10", "30"))
        ax.set_xlabel("smallest weight decay of a channel")
    axes[0].set_ylabel("formula / found by search")
    axes[0].legend(loc="center right")


def _draw_matrices(axes: Sequence[Any], fitted: Fitted) -> None:
    limit = float(np.abs(fitted.target).max())
    panels = {
        "gradient descent, weight decay": fitted.descended,
        "group lasso, closed form": fitted.group,
        "entrywise lasso, closed form": fitted.entries,
    }
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        image = ax.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")
        ax.set(title=title, xlabel="weight k")
        ax.grid(visible=False)
        zero = np.argwhere(np.abs(values) < ZERO)
        ax.plot(zero[:, 1], zero[:, 0], ".", color="#444444", markersize=2)
    axes[0].set_ylabel("channel c")
    axes[0].figure.colorbar(image, ax=list(axes), label="effective weight (dot: zero)")


def section(facts: Penalty) -> Section:
    """Return the section's text and findings."""
    lines = [*_forms(facts), *_equality(facts.moved), *_penalty(facts.compared)]
    lines += _zeros(facts.fitted)
    return Section(tuple(lines), tuple(_findings(facts)))


def _forms(facts: Penalty) -> Iterator[str]:
    yield "## Two forms of a scaled ReLU"
    yield (
        "The paper defines a scaled ReLU as `beta * max(x + alpha, 0)`. Eq. 1 writes a BatchNorm "
        "and the ReLU after it as one function, `max(beta * x + alpha, 0)`. The subscripts that "
        "connect the two forms are lost in the text that we read. If the shift in the definition "
        "were `alpha / beta`, the two forms would be equal where beta is positive. Eq. 1 also "
        "divides by the norm over batch and positions, where BatchNorm divides by the standard "
        "deviation. Its beta is therefore sqrt(B H W) times BatchNorm's beta (1,267 times for 128 "
        "images of 112 x 112), but its alpha is the same, so `alpha^2 + beta^2` depends on which "
        "of the two is meant. This page uses BatchNorm's."
    )
    yield markdown_table(
        (
            "form",
            "in this repository",
            "rescaling moves the outputs by",
        ),
        (
            (
                "`max(beta * x + alpha, 0)`, Eq. 1",
                "`stem.act=affine_relu`, and BatchNorm + ReLU",
                span(facts.of_eq_1),
            ),
            (
                "`beta * max(x + alpha, 0)`, definition",
                "`stem.act=scaled_relu`",
                span(facts.of_definition),
            ),
        ),
    )
    yield (
        f"Measured on random layers: {CHANNELS} channels, {WEIGHTS:,} weights each, {SAMPLES} "
        f"samples, seeds 0 to {len(SEEDS) - 1}, a log-normal factor per channel. The table shows "
        "the largest change relative to the largest output, in float64. Only Eq. 1 can be rescaled "
        "as in the proof of Theorem 1. With `alpha / beta` as its shift, the definition differs "
        f"from Eq. 1 by {size(facts.same_forms[0])} where beta is positive, and by at least "
        f"{size(facts.same_forms[1])} in every channel where beta is negative."
    )


def _equality(moved: Sequence[Moved]) -> Iterator[str]:
    yield "## Theorem 1: the same function after rescaling"
    yield (
        "Multiply the scale and shift of a channel by a factor, and divide the weights that read "
        "the channel by the same factor: does the whole network still compute the same? The table "
        f"shows how far the logits of {FEW} validation images move, relative to the largest logit, "
        "in float64, with a log-normal factor per channel."
    )
    rows = [
        (text, between, *(_errors(moved, pair, state) for state in (AT_START, TRAINED)))
        for pair, (text, between) in PAIRS.items()
    ]
    yield markdown_table(("parameters", "between them", AT_START, TRAINED), rows)
    yield (
        "The rescaling is exact where nothing lies between the scaled ReLU and the weights. In a "
        "ViT with the paper's conv-stem, these weights are the projection of the stem, not the "
        "attention. Before the attention come the projection, the position embedding and a "
        "LayerNorm, and the ReLU has other channels than the tokens (16 and 64 at mini, 64 and 384 "
        "in DeiT-S). In front of the attention, weight and bias of the LayerNorm play the part "
        "that Theorem 1 gives to alpha and beta. Every ViT has them, with or without a scaled "
        "ReLU. Remark 1 says that the analysis carries over to a LayerNorm or a linear layer "
        "before the attention. That is true of the pairs in the first two rows. It is not true of "
        "a scaled ReLU and the attention with a LayerNorm between them. The third row shows that: "
        "it is a stem of one projection, BatchNorm and ReLU, the only stem of the paper whose "
        "scaled ReLU has the channels of the tokens."
    )


def _errors(moved: Sequence[Moved], pair: str, state: str) -> str:
    found = [m.error for m in moved if m.pair == pair and m.network.state == state]
    return f"{span(found)} ({len(found)} networks)" if found else "not run"


def _penalty(compared: Sequence[Compared]) -> Iterator[str]:
    yield "## Theorem 1: which penalty"
    yield (
        "Rescaling does not change the loss, so weight decay chooses the factor eta: the one that "
        "minimises `eta^2 (alpha_c^2 + beta_c^2) + |w_c|^2 / eta^2`. The paper says that the "
        "minimum is an l1 penalty on the entries of `w_c`. We search for the minimum numerically, "
        "channel by channel:"
    )
    rows = [
        (
            name,
            str(len(group)),
            size(max(c.error for c in group)),
            span([float(c.excess.mean()) for c in group]),
        )
        for name, group in grouped(compared).items()
    ]
    yield markdown_table(
        (
            "layers",
            "number",
            "group lasso differs by",
            "entrywise l1 is larger by, mean over channels",
        ),
        rows,
    )
    yield (
        "The minimum is `2 |(alpha, beta)_c| |w_c|_2`, a group lasso. Weight decay is a squared l2 "
        "norm, so what counts is the l2 norm of all weights of a channel. With one weight per "
        "channel the two penalties agree. The last line of the proof, with the l1 norm, is not a "
        "lower bound: weight decay goes below it. Nor does the penalty differ from channel to "
        "channel: the loss sees `v_c = |(alpha, beta)_c| w_c`, and the smallest weight decay is "
        f"{_per_weight(compared)} times `|v_c|_2` in every channel. The penalty weight of "
        "Theorem 1 is not a strength that adapts; it is part of what is penalised."
    )


def _zeros(fitted: Fitted) -> Iterator[str]:
    zero_rows = int((np.abs(fitted.descended) < ZERO).all(axis=1).sum())
    yield (
        f"The difference shows in what becomes zero. A {ROWS} x {COLUMNS} matrix (normal, rows of "
        "growing size, seed 0) is fitted by scale times weights, with gradient descent and weight "
        f"decay {DECAY} on both. The solution differs from the group lasso by "
        f"{size(fitted.errors[0])}, and from the entrywise lasso by up to "
        f"{size(fitted.errors[1])}. In it, {zero_rows} of {ROWS} channels are zero as a whole, and "
        f"{_single_zeros(fitted.descended)} single weights are zero in the other channels. The "
        f"entrywise lasso has {_single_zeros(fitted.entries)} such weights."
    )
    yield picture(
        PICTURE,
        "Above: the smallest weight decay per channel, found by search, against the two formulas. "
        "Below: a matrix fitted with weight decay, and the two lassos.",
    )


def grouped(compared: Sequence[Compared]) -> dict[str, list[Compared]]:
    """Return the compared layers by what they are; kinds without a layer are left out."""
    kinds = {
        "random layers": "random",
        "stem: BatchNorm, projection": PROJECTION,
        "block 1: LayerNorm, attention": ATTENTION,
    }
    found = {
        text: [c for c in compared if c.name.startswith(word) or c.name.endswith(f": {word}")]
        for text, word in kinds.items()
    }
    return {text: layers for text, layers in found.items() if layers}


def _per_weight(compared: Sequence[Compared]) -> str:
    values = np.concatenate([c.per_effective_weight for c in compared])
    return span(values, "{:.6f}".format)


def _single_zeros(matrix: np.ndarray) -> int:
    """Return how many entries are zero in rows that are not zero as a whole."""
    zero = np.abs(matrix) < ZERO
    return int(zero[~zero.all(axis=1)].sum())


def _findings(facts: Penalty) -> Iterator[Finding]:
    yield from _findings_of_equality(facts)
    yield from _findings_of_remark(facts)
    yield from _findings_of_penalty(facts.compared)


def _findings_of_equality(facts: Penalty) -> Iterator[Finding]:
    direct = [m.error for m in facts.moved if m.pair != THEOREM]
    printed = [m.error for m in facts.moved if m.pair == THEOREM]
    exact = (*direct, *facts.of_eq_1)
    yield Finding(
        "Theorem 1: (alpha, beta) can be scaled up and the weights that read them down",
        _same_function(exact) if direct else Verdict.NOT_RUN,
        f"outputs move by {size(max(exact))}" if direct else "-",
        f"{len(SEEDS)} random layers and {len(direct)} pairs of networks before and after "
        "training, float64",
    )
    yield Finding(
        "... for the definition `beta * max(x + alpha, 0)`",
        _same_function(facts.of_definition),
        f"outputs move by {span(facts.of_definition)}",
        f"{len(SEEDS)} random layers",
    )
    yield Finding(
        "... in a ViT, with the attention as the weights that read the scaled ReLU",
        _same_function(printed),
        f"logits move by {span(printed)}" if printed else "-",
        f"stem of one projection, BatchNorm and ReLU: {len(printed)} networks",
    )


def _findings_of_remark(facts: Penalty) -> Iterator[Finding]:
    linear = [m.error for m in facts.moved if m.pair == PROJECTION]
    yield Finding(
        "Remark 1: the same with a linear layer before the attention",
        _same_function(linear),
        f"logits move by {span(linear)}; what is penalised is that layer" if linear else "-",
        f"projection of the full conv-stem: {len(linear)} networks",
    )
    yield Finding(
        "Remark 1: the same with a LayerNorm before the attention",
        _same_function(facts.behind_norm),
        f"outputs move by {span(facts.behind_norm)}; exact for the LayerNorm's own weight and bias",
        f"{len(SEEDS)} random layers; {sum(m.pair == ATTENTION for m in facts.moved)} networks",
    )


def _findings_of_penalty(compared: Sequence[Compared]) -> Iterator[Finding]:
    yield Finding(
        "Theorem 1: the penalty is an l1 norm of the attention weights",
        judged(max(c.excess.max() for c in compared) < 1 + ROUNDING),
        "l1 is larger than the smallest weight decay by "
        f"{span([float(c.excess.mean()) for c in compared])}; a group lasso differs by "
        f"{size(max(c.error for c in compared))}",
        f"{len(compared)} layers, search per channel",
    )
    yield Finding(
        "The strength of the penalty differs from channel to channel and adapts",
        judged(max(c.per_effective_weight.std() for c in compared) > ROUNDING),
        f"{_per_weight(compared)} times the norm of what the loss sees, in every channel",
        f"{len(compared)} layers, search per channel",
    )


def _same_function(errors: Sequence[float]) -> Verdict:
    """Judge how far rescaling moves outputs; without a measurement it was not run."""
    return judged(max(errors) < ROUNDING) if errors else Verdict.NOT_RUN
