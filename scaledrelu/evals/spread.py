"""How far features spread: what a collapsed representation loses, whatever its loss says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# B images, D channels

NOTHING = 1e-12  # total variance of features of length 1 below which they count as equal


@dataclass(frozen=True, slots=True)
class Spread:
    """Of features scaled to length 1.

    Attributes:
        std: over the images, mean over channels; 0 if all are equal, 1/sqrt(D) at most.
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
