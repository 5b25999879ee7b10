"""What a run is fed with follows from ``data.decoder``, and hardly depends on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from scaledrelu.config.run import RunConfig
from scaledrelu.data.crops import RandomCrop
from scaledrelu.data.device.normalise import HostNormalise
from scaledrelu.data.kept import KeptBatches
from scaledrelu.data.loaders import EvalLoader
from scaledrelu.data.pixels import decode_pixels
from scaledrelu.data.sources import FolderSource
from scaledrelu.data.transforms import eval_transform
from scaledrelu.engine.distributed import World
from scaledrelu.runs import feed
from scaledrelu.runs.build import build
from scaledrelu.runs.feed import Validation, decoded, open_data, train_loader, train_transform
from scaledrelu.runs.observe import shard_of
from scaledrelu.runs.prepare import Prepare
from scaledrelu.tasks.base import Progress
from tests.helpers.memory import Allocated

CPU = World(0, 1, torch.device("cpu"))
LEVEL = 1 / (255 * 0.2)  # about one grey level of a normalised image


@pytest.fixture
def files(smoke, image_folder) -> Callable[..., RunConfig]:
    """Compose a run on a folder of images of 40 x 50 pixels, which are not kept in memory."""
    root = image_folder({"train": 30, "val": 5}, pixels=(40, 50))

    def make(*overrides: str) -> RunConfig:
        return smoke(
            "data=imagefolder", f"data.root={root}", "data.augment=device",
            "augment.crop=random_resized", "augment.hflip=0", *overrides,
        )  # fmt: skip

    return make


def trained_on(config: RunConfig) -> Any:
    splits = open_data(config)
    loader = train_loader(config, splits, [0], CPU)
    (batch,) = Prepare(config, splits.num_classes, CPU.device)(
        next(loader.epoch(0)), Progress(0, 9, 0, 3)
    )
    loader.close()
    return batch


def evaluated_on(config: RunConfig) -> list[Any]:
    validation = Validation(config, open_data(config).val, CPU)
    found = list(validation)
    validation.close()
    return found


@pytest.mark.parametrize("workers", [0, 1])
def test_training_images_hardly_depend_on_the_decoder(files, workers: int) -> None:
    pillow, tensor = (
        trained_on(files(f"data.decoder={one}", f"launch.workers={workers}"))
        for one in ("pil", "tensor")
    )
    assert torch.equal(pillow.targets, tensor.targets)
    assert pillow.images.stride() == tensor.images.stride()
    assert (pillow.images - tensor.images).abs().mean() < 0.05 * LEVEL
    assert (pillow.images - tensor.images).abs().max() < 3 * LEVEL


def test_crops_of_multi_crop_are_cut_from_tensors_if_asked(files) -> None:
    dino = ("recipe=dino", "augment.multi_crop.pipeline=device")
    pillow, tensor = (files(*dino, f"data.decoder={one}") for one in ("pil", "tensor"))
    cut = train_transform(tensor.data, tensor.augment, in_memory=False)
    assert isinstance(cut._local, RandomCrop)
    one, other = trained_on(pillow), trained_on(tensor)
    for name in ("images", "local"):
        assert getattr(one, name).shape == getattr(other, name).shape
        assert getattr(one, name).stride() == getattr(other, name).stride()


def test_validation_images_hardly_depend_on_the_decoder(files) -> None:
    pillow, tensor = (evaluated_on(files(f"data.decoder={one}")) for one in ("pil", "tensor"))
    for one, other in zip(pillow, tensor, strict=True):
        assert torch.equal(one.targets, other.targets)
        assert one.images.dtype == other.images.dtype == torch.float32
        assert (one.images - other.images).abs().mean() < 0.05 * LEVEL


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("cache", ["true", "false"])
@pytest.mark.parametrize("crop", [0.875, 1.0])
def test_validation_images_are_torchvisions_to_the_last_bit(
    files, workers: int, cache: str, crop: float
) -> None:
    config = files(
        f"launch.workers={workers}", f"launch.cache_val={cache}", f"evaluation.crop={crop}",
        "data.image_size=36", "evaluation.batch=4",
    )  # fmt: skip
    source, data = open_data(config).val, config.data
    one_by_one = eval_transform(image_size=36, crop=crop, mean=data.mean, std=data.std)
    expected = torch.stack([one_by_one(source.load(i)) for i in range(len(source))])
    validation = Validation(config, source, CPU, keep=True)
    for _ in range(3):
        assert torch.equal(torch.cat([raw.images for raw in validation]), expected)
    validation.close()


@pytest.mark.parametrize("decoder", ["pil", "tensor"])
@pytest.mark.parametrize(("cache", "passes"), [("true", 1), ("false", 3)])
def test_validation_files_are_decoded_once_a_run(
    files, decoder: str, cache: str, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = files(f"data.decoder={decoder}", f"launch.cache_val={cache}", "launch.workers=0")
    source = open_data(config).val
    reads, load = [], FolderSource.load
    monkeypatch.setattr(FolderSource, "load", lambda self, i: reads.append(i) or load(self, i))
    validation = Validation(config, source, CPU, keep=True)
    found = [[raw.images for raw in validation] for _ in range(3)]
    assert len(reads) == passes * len(source)
    assert all(map(torch.equal, found[0], found[2]))


def test_a_run_keeps_the_images_that_it_is_judged_on(files) -> None:
    job = build(files("launch.workers=0"), CPU)
    assert isinstance(job.validation._loader, KeptBatches)
    job.close()


def test_what_is_read_once_is_not_kept(files) -> None:
    assert isinstance(Validation(files(), open_data(files()).val, CPU)._loader, EvalLoader)


def test_images_that_need_more_than_a_tenth_of_the_memory_are_decoded_again(
    files, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    config = files("data.image_size=32")
    source, size = open_data(config).val, 15 * 3 * 32 * 32
    for free, keeps in ((10 * size, True), (10 * size - 1, False)):
        monkeypatch.setattr(feed, "free_memory", lambda free=free: free)
        caplog.clear()
        with caplog.at_level("INFO"):
            for world in (CPU, World(1, 2, CPU.device)):
                loader = Validation(config, source, world, keep=True)._loader
                assert isinstance(loader, KeptBatches) == keeps
        assert len(caplog.messages) == (0 if keeps else 1)
    assert "more than 10% of the 0.5 MB of free memory (launch.cache_val)" in caplog.text


def expected_probe(batches: list[Any], size: int) -> torch.Tensor:
    """Every n-th image of a shard, picked from all of them."""
    images = torch.cat([batch.images for batch in batches])
    return images[[i * len(images) // size for i in range(size)]]


@pytest.mark.parametrize("cache", ["true", "false"])
@pytest.mark.parametrize("decoder", ["pil", "tensor"])
def test_the_probe_has_images_of_every_class_of_a_set_that_is_sorted_by_class(
    files, decoder: str, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PROBE_IMAGES", 6)
    config = files(f"data.decoder={decoder}", f"launch.cache_val={cache}", "evaluation.batch=4")
    source = open_data(config).val
    assert list(source.targets) == sorted(source.targets)
    validation = Validation(config, source, CPU, keep=True)
    seen = list(validation)
    assert torch.equal(validation.probe, expected_probe(seen, 6))
    classes = torch.cat([batch.targets for batch in seen])[[i * 15 // 6 for i in range(6)]]
    assert sorted(set(classes.tolist())) == [0, 1, 2]
    validation.close()


def test_the_probe_is_the_same_in_every_evaluation_and_complete_or_not_there(
    files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PROBE_IMAGES", 6)
    config = files("launch.channels_last=true", "evaluation.batch=4")
    validation = Validation(config, open_data(config).val, CPU, keep=True)
    broken_off = iter(validation)
    next(broken_off)
    broken_off.close()
    assert validation.probe is None
    first = expected_probe(list(validation), 6)
    for _ in range(2):
        assert torch.equal(validation.probe, first)
        assert validation.probe.is_contiguous(memory_format=torch.channels_last)
        list(validation)
    validation.close()


def test_every_process_probes_its_own_shard(files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "PROBE_IMAGES", 4)
    config, probes = files("evaluation.batch=3"), []
    for rank, shard in ((0, 8), (1, 7)):
        validation = Validation(config, open_data(config).val, World(rank, 2, CPU.device))
        seen = list(validation)
        assert sum(len(batch.images) for batch in seen) == shard
        probes.append(validation.probe)
        assert torch.equal(probes[-1], expected_probe(seen, 4))
        validation.close()
    assert not torch.equal(*probes)


@pytest.mark.parametrize("batch", [4, 100])
def test_a_shard_smaller_than_the_probe_is_probed_whole(files, batch: int) -> None:
    config = files(f"evaluation.batch={batch}")
    validation = Validation(config, open_data(config).val, CPU)
    seen = list(validation)
    assert len(validation.probe) == 15
    assert torch.equal(validation.probe, torch.cat([batch.images for batch in seen]))
    validation.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_normalises_to_the_last_bit_as_the_host_does() -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8, generator=draw)
    fields = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    on_gpu = HostNormalise(**fields)(images.cuda()).cpu()
    assert torch.equal(on_gpu, HostNormalise(**fields)(images))


def test_only_files_are_decoded_to_tensors_and_only_if_asked(files, smoke) -> None:
    config = files("data.decoder=tensor")
    source = open_data(config).train
    assert decoded(source, config.data)._decode is decode_pixels
    assert decoded(source, files("data.decoder=pil").data) is source
    digits = open_data(smoke()).train
    assert decoded(digits, config.data) is digits


@pytest.mark.parametrize(
    ("overrides", "groups", "processes", "alone"),
    [
        ((), [0], 1, True),
        ((), [0, 1], 1, True),
        (("augment.repeats=3",), [0], 3, True),
        (("augment.repeats=3",), [0], 2, False),  # a process gets two of the three copies
        (("augment.repeats=3",), [0, 1], 4, False),
        (("data.on_bad_image=skip",), [0], 1, False),  # damage is looked for in the whole image
        (("augment.crop=none",), [0], 1, False),
    ],
)
def test_a_box_is_decoded_alone_where_one_is_cut_out_of_an_image(
    files,
    monkeypatch: pytest.MonkeyPatch,
    overrides,
    groups: list[int],
    processes: int,
    alone: bool,
) -> None:
    opened = []
    monkeypatch.setattr(feed, "open_regions", lambda *a: opened.append(a) or decode_pixels(*a))
    config = files("data.decoder=tensor", "batch.group=4", *overrides)
    splits = open_data(config)
    many = splits.train.select(np.resize(np.arange(90), 256))  # repeated augmentation wants 256
    world = World(0, processes, torch.device("cpu"))
    next(train_loader(config, replace(splits, train=many), groups, world).epoch(0))
    assert bool(opened) == alone
    loaded = [path for path, *_ in opened]
    assert len(set(loaded)) == len(loaded)


def test_the_crops_of_multi_crop_are_cut_from_the_whole_image(files) -> None:
    config = files("data.decoder=tensor", "recipe=dino", "augment.multi_crop.pipeline=device")
    loader = train_loader(config, open_data(config), [0], CPU)
    assert loader.source._decode is decode_pixels


def test_what_is_trained_on_does_not_depend_on_what_is_decoded(
    files, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = trained_on(files("data.decoder=tensor"))
    monkeypatch.setattr(feed, "open_regions", decode_pixels)
    assert torch.equal(boxes.images, trained_on(files("data.decoder=tensor")).images)


def test_the_device_gets_every_colour_by_itself_in_memory(files) -> None:
    config = files("data.decoder=tensor")
    (raw,) = next(train_loader(config, open_data(config), [0], CPU).epoch(0))
    assert not raw.images.is_contiguous()
    assert raw.to("cpu").images.is_contiguous()


def test_evaluating_the_training_set_copies_nothing_that_training_holds_on_the_device(
    smoke,
) -> None:
    config, away = (
        smoke("augment.crop=none", "evaluation.batch=100"),
        World(0, 1, torch.device("meta")),
    )
    splits = open_data(config)
    with Allocated() as memory:
        loader = train_loader(config, splits, [0], away)
        num_batches = sum(1 for _ in shard_of(config, splits.train, away))
    assert num_batches == math.ceil(len(splits.train) / config.evaluation.batch)
    assert memory.sizes.count(splits.train.images.nbytes) == 1
    loader.close()
