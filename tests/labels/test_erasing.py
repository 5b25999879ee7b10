"""Bytes, boxes and noise become exactly what timm's erasing makes of normalised floats."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pytest
import torch
from timm.data.random_erasing import RandomErasing

from scaledrelu.config.run import RunConfig
from scaledrelu.data.batch import Batch, RawBatch
from scaledrelu.data.datasets import open_digits
from scaledrelu.data.fetch import FileFetch
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.workers import Answer
from scaledrelu.labels.erasing import DrawErasing
from scaledrelu.runs.feed import train_transform
from scaledrelu.runs.prepare import Prepare
from scaledrelu.tasks.base import Progress
from tests.helpers.configs import composed, with_values

CPU = torch.device("cpu")
GROUPS = (0, 1)
GROUP = 8


def timms(probability: float) -> RandomErasing:
    return RandomErasing(probability, mode="pixel", max_count=1, device="cpu")


def seed(value: int) -> None:
    random.seed(value)
    torch.manual_seed(value)


def states() -> tuple:
    return random.getstate(), torch.get_rng_state().tolist()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40), (4, 4), (1, 1)])
def test_box_noise_and_generators_are_those_of_timm(height: int, width: int) -> None:
    erased = 0
    for value in range(80):
        seed(value)
        expected, after = timms(0.5)(torch.zeros(3, height, width)), states()
        seed(value)
        found = DrawErasing(0.5)(torch.Size((3, height, width)))
        assert states() == after
        image = torch.zeros(3, height, width)
        if found is not None:
            top, bottom, left, right = found.sides
            image[:, top:bottom, left:right] = found.noise
            assert found.noise.numel()
            erased += 1
        assert torch.equal(image, expected)
    assert 20 < erased < 60 if min(height, width) > 1 else erased == 0


class Maps:
    """The label map of every image; which one does not matter here."""

    def __getitem__(self, index: int) -> torch.Tensor:
        cells = torch.full((5, 4, 4), float(index % 7))
        return torch.stack((cells, torch.arange(5.0)[:, None, None].expand(5, 4, 4))).half()


class Floats:
    """The pipeline with floats: what the host sent before it sent bytes."""

    def __init__(self, config: RunConfig):
        whole = with_values(config, {"augment.erasing": 0.0})
        self._bytes = train_transform(whole.data, whole.augment, in_memory=True)
        self._erase = timms(config.augment.erasing)
        self._mean, self._std = (
            torch.tensor(x, dtype=torch.float32).view(-1, 1, 1) * 255.0
            for x in (config.data.mean, config.data.std)
        )

    def __call__(self, image, labels: torch.Tensor) -> torch.Tensor:
        pixels = self._bytes(image, labels).image
        pixels = pixels.to(torch.float32, memory_format=torch.contiguous_format)
        return self._erase(pixels.sub_(self._mean).div_(self._std))


def run_with(**changes) -> RunConfig:
    base = composed("recipe=volo", "profile=smoke", "data.token_labels=none")
    values = {"augment.hflip": 0.5, "augment.erasing": 0.5, "augment.crop_scale": [0.2, 1.0]}
    values |= {"data.mean": [0.485, 0.456, 0.406], "data.std": [0.229, 0.224, 0.225]}
    values |= {"augment.rand_augment": "rand-m9-mstd0.5-inc1", "data.token_labels": "anywhere"}
    return with_values(base, values | changes)


def groups_of(config: RunConfig, transform, workers: int = 0) -> Iterator[list[RawBatch]]:
    """The groups of two epochs of 36 digits: two steps of two groups each."""
    source = open_digits(image_size=config.data.image_size).train.select(np.arange(36))
    loader = TrainLoader(
        source, groups=GROUPS, num_groups=2, group_size=GROUP, repeats=1, seed=3,
        transform=transform, workers=workers, labels=Maps(),
    )  # fmt: skip
    for epoch in (0, 1):
        yield from loader.epoch(epoch)
    loader.close()


def raw_groups(config: RunConfig, workers: int = 0) -> Iterator[list[RawBatch]]:
    return groups_of(config, train_transform(config.data, config.augment, in_memory=True), workers)


def prepared(config: RunConfig, workers: int = 0) -> Iterator[list[Batch]]:
    prepare = Prepare(config, 10, CPU, (2, 2))
    for step in raw_groups(config, workers):
        yield prepare(step, Progress(0, 10, 0, 5))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_task_gets_the_images_of_the_pipeline_with_floats(workers: int) -> None:
    config = run_with()
    steps = 0
    for step, floats in zip(
        prepared(config, workers), groups_of(config, Floats(config)), strict=True
    ):
        for batch, expected in zip(step, floats, strict=True):
            assert batch.images.dtype == torch.float32
            assert torch.equal(batch.images, expected.images)
        steps += 1
    assert steps == 4


@pytest.mark.parametrize("channels_last", [True, False])
def test_joined_groups_hold_the_images_of_each(channels_last: bool) -> None:
    config = run_with(**{"batch.sync_bn": True, "launch.channels_last": channels_last})
    steps = zip(prepared(config), groups_of(config, Floats(config)), strict=True)
    for (batch,), floats in steps:
        assert torch.equal(batch.images, torch.cat([one.images for one in floats]))


@pytest.mark.parametrize("workers", [0, 2])
def test_images_travel_as_bytes_and_floats_are_noise_alone(workers: int) -> None:
    counts = set()
    for step in raw_groups(run_with(), workers):
        for raw in step:
            samples, top, bottom, left, right = raw.erased.T
            assert raw.images.dtype == torch.uint8
            assert len(raw.noise) == 3 * int(((bottom - top) * (right - left)).sum())
            assert samples.unique().tolist() == samples.tolist()
            counts.add(len(samples))
    assert 0 < min(counts) <= max(counts) < GROUP
    assert len(counts) > 1


@pytest.mark.parametrize("erasing", [0.0, 1e-9])
def test_a_batch_without_an_erased_image_brings_no_noise(erasing: float) -> None:
    config = run_with(**{"augment.erasing": erasing})
    all_of = raw_groups(config), prepared(config), groups_of(config, Floats(config))
    for step, made, floats in zip(*all_of, strict=True):
        for raw, batch, expected in zip(step, made, floats, strict=True):
            assert raw.erased is raw.noise is None
            assert torch.equal(batch.images, expected.images)


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_processes_change_no_field(workers: int) -> None:
    config = run_with()
    for step, alone in zip(raw_groups(config, workers), raw_groups(config), strict=True):
        for raw, expected in zip(step, alone, strict=True):
            for name in (field.name for field in fields(RawBatch)):
                found, wanted = getattr(raw, name), getattr(expected, name)
                same = torch.equal(found, wanted) if torch.is_tensor(wanted) else found == wanted
                assert same, name


def test_all_that_goes_to_the_device_is_put_in_page_locked_memory(monkeypatch) -> None:
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda one: pinned.append(one) or one.clone())
    raw = next(raw_groups(run_with()))[0]
    raw.pin_memory()
    for name in ("images", "targets", "maps", "boxes", "erased", "noise"):
        assert any(one is getattr(raw, name) for one in pinned), name


def test_every_tensor_of_a_batch_lies_in_a_buffer(monkeypatch) -> None:
    seen, received = [], FileFetch._received

    def noted(fetch: FileFetch, answer: Answer) -> dict[str, torch.Tensor]:
        seen.append(set(answer.places))
        return received(fetch, answer)

    monkeypatch.setattr(FileFetch, "_received", noted)
    for _ in raw_groups(run_with(), workers=1):
        pass
    assert seen == [{"images", "maps", "boxes", "erased", "noise"}] * 8
