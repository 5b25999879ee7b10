"""The triplet loss of person re-identification: batch-hard, soft margin, Euclidean (recipes D.1).

Shapes: B images, D features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from scaledrelu.tasks.precision import at_least_float32


@dataclass(frozen=True, slots=True)
class HardestDistances:
    """For every image, how far its farthest own and its nearest foreign image lie (B each).

    ``positive_B`` counts the image itself, so it is 0 where an identity has one image;
    ``negative_B`` is infinite where the batch holds one identity.
    """

    positive_B: Tensor  # noqa: N815
    negative_B: Tensor  # noqa: N815


def hardest_distances(features_BD: Tensor, ids_B: Tensor) -> HardestDistances:
    """Mine the hardest pairs among all images of the batch, in float32 or better.

    Distances are sums of squared differences, never differences of products: an image and its copy
    are exactly 0 apart and pass no gradient on.

    Args:
        features_BD: as they are, not normalised; any precision, also under autocast.
        ids_B: identities, int64.

    Source: TRI loss/triplet_loss.py ``euclidean_dist`` and ``hard_example_mining``, which multiply
        the features instead and keep distances above 1e-6.
    """
    wide_BD = at_least_float32(features_BD)
    exact = "donot_use_mm_for_euclid_dist"
    # Autocast leaves it in float32.
    distances_BB = torch.cdist(wide_BD, wide_BD, compute_mode=exact)
    same_BB = ids_B[:, None] == ids_B[None, :]
    return HardestDistances(
        positive_B=distances_BB.masked_fill(~same_BB, -math.inf).max(dim=1).values,
        negative_B=distances_BB.masked_fill(same_BB, math.inf).min(dim=1).values,
    )


def soft_margin_triplet(features_BD: Tensor, ids_B: Tensor) -> Tensor:
    """Mean over images of ln(1 + exp(positive - negative)), the hardest distances of each.

    ln 2 when all features are equal; an image without a foreign one costs nothing.

    Args:
        features_BD: before BNNeck, not normalised.
        ids_B: identities, int64.

    Returns:
        Scalar, float32 or better.
    Source: TRI loss/triplet_loss.py ``TripletLoss`` without margin; recipes D.1.
    """
    hardest = hardest_distances(features_BD, ids_B)
    return F.softplus(hardest.positive_B - hardest.negative_B).mean()
