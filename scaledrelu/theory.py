"""Theorems 1 and 2 of the paper in numbers: small enough to check with random draws.

A scaled ReLU here is Eq. 1, ``max(beta * x + alpha, 0)`` (a BatchNorm's affine part, then ReLU):
only this form is homogeneous in (alpha, beta), which the proof of Theorem 1 needs; the definition
``beta * max(x + alpha, 0)`` is homogeneous in beta alone.

Shapes: B samples, C channels, K weights per channel; N tokens, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FirstLayer:
    """The free parameters of Theorem 1: scaled ReLU and the attention weights that read it."""

    alpha: Array  # (C,)
    beta: Array  # (C,)
    weight: Array  # (C, K)

    def output(self, features_BC: Array) -> Array:
        """Return (B, K): the scaled ReLU's features times the attention weights."""
        return scaled_relu(features_BC, self.alpha, self.beta) @ self.weight

    def rescaled(self, eta_C: Array) -> FirstLayer:
        """Return the layer with alpha, beta times eta and weights over eta: the same function."""
        return FirstLayer(self.alpha * eta_C, self.beta * eta_C, self.weight / eta_C[:, None])

    def weight_decay(self) -> float:
        """Return the squared L2 norm of all parameters, what weight decay pulls on."""
        parts = (self.alpha, self.beta, self.weight)
        return float(sum(np.square(part).sum() for part in parts))


@dataclass(frozen=True, slots=True)
class TokenSize:
    """What Theorem 2 speaks about: size and spread of a token matrix (N, D)."""

    mean: float
    std: float
    operator_norm: float
    min_row_norm: float


def scaled_relu(features: Array, alpha: Array | float, beta: Array | float) -> Array:
    """Return ``max(beta * x + alpha, 0)``, channels last (Eq. 1).

    Args:
        features: (..., C).
        alpha: shift per channel, (C,), or one for all.
        beta: scale per channel, (C,), or one for all.
    """
    return np.maximum(beta * features + alpha, 0.0)


def best_eta(layer: FirstLayer) -> Array:
    """Return the eta (C) at which weight decay of the rescaled layer is smallest (Eq. 4).

    Raises:
        ValueError: if a channel has no scale or no weights: its infimum is not attained.
    """
    scale_C, norm_C = _scale(layer), np.linalg.norm(layer.weight, axis=1)
    if not (scale_C.all() and norm_C.all()):
        raise ValueError("best_eta needs non-zero (alpha, beta) and non-zero weights per channel.")
    return np.sqrt(norm_C / scale_C)


def weighted_l1(layer: FirstLayer) -> float:
    """Return ``2 * sum_c sqrt(alpha_c^2 + beta_c^2) * |w_c|``: Theorem 1's penalty.

    ``|w_c|`` is the L2 norm of channel c's weights, because weight decay is a squared L2 norm; with
    one weight per channel it is the absolute value, as in the theorem's words.
    """
    return float(2 * (_scale(layer) * np.linalg.norm(layer.weight, axis=1)).sum())


def token_size(tokens_ND: Array) -> TokenSize:
    """Measure a token matrix: element mean and deviation, operator norm, smallest row norm."""
    return TokenSize(
        mean=float(tokens_ND.mean()),
        std=float(tokens_ND.std()),
        operator_norm=float(np.linalg.norm(tokens_ND, ord=2)),
        min_row_norm=float(np.linalg.norm(tokens_ND, axis=1).min()),
    )


def row_norm_bound(size: TokenSize, *, num_features: int, gamma: float) -> float:
    """Return ``sqrt(D (mu^2 + (1 - gamma) sigma^2))``, which rows exceed with high probability.

    ``gamma`` has to grow with mu / sigma: the square of an element spreads with mu * sigma too.

    Args:
        size: mean mu and standard deviation sigma of the token matrix.
        num_features: D.
        gamma: share of the variance that a row may fall short of.

    Source: Theorem 2, second inequality, with the constant that its proof shows.
    """
    return float(np.sqrt(num_features * (size.mean**2 + (1 - gamma) * size.std**2)))


def operator_norm_bound(size: TokenSize, *, num_tokens: int, num_features: int) -> float:
    """Return ``(mu + sigma) sqrt(N D)``: Theorem 2's order of the operator norm, constant 1.

    The constant needs no probability: the Frobenius norm is ``sqrt(N D (mu^2 + sigma^2))``.

    Args:
        size: mean mu and standard deviation sigma of the token matrix.
        num_tokens: N.
        num_features: D.
    """
    return float((abs(size.mean) + size.std) * np.sqrt(num_tokens * num_features))


def similarity_bound(size: TokenSize, *, num_tokens: int) -> float:
    """Return ``|B|_op^2 / ((N - 1) min_i |B_i|^2)``, above the mean cosine of non-negative tokens.

    Args:
        size: operator norm and smallest row norm of the token matrix B.
        num_tokens: N.

    Source: Eq. 6.
    """
    return (size.operator_norm / size.min_row_norm) ** 2 / (num_tokens - 1)


def _scale(layer: FirstLayer) -> Array:
    return np.hypot(layer.alpha, layer.beta)
