"""What a group becomes on the device depends on its number and the step, not on its neighbours."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scaledrelu.data.batch import Batch, RawBatch, join_batches, lay_out
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


DEIT = (
    "augment.rand_augment=rand-m9-mstd0.5-inc1", "augment.shift=0", "augment.hflip=0.5",
    "augment.erasing=0.5", "augment.mixup=0.8", "augment.cutmix=1.0", "augment.mix_prob=0.7",
)  # fmt: skip
SHIFTED = ("augment.shift=2", "augment.hflip=0.5", "augment.erasing=0.5", "augment.mixup=0.8")
DINO = (
    *CROPS, "augment.hflip=0.5", "augment.multi_crop.jitter=[0.4, 0.4, 0.2, 0.1]",
    "augment.multi_crop.jitter_prob=0.8", "augment.multi_crop.grey_prob=0.2",
    "augment.multi_crop.blur_prob=[1, 0.3, 0.5]", "augment.multi_crop.solarize_prob=0.4",
)  # fmt: skip
ON_DEVICE = (*DINO, "augment.multi_crop.pipeline=device")
T = Progress(3, 100, 0, 100)


def noisy(group: int, count: int, *, num_local: int | None) -> RawBatch:
    """A group of random images, or of two large and some small crops of each, seen repeatedly."""
    draw = torch.Generator().manual_seed(group)

    def levels(crops: int, side: int) -> torch.Tensor:
        shape = (crops * count, 3, side, side)
        return torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)

    indices = torch.randint(0, 1000, (count,), generator=draw)
    views = torch.randint(0, 3, (count,), generator=draw)
    images = levels(1 if num_local is None else 2, 16)
    local = levels(num_local, 8) if num_local else None
    return RawBatch(images, indices % 10, indices, views, group, local=local)


def same(first: Batch, second: Batch) -> None:
    for name in ("images", "targets", "local"):
        one, other = getattr(first, name), getattr(second, name)
        assert one is other is None or torch.equal(one, other), name
        assert one is None or one.stride() == other.stride(), name
    assert first.group == second.group


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(
    ("overrides", "num_local"),
    [(DEIT, None), (SHIFTED, None), (DINO, 3), (ON_DEVICE, 3), (ON_DEVICE, 0)],
    ids=["deit", "shifted", "dino on the host", "dino", "dino without local crops"],
)
def test_groups_become_what_each_becomes_alone(smoke, overrides, num_local, joined) -> None:
    more = () if num_local != 0 else ("augment.multi_crop.num_local=0",)
    prepare = Prepare(smoke(*overrides, *more, f"batch.sync_bn={joined}"), 10, CPU)
    groups = [
        noisy(group, count, num_local=num_local)
        for group, count in ((4, 32), (5, 32), (6, 6), (7, 32))
    ]
    before = [raw.images.clone() for raw in groups]
    alone = [prepare([raw], T)[0] for raw in groups]
    together = prepare(groups, T)
    expected = [lay_out(join_batches(alone), prepare.layout)] if joined else alone
    for one, other in zip(together, expected, strict=True):
        same(one, other)
    assert all(torch.equal(raw.images, old) for raw, old in zip(groups, before, strict=True))
    assert not torch.equal(alone[0].images, alone[1].images)


@pytest.mark.parametrize("joined", [False, True])
def test_images_of_the_host_are_mixed_elsewhere_than_in_its_memory(smoke, joined) -> None:
    config = smoke("augment.mixup=0.8", "augment.mix_prob=1", f"batch.sync_bn={joined}")
    groups = [replace(raw(group), images=torch.randn(8, 3, 16, 16)) for group in range(2)]
    before = [one.images.clone() for one in groups]
    made = Prepare(config, 10, CPU)(groups, T)
    assert not torch.equal(made[0].images[:8], before[0])
    assert all(torch.equal(one.images, old) for one, old in zip(groups, before, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("overrides", "num_local"), [(DEIT, None), (SHIFTED, None), (ON_DEVICE, 3)], ids=str
)
def test_a_gpu_makes_of_all_groups_what_it_makes_of_each(smoke, overrides, num_local) -> None:
    gpu = torch.device("cuda")
    prepare = Prepare(smoke(*overrides, "batch.sync_bn=false"), 10, gpu)
    groups = [noisy(group, 400, num_local=num_local).pin_memory() for group in range(4)]
    alone = [prepare([raw], T)[0] for raw in groups]
    torch.cuda.set_sync_debug_mode("error")
    try:
        together = prepare(groups, T)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one, other in zip(together, alone, strict=True):
        same(one, other)
