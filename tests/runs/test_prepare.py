"""What a group becomes on the device depends on its number and the step, not on its neighbours."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scaledrelu.data.batch import Batch, RawBatch
from scaledrelu.data.device.crops import CropAugment
from scaledrelu.runs.prepare import Prepare, batch_groups
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


def crops(group: int, count: int = 4) -> RawBatch:
    """Two large and three small crops of each image, whose pixels all say whose they are."""
    view, image = torch.arange(5)[:, None], torch.arange(count)
    levels = (100 * group + 10 * view + image).to(torch.uint8).flatten()[:, None, None, None]
    large, small = levels.split((2 * count, 3 * count))
    none = torch.zeros(count).long()
    large, small = large.expand(-1, 3, 16, 16), small.expand(-1, 3, 8, 8)
    return RawBatch(large, image + 100 * group, none, none, group, local=small)


CROPS = (
    "augment.multi_crop={num_local: 3, local_size: 8, global_scale: [0.4, 1], local_scale: "
    "[0.05, 0.4], jitter: [0, 0, 0, 0], jitter_prob: 0, grey_prob: 0, blur_prob: [0, 0, 0], "
    "solarize_prob: 0, pipeline: reference}",
    "augment.shift=0", "augment.mixup=0", "augment.cutmix=0", "augment.smoothing=0",
    "augment.erasing=0", "data.mean=[0.0, 0.0, 0.0]", "data.std=[1.0, 1.0, 1.0]",
)  # fmt: skip


def levels(images: torch.Tensor) -> list[int]:
    return (images[:, 0, 0, 0] * 255).round().int().tolist()


@pytest.mark.parametrize("channels_last", [True, False])
def test_joined_groups_stay_view_by_view(smoke, channels_last) -> None:
    layout = f"launch.channels_last={channels_last}"
    prepare = Prepare(smoke(*CROPS, "batch.sync_bn=true", layout), 10, CPU)
    (batch,) = prepare([crops(1), crops(2, count=2)], Progress(3, 100, 0, 100))
    images = [100, 101, 102, 103, 200, 201]
    assert batch.group == 1
    assert batch.targets.tolist() == images
    assert levels(batch.images) == [10 * view + image for view in (0, 1) for image in images]
    assert levels(batch.local) == [10 * view + image for view in (2, 3, 4) for image in images]
    laid = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.images.is_contiguous(memory_format=laid)
    assert batch.local.is_contiguous(memory_format=laid)


def test_crops_are_augmented_on_the_device_where_the_run_says_so(smoke) -> None:
    multi = "augment.multi_crop."
    bright = (multi + "jitter=[0.9, 0, 0, 0]", multi + "jitter_prob=1", "augment.hflip=0.5")
    t = Progress(3, 100, 0, 100)
    batches = {
        pipeline: Prepare(smoke(*CROPS, *bright, f"{multi}pipeline={pipeline}"), 10, CPU)(
            [crops(1)], t
        )[0]
        for pipeline in ("reference", "device")
    }
    assert levels(batches["reference"].images)[:4] == [100, 101, 102, 103]
    assert len(set(levels(batches["device"].images))) > 4
    expected = CropAugment(
        smoke(*CROPS, *bright, f"{multi}pipeline=device").augment.multi_crop, hflip=0.5, seed=0
    )(crops(1), epoch=t.epoch)
    assert levels(batches["device"].local) == expected.local[:, 0, 0, 0].tolist()


def test_groups_without_shared_statistics_stay_apart(smoke) -> None:
    prepare = Prepare(smoke(*CROPS), 10, CPU)
    first, second = prepare([crops(1), crops(2)], Progress(3, 100, 0, 100))
    assert levels(first.images) == [100, 101, 102, 103, 110, 111, 112, 113]
    assert levels(second.local)[:5] == [220, 221, 222, 223, 230]
    assert (first.group, second.group) == (1, 2)


def test_joined_groups_are_mixed_as_they_are_apart(smoke) -> None:
    t = Progress(3, 100, 0, 100)
    (together,) = Prepare(smoke("augment.mixup=0.8", "batch.sync_bn=true"), 10, CPU)(
        [raw(0), raw(1)], t
    )
    apart = Prepare(smoke("augment.mixup=0.8"), 10, CPU)([raw(0), raw(1)], t)
    assert torch.equal(together.images, torch.cat([batch.images for batch in apart]))
    assert torch.equal(together.targets, torch.cat([batch.targets for batch in apart]))


@pytest.mark.parametrize(("sync_bn", "expected"), [(True, [4]), (False, [4, 5])])
def test_the_update_is_told_of_as_many_batches_as_it_gets(smoke, sync_bn, expected) -> None:
    config = smoke(*CROPS, f"batch.sync_bn={sync_bn}")
    groups = batch_groups(config.batch, range(4, 6))
    assert list(groups) == expected
    made = Prepare(config, 10, CPU)([crops(1), crops(2)], Progress(3, 100, 0, 100))
    assert len(made) == len(expected)
