"""Theorem 2 and Eq. 6 by Monte Carlo, beside the closed forms of independent Gaussian tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaledrelu.theory import theorem2
from scaledrelu.theory.theorem2 import Cosine, TokenSize

N, D = 196, 384  # patch tokens and width of DeiT-S
SIZES = ((49, 96), (196, 384), (784, 192), (196, 1536))  # tokens, features
WIDTHS = (48, 96, 192, 384, 768)  # features of the map of Eq. 6, at N tokens and one seed
SHIFTS = (-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)  # alpha / beta
SCALES = (0.1, 1.0, 10.0)  # beta
KINDS = ("normal", "laplace", "uniform")
CORRELATIONS = tuple(np.linspace(-0.9, 0.9, 13).round(2))
SEEDS = range(3)
FEATURES_OF_A_PAIR = 20_000
VACUOUS = 1.0  # a cosine is never larger


@dataclass(frozen=True, slots=True)
class Draw:
    """One token matrix: what it was drawn as, and what was measured of it.

    Attributes:
        kind: distribution of the elements before the ReLU.
        shift: alpha / beta; None before the ReLU.
        beta: scale.
        seed: what it was drawn with.
        size: of the matrix.
        cosine: mean over its pairs of tokens.
        bound: right side of Eq. 6; infinite where a token is all zeros.
    """

    kind: str
    shift: float | None
    beta: float
    seed: int
    size: TokenSize
    cosine: Cosine
    bound: float

    @property
    def shape(self) -> tuple[int, int]:
        """Tokens and features, (N, D)."""
        return self.size.num_tokens, self.size.num_features


@dataclass(frozen=True, slots=True)
class Pairs:
    """The cosine of two Gaussian tokens with a correlation after a ReLU, draw by draw."""

    correlation: float
    drawn: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Similarities:
    """Everything that the section says."""

    draws: tuple[Draw, ...]
    pairs: tuple[Pairs, ...]
    widths: tuple[int, ...]
    bounds: np.ndarray  # right side of Eq. 6 by width and shift

    def of(self, n: int = N, d: int = D, *, kind: str = KINDS[0]) -> list[Draw]:
        """Return the draws of one size and kind, before and after the ReLU.

        Args:
            n: tokens.
            d: features.
            kind: distribution of the elements.
        """
        return [one for one in self.draws if one.shape == (n, d) and one.kind == kind]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The (tokens, features) that were drawn."""
        return list(dict.fromkeys(one.shape for one in self.draws))


def moments(shift: float | None) -> tuple[float, float]:
    """Return mean and standard deviation of a normal element around a ReLU, with beta 1.

    Args:
        shift: alpha / beta; None before the ReLU.
    """
    if shift is None:
        return 0.0, 1.0
    mean, square = theorem2.relu_moments(shift)
    return mean, math.sqrt(square - mean**2)


def measure(
    sizes: Sequence[tuple[int, int]] = SIZES,
    seeds: Sequence[int] = SEEDS,
    widths: Sequence[int] = WIDTHS,
) -> Similarities:
    """Draw token matrices before and after scaled ReLUs and measure them.

    Args:
        sizes: (tokens, features) of the matrices.
        seeds: one draw each.
        widths: features of the map of Eq. 6.
    """
    draws = []
    for num_tokens, num_features in sizes:
        for seed in seeds:
            whole = (num_tokens, num_features) == (N, D)
            for kind in KINDS if whole else KINDS[:1]:
                tokens = theorem2.draw_tokens(seed, num_tokens, num_features, kind=kind)
                draws.append(observe(tokens, kind=kind, seed=seed, shift=None, beta=1.0))
                for shift in SHIFTS:
                    for beta in SCALES if whole and kind == KINDS[0] else (1.0,):
                        cut = beta * np.maximum(tokens + shift, 0)
                        draws.append(observe(cut, kind=kind, seed=seed, shift=shift, beta=beta))
    pairs = tuple(_pairs(rho, seeds) for rho in CORRELATIONS)
    bounds = np.array([[_bound(width, shift) for shift in SHIFTS] for width in widths])
    return Similarities(tuple(draws), pairs, tuple(widths), bounds)


def observe(
    tokens_ND: np.ndarray, *, kind: str, seed: int, shift: float | None, beta: float
) -> Draw:
    """Measure one matrix.

    Args:
        tokens_ND: the matrix.
        kind: distribution it comes from.
        seed: what it was drawn with.
        shift: alpha / beta; None before the ReLU.
        beta: scale.
    """
    size, cosine = theorem2.token_size(tokens_ND), theorem2.mean_cosine(tokens_ND)
    return Draw(kind, shift, beta, seed, size, cosine, theorem2.similarity_bound(size))


def _bound(width: int, shift: float) -> float:
    tokens = np.maximum(theorem2.draw_tokens(0, N, width) + shift, 0)
    return theorem2.similarity_bound(theorem2.token_size(tokens))


def _pairs(correlation: float, seeds: Sequence[int]) -> Pairs:
    found = []
    for seed in seeds:
        one, noise = np.random.default_rng(seed).standard_normal((2, FEATURES_OF_A_PAIR))
        other = correlation * one + np.sqrt(1 - correlation**2) * noise
        cut = np.maximum([one, other], 0)
        found.append(theorem2.mean_cosine(cut).signed)
    return Pairs(float(correlation), tuple(found))
