"""Which images a group sees in an epoch, in which order: the official streams, without processes.

A *group* plays the part that one GPU ("rank") played in the official runs, however many devices
work through the groups here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scaledrelu.config.batch import steps_per_epoch


@dataclass(frozen=True, slots=True)
class Stream:
    """The images of one group in one epoch: position in the source and repeat, both int64."""

    indices: Tensor
    views: Tensor


def group_stream(
    num_images: int,
    *,
    num_groups: int,
    group: int,
    epoch: int,
    repeats: int,
    group_size: int,
    seed: int,
) -> Stream:
    """Return what one group sees in one epoch, cut to whole batches.

    With repeats > 1 every shuffled image stands ``repeats`` times in a row and the groups take
    turns, so that the copies of an image go to neighbouring groups at about the same step; the
    shuffle depends on the epoch alone. Without repeats the shuffle depends on seed + epoch, where
    the official scripts keep the sampler's seed 0 for every seed of a run: a deviation.

    Args:
        num_images: size of the training set.
        num_groups: groups per update, over all processes.
        group: global number of this group.
        epoch: epoch of the run, from 0.
        repeats: repeated augmentation; 1 = off.
        group_size: images of one group per update.
        seed: seed of the run; not used with repeated augmentation.

    Raises:
        ConfigError: if there are fewer images than one update needs.
    Source: recipes A.6 (DeiT ``RASampler``; torch ``DistributedSampler`` that drops its tail).
    """
    steps = steps_per_epoch(
        num_images, num_groups=num_groups, group_size=group_size, repeats=repeats
    )
    positions = group + num_groups * torch.arange(steps * group_size)
    generator = torch.Generator().manual_seed(epoch if repeats > 1 else seed + epoch)
    order = torch.randperm(num_images, generator=generator)
    return Stream(indices=order[positions // repeats], views=positions % repeats)
