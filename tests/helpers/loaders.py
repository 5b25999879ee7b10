"""Loaders of a few images, and what they give."""

import torch

from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.transforms import eval_transform, reference_train
from tests.helpers.configs import augment_with

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def deit_transform(image_size=16):
    """Return the training pipeline of DeiT."""
    augment = augment_with(
        crop="random_resized",
        crop_scale=[0.08, 1.0],
        crop_ratio=[3 / 4, 4 / 3],
        interpolation="bicubic",
        shift=0,
        hflip=0.5,
        rand_augment="rand-m9-mstd0.5-inc1",
        color_jitter=0.3,
        erasing=0.25,
    )
    return reference_train(augment, image_size=image_size, mean=MEAN, std=STD)


def evaluation(image_size=16):
    """Return the evaluation transform of DeiT."""
    return eval_transform(image_size=image_size, crop=0.875, mean=MEAN, std=STD)


def train_loader(source, **changes):
    """Return a loader of two groups of three images, with some fields changed."""
    fields = {
        **{"groups": [0, 1], "num_groups": 2, "group_size": 3, "repeats": 1, "seed": 0},
        **changes,
    }
    return TrainLoader(source, **fields)


def flat(steps):
    """Return the batches of all groups of all steps."""
    return [batch for step in steps for batch in step]


def same(first, second):
    """Check that two rows of batches are equal: images, crops, targets, positions and views."""
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.images, b.images)
        assert (a.local is None) == (b.local is None)
        assert a.local is None or torch.equal(a.local, b.local)
        assert torch.equal(a.targets, b.targets)
        assert torch.equal(a.indices, b.indices)
        assert torch.equal(a.views, b.views)
        assert a.group == b.group
