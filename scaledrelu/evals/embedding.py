"""Features of a whole set of images, each embedded on one process and known to all.

Also how far they spread, which a collapsed representation loses whatever its loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# N images, B of a batch, D features

NOTHING = 1e-12  # total variance of features of length 1 below which they count as equal


def embed(model: nn.Module, image_BCHW: Tensor) -> Tensor:
    """Return a model's features B x D in float32, scaled to length 1.

    Args:
        model: images -> features.
        image_BCHW: normalised images.
    """
    return F.normalize(model(image_BCHW).float(), dim=1)


def embed_set(
    model: nn.Module,
    batches: Iterable[Any],
    count: int,
    *,
    reduce_sum: Callable[[Tensor], Tensor],
    name: str,
) -> tuple[Tensor, Tensor]:
    """Return features N x D of a whole set, in its order, and the targets N that are known here.

    Targets are 0 where another process saw the image: their sum over all processes is complete.

    Args:
        model: images -> features.
        batches: (images, targets, indices) of this process's shard, on the device.
        count: N; the shards must add up to it.
        reduce_sum: sum of a tensor over all processes.
        name: name of the set, for the error.

    Raises:
        RuntimeError: if the shards do not add up to the set.
    """
    features_ND = targets_N = seen_N = None
    for batch in batches:
        found_BD = embed(model, batch.images)
        if features_ND is None:
            features_ND = found_BD.new_zeros(count, found_BD.shape[1])
            targets_N = batch.targets.new_zeros(count)
            seen_N = torch.zeros_like(targets_N)
        features_ND[batch.indices] = found_BD
        targets_N[batch.indices] = batch.targets
        seen_N[batch.indices] += 1
    # Every row is zero but on one process, so the sum is exact and in order.
    features_ND = reduce_sum(features_ND)
    check_seen(reduce_sum(seen_N), name)
    return features_ND, targets_N


def check_seen(seen_N: Tensor, name: str) -> None:
    """Refuse a set in which an image was not seen exactly once.

    Args:
        seen_N: how often each image was seen, over all processes.
        name: name of the set, for the error.

    Raises:
        RuntimeError: with the number of such images.
    """
    missed = int((seen_N != 1).sum())
    if missed:
        raise RuntimeError(f"{missed} of {len(seen_N)} {name} images were not seen exactly once")


@dataclass(frozen=True, slots=True)
class Spread:
    """Spread of features scaled to length 1.

    Attributes:
        std: standard deviation over the images, mean over channels; 0 if all are equal, 1/sqrt(D)
            at most.
        rank: exponential of the entropy of the covariance's normalised eigenvalues, in
            [1, D]: how many directions the features use; 0 if all are equal.
    """

    std: float
    rank: float


class SpreadMeter:
    """Sums over batches of features, in float64."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None

    def see(self, features_BD: Tensor) -> None:
        """Take one batch of features of length 1."""
        ones_B1 = features_BD.new_ones(len(features_BD), 1, dtype=torch.float64)
        rows = torch.cat([features_BD.double(), ones_B1], dim=1)
        found = rows.T @ rows  # products, sums and, in the last place, the count
        self._sums = found if self._sums is None else self._sums + found

    def read(self, reduce_sum: Callable[[Tensor], Tensor]) -> Spread:
        """Return the spread over all processes; NaN if any feature is not finite.

        Args:
            reduce_sum: sum of a tensor over all processes.
        """
        sums = reduce_sum(self._sums)
        if not bool(torch.isfinite(sums).all()):
            return Spread(float("nan"), float("nan"))
        moments = sums / sums[-1, -1]
        mean_D = moments[-1, :-1]
        covariance_DD = moments[:-1, :-1] - torch.outer(mean_D, mean_D)
        std = covariance_DD.diagonal().clamp(min=0).sqrt().mean()
        return Spread(float(std), _effective_rank(covariance_DD))


def _effective_rank(covariance_DD: Tensor) -> float:
    variance_D = torch.linalg.eigvalsh(covariance_DD).clamp(min=0)
    if float(variance_D.sum()) < NOTHING:
        return 0.0
    return float(torch.special.entr(variance_D / variance_D.sum()).sum().exp())
