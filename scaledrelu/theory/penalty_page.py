"""The section of the page on Theorem 1: the equality, the forms of a scaled ReLU, the penalty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.models.channels import ATTENTION, PROJECTION, THEOREM
from scaledrelu.reports.drawing import drawing, look, save_picture
from scaledrelu.theory.finding import Finding, Section, Verdict, judged, picture, size, span, table
from scaledrelu.theory.networks import AT_START, TRAINED
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
ROUNDING = 1e-12  # of float64, over a whole network
ZERO = 1e-3  # of an effective weight, where the matrix is of order 1
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
    with drawing(9, 5.6, nrows=2, ncols=3) as (figure, axes):
        _draw_penalties(axes[0], facts)
        _draw_matrices(axes[1], facts.fitted)
        return save_picture(figure, folder / PICTURE)


def _draw_penalties(axes: Sequence[Any], facts: Penalty) -> None:
    groups = {
        "random layers": [one for one in facts.compared if one.name.startswith("random")],
        "stems: BatchNorm, projection": [c for c in facts.compared if c.name.endswith(PROJECTION)],
        "block 1: LayerNorm, attention": [c for c in facts.compared if c.name.endswith(ATTENTION)],
    }
    for ax, (title, compared) in zip(axes, groups.items(), strict=True):
        for number, (label, values) in enumerate(
            (
                (r"$2\,|(\alpha,\beta)_c|\,|w_c|_2$", [c.group_C for c in compared]),
                (r"$2\,|(\alpha,\beta)_c|\,|w_c|_1$", [c.entries_C for c in compared]),
            )
        ):
            if compared:
                style = look(number)
                ax.plot(
                    np.concatenate([c.found_C for c in compared]),
                    np.concatenate(values),
                    color=style.colour,
                    marker=style.marker,
                    markersize=3,
                    linestyle="none",
                    alpha=0.6,
                    label=label,
                )
        ends = ax.get_xlim() if compared else (1, 10)
        ax.plot(ends, ends, color="#444444", linewidth=0.8)
        ax.set(xscale="log", yscale="log", title=title)
        ax.set_xlabel("smallest weight decay, by search")
    axes[0].set_ylabel("formula")
    axes[0].legend(loc="upper left")


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
