"""Theorem 1 measured: rescaling leaves the function alone; which penalty weight decay becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scaledrelu.models.channels import channel_pairs
from scaledrelu.theory import theorem1
from scaledrelu.theory.networks import Network, as_first_layer, rescaling_error
from scaledrelu.theory.theorem1 import Array, FirstLayer

SEEDS = range(5)
SAMPLES, CHANNELS, WEIGHTS = 256, 64, 3 * 384  # of a random layer; W_trans of a DeiT-S channel
ROWS, COLUMNS, DECAY = 10, 16, 1.6  # of the matrix that is fitted with weight decay


@dataclass(frozen=True, slots=True)
class Compared:
    """Penalties of one layer, per channel: found by search, group lasso, entrywise."""

    name: str
    found_C: Array  # noqa: N815
    group_C: Array  # noqa: N815
    entries_C: Array  # noqa: N815

    @property
    def error(self) -> float:
        """Largest relative difference between the search and the group lasso."""
        return float(np.abs(self.found_C / self.group_C - 1).max())

    @property
    def per_effective_weight(self) -> Array:
        """What was found over the norm of what the loss sees, ``|(alpha, beta)_c| w_c``, (C,)."""
        return 2 * self.found_C / self.group_C

    @property
    def excess(self) -> Array:
        """How many times larger the entrywise penalty is than what was found, (C,)."""
        return self.entries_C / self.found_C


@dataclass(frozen=True, slots=True)
class Moved:
    """How far rescaling one pair of a network moves its logits, relative to the largest."""

    network: Network
    pair: str
    error: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """A matrix, and what becomes of it: by weight decay, group lasso, entrywise lasso."""

    target: Array
    descended: Array
    group: Array
    entries: Array

    @property
    def errors(self) -> tuple[float, float]:
        """Largest difference of descent from the group lasso and from the entrywise one."""
        both = (self.group, self.entries)
        return tuple(float(np.abs(self.descended - one).max()) for one in both)


@dataclass(frozen=True, slots=True)
class Penalty:
    """Everything that the section says."""

    of_eq_1: tuple[float, ...]
    of_definition: tuple[float, ...]
    behind_norm: tuple[float, ...]
    same_forms: tuple[float, float]  # difference of the two forms, beta > 0 and beta < 0
    moved: tuple[Moved, ...]
    compared: tuple[Compared, ...]
    fitted: Fitted


def measure(networks: Sequence[Network]) -> Penalty:
    """Return the numbers of the section.

    Args:
        networks: those of the page's runs, before and after training.
    """
    layers = {f"random, seed {seed}": random_layer(seed) for seed in SEEDS}
    moved = []
    for network in networks:
        for name, pair in channel_pairs(network.model).items():
            moved.append(Moved(network, name, rescaling_error(network, name)))
            if pair.is_direct:
                key = f"{network.name}, seed {network.seed}, {network.state}: {name}"
                layers[key] = as_first_layer(pair)
    return Penalty(
        of_eq_1=rescaled_errors(FirstLayer.output),
        of_definition=rescaled_errors(FirstLayer.output_by_definition),
        behind_norm=rescaled_errors(FirstLayer.output_behind_norm),
        same_forms=difference_of_forms(),
        moved=tuple(moved),
        compared=tuple(compare(name, layer) for name, layer in layers.items()),
        fitted=fit(),
    )


def random_layer(seed: int) -> FirstLayer:
    """Return a layer with normal alpha, beta (of both signs) and weights."""
    rng = np.random.default_rng(seed)
    alpha, beta = rng.normal(size=(2, CHANNELS))
    return FirstLayer(alpha, beta, rng.normal(size=(CHANNELS, WEIGHTS)))


def rescaled_errors(output: Callable[[FirstLayer, Array], Array]) -> tuple[float, ...]:
    """Return how far rescaling moves the output of random layers, relative to its largest value.

    Args:
        output: layer and features (B, C) -> (B, K).
    """
    found = []
    for seed in SEEDS:
        layer, rng = random_layer(seed), np.random.default_rng((seed, 1))
        features = rng.normal(size=(SAMPLES, CHANNELS))
        before = output(layer, features)
        after = output(layer.rescaled(rng.lognormal(sigma=1.0, size=CHANNELS)), features)
        found.append(float(np.abs(after - before).max() / np.abs(before).max()))
    return tuple(found)


def difference_of_forms() -> tuple[float, float]:
    """Return the largest difference of Eq. 1 and the definition with alpha / beta as its shift.

    Returns:
        Over channels with positive beta, and over those with negative beta.
    """
    layer = random_layer(0)
    features = np.random.default_rng(1).normal(size=(SAMPLES, CHANNELS))
    one = theorem1.affine_relu(features, layer.alpha, layer.beta)
    other = theorem1.scaled_relu(features, layer.alpha / layer.beta, layer.beta)
    apart_C = np.abs(one - other).max(axis=0)
    return float(apart_C[layer.beta > 0].max()), float(apart_C[layer.beta < 0].min())


def compare(name: str, layer: FirstLayer) -> Compared:
    """Return the three penalties of a layer.

    Args:
        name: what the page calls it.
        layer: any layer whose channels all have scale and weights.
    """
    found = theorem1.smallest_decay(layer)
    return Compared(name, found, theorem1.group_penalty(layer), theorem1.entrywise_penalty(layer))


def fit() -> Fitted:
    """Fit a random matrix with rows of growing size, with weight decay and by closed forms."""
    rng = np.random.default_rng(0)
    target = rng.normal(size=(ROWS, COLUMNS)) * np.linspace(0.1, 1.3, ROWS)[:, None]
    scale, weight = theorem1.descend(target, DECAY)
    return Fitted(
        target,
        scale[:, None] * weight,
        theorem1.group_lasso(target, DECAY),
        theorem1.entrywise_lasso(target, DECAY),
    )
