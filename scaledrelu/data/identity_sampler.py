"""Which images a group sees in an epoch of person re-identification: P identities x K images.

The identities of an update are drawn once for all its groups; a group gets whole identities, and no
identity is in two groups. ``scaledrelu.data.samplers`` says what a group is.
"""

from __future__ import annotations

import numpy as np
import torch

from scaledrelu.data.samplers import Stream
from scaledrelu.errors import ConfigError
from scaledrelu.randomness import derive_seed
from scaledrelu.text import plural

_DRAWS = 16  # official epochs behind the mean length; their lengths differ by about one percent


def identity_stream(
    targets: np.ndarray,
    *,
    num_groups: int,
    group: int,
    epoch: int,
    steps: int,
    group_size: int,
    num_instances: int,
    seed: int,
) -> Stream:
    """Return what one group sees in one epoch, update by update, each identity's images together.

    The images of every identity are shuffled and cut into lots of K; what does not fill a lot is
    left out, and an identity with fewer than K images gives one lot, drawn with replacement. Every
    update draws P of the identities that have a lot left, all equally likely, and takes one lot of
    each, until fewer than P have one. An epoch of ``steps`` updates cuts such a pass or goes on
    with another one. It depends on seed and epoch alone: update n is the same whatever ``steps``
    is and however the P identities are shared out.

    Args:
        targets: N identities of the training images, int64.
        num_groups: groups per update, over all processes; P = num_groups x group_size / K.
        group: global number of this group.
        epoch: epoch of the run, from 0.
        steps: updates of the epoch, from ``identity_steps``.
        group_size: images of one group per update.
        num_instances: K, images of an identity in an update; it divides the group.
        seed: seed of the run.

    Returns:
        ``steps x group_size`` positions in the source; a repeat of an image in the epoch is its
        next view.

    Raises:
        ConfigError: if there are fewer than P identities.
    Source: recipes D.1 (sampler of the TransReID code); two passes in an epoch are an assumption.
    """
    members = _members(targets)
    per_group = group_size // num_instances
    per_update = _identities_per_update(len(members), num_groups, per_group)
    rng = _generator(seed, "identities", epoch)
    passes: list[np.ndarray] = []
    while sum(map(len, passes)) < steps:
        passes.append(_one_pass(members, per_update, num_instances, rng))
    images = np.concatenate(passes)[:steps]
    views = _turns(images.ravel()).reshape(images.shape)
    mine = slice(group * per_group, (group + 1) * per_group)
    return Stream(*(torch.from_numpy(x[:, mine].reshape(-1)) for x in (images, views)))


def identity_steps(
    targets: np.ndarray, *, num_groups: int, group_size: int, num_instances: int
) -> int:
    """Return the number of updates in one epoch: the mean length of an official one, rounded.

    An official epoch is one pass, whose length varies with the draw by a few updates. Schedules,
    checkpoints and processes need one length for all epochs. The mean keeps the number of updates
    of the official training; the shortest possible pass, which never needs a second one, would
    lose about one in twenty of them.

    Args:
        targets: N identities of the training images, int64.
        num_groups: groups per update, over all processes.
        group_size: images of one group per update.
        num_instances: K, images of an identity in an update; it divides the group.

    Raises:
        ConfigError: if there are fewer than P identities.
    Source: recipes D.1; the fixed length is an assumption.
    """
    lots = np.array([max(len(images) // num_instances, 1) for images in _members(targets)])
    per_group = group_size // num_instances
    per_update = _identities_per_update(len(lots), num_groups, per_group)
    draws = (_generator("identity steps", draw) for draw in range(_DRAWS))
    return round(np.mean([len(_draw_identities(lots, per_update, rng)) for rng in draws]))


def _identities_per_update(num_identities: int, num_groups: int, per_group: int) -> int:
    if num_identities < num_groups * per_group:
        raise ConfigError(
            f"{num_identities} training identities: one update needs "
            f"{plural(num_groups, 'group')} x {per_group} = {num_groups * per_group}; lower "
            "batch.total and batch.group, or raise batch.instances"
        )
    return num_groups * per_group


def _members(targets: np.ndarray) -> list[np.ndarray]:
    """Return the positions of every identity's images."""
    _, counts = np.unique(targets, return_counts=True)
    return np.split(np.argsort(targets, kind="stable"), np.cumsum(counts)[:-1])


def _one_pass(
    members: list[np.ndarray], per_update: int, num_instances: int, rng: np.random.RandomState
) -> np.ndarray:
    """Return updates x P x K positions: one official epoch."""
    lots = [_cut(images, num_instances, rng) for images in members]
    counts = np.array([len(each) for each in lots])
    drawn = _draw_identities(counts, per_update, rng)
    first = np.cumsum(counts) - counts
    turns = _turns(drawn.ravel()).reshape(drawn.shape)
    return np.concatenate(lots)[first[drawn] + turns]


def _cut(images: np.ndarray, num_instances: int, rng: np.random.RandomState) -> np.ndarray:
    """Return the lots of one identity: lots x K positions."""
    if len(images) < num_instances:
        return rng.choice(images, size=(1, num_instances), replace=True)
    whole = len(images) // num_instances * num_instances
    return rng.permutation(images)[:whole].reshape(-1, num_instances)


def _draw_identities(lots: np.ndarray, per_update: int, rng: np.random.RandomState) -> np.ndarray:
    """Return updates x P identities, given how many lots each one has."""
    left = lots.copy()
    drawn = []
    while len(available := np.flatnonzero(left)) >= per_update:
        chosen = rng.choice(available, size=per_update, replace=False)
        left[chosen] -= 1
        drawn.append(chosen)
    return np.stack(drawn)


def _turns(values: np.ndarray) -> np.ndarray:
    """Return how often each value occurred before its position: 0, 1, ..."""
    order = np.argsort(values, kind="stable")
    ordered, places = values[order], np.arange(len(values))
    starts = np.r_[True, ordered[1:] != ordered[:-1]]
    turns = np.empty_like(places)
    turns[order] = places - np.maximum.accumulate(np.where(starts, places, 0))
    return turns


def _generator(*key: int | str) -> np.random.RandomState:
    return np.random.RandomState(derive_seed(*key) % 2**32)
