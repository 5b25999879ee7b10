"""Theorem 2 and Eq. 6 in numbers: how large and how alike tokens are on both sides of a ReLU.

Independent Gaussian elements are the model in which everything has a closed form; the draws check
it, and other distributions.

Shapes: N tokens, D features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaledrelu.theory.theorem1 import Array


@dataclass(frozen=True, slots=True)
class TokenSize:
    """What Theorem 2 speaks about: size and spread of a token matrix (N, D)."""

    num_tokens: int
    num_features: int
    mean: float
    std: float
    operator_norm: float
    min_row_norm: float


@dataclass(frozen=True, slots=True)
class Cosine:
    """Mean over all pairs of tokens, of the absolute and of the signed cosine."""

    absolute: float
    signed: float


def draw_tokens(seed: int, num_tokens: int, num_features: int, *, kind: str = "normal") -> Array:
    """Return independent elements of mean 0 and variance 1: the premise of Theorem 2.

    Args:
        seed: decides the draw.
        num_tokens: N.
        num_features: D.
        kind: normal, laplace or uniform.
    """
    rng, shape = np.random.default_rng(seed), (num_tokens, num_features)
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "laplace":
        return rng.laplace(scale=math.sqrt(0.5), size=shape)
    return rng.uniform(-math.sqrt(3), math.sqrt(3), size=shape)


def token_size(tokens_ND: Array) -> TokenSize:
    """Measure a token matrix: element mean and deviation, operator norm, smallest row norm."""
    num_tokens, num_features = tokens_ND.shape
    return TokenSize(
        num_tokens,
        num_features,
        mean=float(tokens_ND.mean()),
        std=float(tokens_ND.std()),
        operator_norm=float(np.linalg.norm(tokens_ND, ord=2)),
        min_row_norm=float(np.linalg.norm(tokens_ND, axis=1).min()),
    )


def mean_cosine(tokens_ND: Array) -> Cosine:
    """Return the mean cosine over pairs of different tokens; a token of zeros is like no other."""
    norm_N1 = np.linalg.norm(tokens_ND, axis=1, keepdims=True)
    unit_ND = np.divide(tokens_ND, norm_N1, out=np.zeros_like(tokens_ND), where=norm_N1 > 0)
    pairs = (unit_ND @ unit_ND.T)[~np.eye(len(tokens_ND), dtype=bool)]
    return Cosine(absolute=float(np.abs(pairs).mean()), signed=float(pairs.mean()))


def gamma_needed(size: TokenSize) -> float:
    """Return the gamma at which the row bound meets the smallest row; above 1 it bounds nothing."""
    return 1 - (size.min_row_norm**2 / size.num_features - size.mean**2) / size.std**2


def operator_norm_bound(size: TokenSize) -> float:
    """Return ``(mu + sigma) sqrt(N D)``: Theorem 2's order of the operator norm, constant 1.

    The constant needs no probability: the Frobenius norm is ``sqrt(N D (mu^2 + sigma^2))``.
    """
    return float((abs(size.mean) + size.std) * np.sqrt(size.num_tokens * size.num_features))


def operator_norm_limit(mean: float, std: float, num_tokens: int, num_features: int) -> float:
    """Return the operator norm of independent elements, up to lower orders of N and D.

    A mean is a matrix of rank one beside the noise (Benaych-Georges and Nadakuditi, 2012): it
    shows once ``mean sqrt(N D)`` exceeds ``std (N D)^(1/4)``; below, the noise alone has
    ``std (sqrt N + sqrt D)``.

    Args:
        mean: expectation of an element.
        std: standard deviation of an element.
        num_tokens: N.
        num_features: D.
    """
    spike, N, D = abs(mean) * math.sqrt(num_tokens * num_features), num_tokens, num_features
    if spike <= std * (N * D) ** 0.25:
        return std * (math.sqrt(N) + math.sqrt(D))
    return math.sqrt((spike**2 + N * std**2) * (spike**2 + D * std**2)) / spike


def bernstein_bound(spread: float, bound: float, num_tokens: int, num_features: int) -> float:
    """Return Eq. 8 at failure probability 0.05: what the proof makes of matrix Bernstein.

    Args:
        spread: standard deviation of an element.
        bound: R_max, which the operator norm never exceeds by assumption.
        num_tokens: N.
        num_features: D.
    """
    log_term = math.log((num_tokens + num_features) / 0.05)
    variance = (num_tokens + num_features) * spread**2
    return 2 / 3 * bound * log_term + math.sqrt(2 * variance * log_term)


def similarity_bound(size: TokenSize) -> float:
    """Return ``|B|_op^2 / ((N - 1) min_i |B_i|^2)``, above the mean cosine of non-negative tokens.

    It is infinite where a token is all zeros.

    Source: Eq. 6.
    """
    if size.min_row_norm == 0:
        return math.inf
    return (size.operator_norm / size.min_row_norm) ** 2 / (size.num_tokens - 1)


def relu_moments(shift: float) -> tuple[float, float]:
    """Return mean and second moment of ``max(z + shift, 0)`` for a standard normal z."""
    density = math.exp(-(shift**2) / 2) / math.sqrt(2 * math.pi)
    share = 0.5 * math.erfc(-shift / math.sqrt(2))
    return density + shift * share, (shift**2 + 1) * share + shift * density


def cosine_after(shift: float) -> float:
    """Return the cosine of independent tokens after ``max(z + shift, 0)``, for many features.

    The squared mean over the second moment; 1 / pi without a shift.
    """
    mean, square = relu_moments(shift)
    return mean**2 / square


def cosine_before(num_features: int) -> float:
    """Return the mean absolute cosine of independent Gaussian tokens of D features, exactly."""
    half = num_features / 2
    return math.exp(math.lgamma(half) - math.lgamma(half + 0.5)) / math.sqrt(math.pi)


def falls_below(num_features: int) -> float:
    """Return the shift below which independent tokens are less alike after the ReLU than before."""
    from scipy.optimize import brentq

    return float(brentq(lambda a: cosine_after(a) - cosine_before(num_features), -6.0, 0.0))


def falls_below_drawn(
    num_features: int, *, num_tokens: int = 400, seeds: Sequence[int] = range(3)
) -> float:
    """Return the same by drawing normal tokens: few features have no closed form.

    Args:
        num_features: D.
        num_tokens: N.
        seeds: one draw each.
    """
    from scipy.optimize import brentq

    draws = [draw_tokens(seed, num_tokens, num_features) for seed in seeds]
    before = np.mean([mean_cosine(tokens).absolute for tokens in draws])

    def rise(shift: float) -> float:
        after = [mean_cosine(np.maximum(tokens + shift, 0)).absolute for tokens in draws]
        return float(np.mean(after) - before)

    return float(brentq(rise, -3.0, 3.0, xtol=1e-3))


def arc_cosine(correlation: float) -> float:
    """Return the cosine after a ReLU of two Gaussian tokens with a correlation, for many features.

    Source: the arc-cosine kernel of order 1 (Cho and Saul, 2009); it is at least the correlation.
    """
    rho = min(1.0, max(-1.0, correlation))
    return (math.sqrt(1 - rho**2) + rho * (math.pi - math.acos(rho))) / math.pi
