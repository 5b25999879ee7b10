"""Theorem 1 in numbers: rescaling a channel, what weight decay then comes to, and when it does not.

Eq. 1 is ``max(beta * x + alpha, 0)``, a BatchNorm's affine part and a ReLU (`affine_relu`). Only
this form is homogeneous in (alpha, beta), which the proof needs; the definition that the paper
starts from, ``beta * max(x + alpha, 0)`` (`scaled_relu`), is homogeneous in beta alone.

Shapes: B samples, C channels, K weights per channel.
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
        """Return (B, K): the features of Eq. 1 times the attention weights."""
        return affine_relu(features_BC, self.alpha, self.beta) @ self.weight

    def output_by_definition(self, features_BC: Array) -> Array:
        """Return the same with the definition ``beta * max(x + alpha, 0)`` in place of Eq. 1."""
        return scaled_relu(features_BC, self.alpha, self.beta) @ self.weight

    def output_behind_norm(self, features_BC: Array) -> Array:
        """Return the same with a LayerNorm over the channels before the weights (Remark 1)."""
        cut_BC = affine_relu(features_BC, self.alpha, self.beta)
        centred_BC = cut_BC - cut_BC.mean(axis=1, keepdims=True)
        return centred_BC / np.sqrt(cut_BC.var(axis=1, keepdims=True) + 1e-6) @ self.weight

    def rescaled(self, eta_C: Array) -> FirstLayer:
        """Return the layer with alpha, beta times eta and weights over eta: the same function."""
        return FirstLayer(self.alpha * eta_C, self.beta * eta_C, self.weight / eta_C[:, None])


def affine_relu(features: Array, alpha: Array | float, beta: Array | float) -> Array:
    """Return ``max(beta * x + alpha, 0)``, channels last (Eq. 1; ``stem.act=affine_relu``).

    Args:
        features: (..., C).
        alpha: shift per channel, (C,), or one for all.
        beta: scale per channel, (C,), or one for all.
    """
    return np.maximum(beta * features + alpha, 0.0)


def scaled_relu(features: Array, alpha: Array | float, beta: Array | float) -> Array:
    """Return ``beta * max(x + alpha, 0)``, channels last (definition; ``stem.act=scaled_relu``).

    Args:
        features: (..., C).
        alpha: shift per channel, in units of x, (C,), or one for all.
        beta: scale per channel, (C,), or one for all.
    """
    return beta * np.maximum(features + alpha, 0.0)


def group_penalty(layer: FirstLayer) -> Array:
    """Return ``2 sqrt(alpha_c^2 + beta_c^2) |w_c|_2`` of every channel, (C,): a group lasso.

    ``|w_c|_2`` is the L2 norm, because weight decay is a squared L2 norm; with one weight per
    channel it is the absolute value.
    """
    return 2 * _scale(layer) * np.linalg.norm(layer.weight, axis=1)


def entrywise_penalty(layer: FirstLayer) -> Array:
    """Return ``2 sqrt(alpha_c^2 + beta_c^2) |w_c|_1`` of every channel, (C,): as printed."""
    return 2 * _scale(layer) * np.abs(layer.weight).sum(axis=1)


def smallest_decay(layer: FirstLayer) -> Array:
    """Return, per channel, the smallest weight decay over eta, found by search: no formula is used.

    Raises:
        ValueError: if a channel has no scale or no weights: its infimum is not attained.
    """
    from scipy.optimize import minimize_scalar

    found = []
    for scale, weights in zip(_scale(layer), layer.weight, strict=True):
        halves = scale**2, float(np.square(weights).sum())
        if 0 in halves:
            raise ValueError(
                "smallest_decay needs non-zero (alpha, beta) and non-zero weights per channel"
            )
        search = minimize_scalar(_decay_at, bracket=(-1.0, 1.0), args=halves, tol=1e-12)
        found.append(search.fun)
    return np.array(found)


def exempt_decay(layer: FirstLayer, eta: float) -> float:
    """Return weight decay after rescaling by one eta where alpha and beta are exempt from it.

    It goes to 0 as eta grows, while the function stays: no penalty is left.

    Args:
        layer: the layer before.
        eta: factor of every channel.
    """
    return float(np.square(layer.weight / eta).sum())


def descend(
    target_CK: Array, decay: float, *, rate: float = 0.02, steps: int = 20_000
) -> tuple[Array, Array]:
    """Fit ``scale_c * weight_ck`` to a target by gradient descent with weight decay on both.

    The loss is half the squared error plus ``decay / 2`` times the squared L2 norm of scales and
    weights: Theorem 1's problem with orthonormal features and alpha = 0.

    Args:
        target_CK: what is to be fitted.
        decay: strength of weight decay.
        rate: step size.
        steps: updates.

    Returns:
        Scales (C,) and weights (C, K).
    """
    scale_C = np.ones(len(target_CK))
    weight_CK = 0.5 * target_CK
    for _ in range(steps):
        error_CK = scale_C[:, None] * weight_CK - target_CK
        slope_C = (error_CK * weight_CK).sum(axis=1) + decay * scale_C
        slope_CK = error_CK * scale_C[:, None] + decay * weight_CK
        scale_C, weight_CK = scale_C - rate * slope_C, weight_CK - rate * slope_CK
    return scale_C, weight_CK


def group_lasso(target_CK: Array, decay: float) -> Array:
    """Return the minimum of half the squared error plus ``decay * sum_c |v_c|_2``, in closed form.

    Args:
        target_CK: what is to be fitted.
        decay: strength of the penalty.
    """
    norm_C1 = np.linalg.norm(target_CK, axis=1, keepdims=True)
    return np.maximum(1 - decay / norm_C1, 0) * target_CK


def entrywise_lasso(target_CK: Array, decay: float) -> Array:
    """Return the minimum of half the squared error plus ``decay * sum |v_ck|``, in closed form.

    Args:
        target_CK: what is to be fitted.
        decay: strength of the penalty.
    """
    return np.sign(target_CK) * np.maximum(np.abs(target_CK) - decay, 0)


def imbalance_left(decay_done: float) -> float:
    """Return which share of ``|w_c|^2 - |(alpha, beta)_c|^2`` is left under gradient flow.

    Both halves get the same from the loss, since rescaling leaves it alone; weight decay takes
    ``2 * rate * decay`` of each per step.

    Args:
        decay_done: sum over all steps of learning rate times weight decay.
    """
    return float(np.exp(-2 * decay_done))


def _decay_at(log_eta: float, scale_squared: float, weights_squared: float) -> float:
    eta_squared = np.exp(2 * log_eta)
    return float(eta_squared * scale_squared + weights_squared / eta_squared)


def _scale(layer: FirstLayer) -> Array:
    return np.hypot(layer.alpha, layer.beta)
