"""The triplet loss of person re-identification: batch-hard, soft margin, Euclidean (recipes D.1).

Shapes: B images, D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from scaledrelu.tasks.base import at_least_float32

Measure = Callable[[Tensor], Tensor]  # features B x D -> distances B x B
LEAST_SQUARE = 1e-12  # smallest squared distance (TRI loss/triplet_loss.py)


@dataclass(frozen=True, slots=True)
class HardestDistances:
    """For every image, the farthest of its identity and the nearest of the others (B each).

    ``positive_B`` counts the image itself, so it is about 0 where an identity has one image;
    ``negative_B`` is infinite where the batch holds one identity.
    """

    positive_B: Tensor  # noqa: N815
    negative_B: Tensor  # noqa: N815


def hardest_distances(features_BD: Tensor, ids_B: Tensor, measure: Measure) -> HardestDistances:
    """Mine the hardest pairs among all images of the batch, in float32 or better.

    Args:
        features_BD: not normalised; any precision, also under autocast.
        ids_B: identities, int64.
        measure: one of the values of ``DISTANCES``.

    Source: TRI loss/triplet_loss.py ``hard_example_mining``.
    """
    distances_BB = measure(features_BD)
    same_BB = ids_B[:, None] == ids_B[None, :]
    return HardestDistances(
        positive_B=distances_BB.masked_fill(~same_BB, -math.inf).max(dim=1).values,
        negative_B=distances_BB.masked_fill(same_BB, math.inf).min(dim=1).values,
    )


def soft_margin_triplet(features_BD: Tensor, ids_B: Tensor, measure: Measure) -> Tensor:
    """Mean over images of ln(1 + exp(positive - negative)), the hardest distances of each.

    ln 2 when all features are equal; an image without one of another identity costs nothing. As in
    the official code a positive more than 88 farther than the negative overflows float32: the loss
    is infinite, and training has crashed.

    Args:
        features_BD: features before BNNeck, not normalised.
        ids_B: identities, int64.
        measure: one of the values of ``DISTANCES``.

    Returns:
        Scalar, float32 or better.
    Source: TRI loss/triplet_loss.py ``TripletLoss`` without margin; recipes D.1.
    """
    hardest = hardest_distances(features_BD, ids_B, measure)
    margin_B = hardest.negative_B - hardest.positive_B
    return F.soft_margin_loss(margin_B, torch.ones_like(margin_B))


def by_products(features_BD: Tensor) -> Tensor:
    """Return distances B x B from inner products, which autocast rounds to half precision.

    Source: TRI loss/triplet_loss.py ``euclidean_dist``.
    """
    square_B = at_least_float32(features_BD).square().sum(dim=1)
    squares_BB = square_B[:, None] + square_B - 2 * (features_BD @ features_BD.T)
    return squares_BB.clamp(min=LEAST_SQUARE).sqrt()


def by_differences(features_BD: Tensor) -> Tensor:
    """Return distances B x B in float32 or better, exactly 0 between equal features."""
    wide_BD = at_least_float32(features_BD)
    # Autocast leaves it in float32.
    return torch.cdist(wide_BD, wide_BD, compute_mode="donot_use_mm_for_euclid_dist")


DISTANCES: dict[str, Measure] = {
    "products": by_products,  # as in the official code
    "differences": by_differences,
}
