"""Features instead of images, computed once, where a frozen backbone sees no augmentation."""

from __future__ import annotations

import dataclasses
import logging

import torch
from torch import Tensor

from scaledrelu.config.run import RunConfig
from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.datasets import Splits
from scaledrelu.data.sources import MemorySource
from scaledrelu.tasks.base import Task
from scaledrelu.tasks.linear_probe import LinearProbe, Probe

log = logging.getLogger(__name__)

BATCH = 256  # fixed: rounding depends on it, and a resumed run must see the same features


def embed_training_images(config: RunConfig, task: Task, splits: Splits) -> Splits:
    """Return splits whose training images are a probe's features, or the same splits.

    They are replaced for a linear probe on images in memory without augmentation. Every process
    computes all of them, in the order of the data set.

    Args:
        config: the run's configuration.
        task: the task, on its device, with its initial weights.
        splits: the run's data set.
    """
    images = getattr(splits.train, "images", None)
    if not isinstance(task, LinearProbe) or images is None or is_augmented(config):
        return splits
    device = task.backbone.classifier.weight.device
    normalise = DeviceAugment(mean=config.data.mean, std=config.data.std, seed=0)
    features = _embed(task.backbone, images, normalise, device)
    log.info("%s features of %s training images", f"{features.shape[1]:,}", f"{len(features):,}")
    train = splits.train
    names = [train.name_of(index) for index in range(len(train))]
    found = MemorySource(features, train.targets, train.classes, names=names)
    found.skipped = train.skipped
    return dataclasses.replace(splits, train=found)


def is_augmented(config: RunConfig) -> bool:
    """Say whether an image may look different from one epoch to the next, or is mixed."""
    return config.data.augment != "device" or not config.augment.is_still


def _embed(probe: Probe, images: Tensor, augment: DeviceAugment, device: torch.device) -> Tensor:
    return torch.cat(
        [probe.embed(augment.normalise(part.to(device))) for part in images.split(BATCH)]
    )
