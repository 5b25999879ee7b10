"""On a GPU the augmentation mixes no tensors of two devices and never waits for a value.

torch's fake tensors pretend to lie on a GPU: they have shapes and devices, but no values. What asks
for one, or combines a tensor of the host with one of the GPU, raises, here as well as there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from scaledrelu.config.run import RunConfig
from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.device.crops import CropAugment
from scaledrelu.data.device.hsv import hsv_tables
from scaledrelu.runs.prepare import Prepare
from scaledrelu.tasks.base import Progress
from tests.helpers.configs import composed
from tests.helpers.pretended import pretended_gpu

NUM_IMAGES = 16  # enough for every operation of the policy to be drawn


@dataclass
class OnHost:
    """Numbers of images, which fake mode leaves alone."""

    values: np.ndarray

    def numpy(self) -> np.ndarray:
        return self.values


def pretended(config: RunConfig) -> RawBatch:
    """Return a group on a GPU that is not there; call in fake mode."""
    crops = config.augment.multi_crop
    views = 1 if crops is None else 2
    shape = (views * NUM_IMAGES, 3, config.data.height, config.data.width)
    images = torch.empty(shape, dtype=torch.uint8, device="cuda")
    local = None
    if crops is not None:
        shape = (crops.num_local * NUM_IMAGES, 3, crops.local_size, crops.local_size)
        local = torch.empty(shape, dtype=torch.uint8, device="cuda")
    numbers = OnHost(np.arange(NUM_IMAGES)), OnHost(np.zeros(NUM_IMAGES, dtype=np.int64))
    return RawBatch(images, torch.zeros(NUM_IMAGES), *numbers, group=0, local=local)


@pytest.fixture(autouse=True)
def tables_of_a_pretended_gpu():
    """Colour tables are kept for each device; those made here are no numbers."""
    yield
    hsv_tables.cache_clear()


def changed(config: RunConfig) -> list[torch.Tensor]:
    with pretended_gpu():
        raw, data = pretended(config), config.data
        if config.augment.multi_crop is None:
            augment = DeviceAugment(mean=data.mean, std=data.std, seed=0, augment=config.augment)
            return [augment(raw, epoch=0)]
        crops = CropAugment(config.augment.multi_crop, hflip=0.5, seed=0)(raw, epoch=0)
        return [crops.images, crops.local]


@pytest.mark.parametrize(
    "overrides",
    [
        ["recipe=deit"],
        ["recipe=deit", "augment.rand_augment=null"],
        ["recipe=dino"],
        ["recipe=reid"],
    ],
)
def test_images_stay_on_the_gpu_and_nothing_is_asked_of_it(overrides: list[str]) -> None:
    config = composed("profile=paper", "data.augment=device", *overrides)
    for images in changed(config):
        assert images.device.type == "cuda"


def test_images_with_label_maps_become_targets_and_floats_on_the_gpu() -> None:
    config = composed("profile=paper", "recipe=volo", "model=volo_d1", "launch=local")
    with pretended_gpu():
        gpu = torch.device("cuda")
        raw = replace(
            pretended(config),
            maps=torch.empty(NUM_IMAGES, 2, 5, 18, 18, dtype=torch.float16, device=gpu),
            boxes=torch.empty(NUM_IMAGES, 4, device=gpu),
            erased=torch.empty(4, 5, dtype=torch.int64, device=gpu),
            noise=torch.empty(3 * 1000, device=gpu),
        )
        (batch,) = Prepare(config, 1000, gpu, (14, 14))([raw], Progress(0, 10, 0, 5))
    assert batch.images.dtype == torch.float32
    for tensor in (batch.images, batch.targets, batch.token_targets):
        assert tensor.device.type == "cuda"


def test_a_pretended_gpu_notices_what_asks_for_a_value_and_what_mixes_devices() -> None:
    with pretended_gpu():
        there = torch.zeros(4, device="cuda")
        with pytest.raises(Exception, match="_local_scalar_dense"):
            bool(there.sum() > 0)
        with pytest.raises(Exception, match=r"same device|two different devices"):
            there + torch.zeros(4)
