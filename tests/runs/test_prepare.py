"""What a group becomes on the device depends on its number and the step, not on its neighbours."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scaledrelu.data.batch import Batch, RawBatch
from scaledrelu.runs.prepare import Prepare
from scaledrelu.tasks.base import Progress

CPU = torch.device("cpu")


def raw(group: int) -> RawBatch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return RawBatch(images, torch.arange(8), torch.arange(8), torch.zeros(8).long(), group)


@pytest.fixture
def prepared(smoke):
    """A function that gives the batches of some groups in some step, mixed at every draw."""
    prepare = Prepare(smoke("augment.mixup=0.8"), 10, CPU)

    def run(step: int, *groups: int) -> list[Batch]:
        return prepare([raw(group) for group in groups], Progress(step, 100, 0, 100))

    return run


def test_groups_and_steps_are_mixed_apart_and_repeatably(prepared) -> None:
    first, second = prepared(3, 0, 1)
    (later,) = prepared(4, 0)
    assert not torch.equal(first.targets, second.targets)
    assert not torch.equal(first.targets, later.targets)
    (alone,) = prepared(3, 1)
    assert torch.equal(alone.targets, second.targets)
    assert torch.equal(alone.images, second.images)


def test_the_same_images_in_another_group_are_augmented_alike(smoke) -> None:
    prepare = Prepare(smoke(), 10, CPU)
    t = Progress(3, 100, 0, 100)
    one, other = prepare([raw(0), replace(raw(0), group=5)], t)
    assert torch.equal(one.images, other.images)
