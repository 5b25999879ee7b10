"""What a run is fed with follows from ``data.decoder``, and hardly depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from scaledrelu.config.run import RunConfig
from scaledrelu.data.crops import TensorMultiCrop
from scaledrelu.data.pixels import decode_pixels
from scaledrelu.engine.distributed import World
from scaledrelu.runs.feed import Validation, decoded, open_data, train_loader, train_transform
from scaledrelu.runs.prepare import Prepare
from scaledrelu.tasks.base import Progress

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
    assert isinstance(cut, TensorMultiCrop)
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


def test_only_files_are_decoded_to_tensors_and_only_if_asked(files, smoke) -> None:
    config = files("data.decoder=tensor")
    source = open_data(config).train
    assert decoded(source, config.data)._decode is decode_pixels
    assert decoded(source, files("data.decoder=pil").data) is source
    digits = open_data(smoke()).train
    assert decoded(digits, config.data) is digits


def test_the_device_gets_every_colour_by_itself_in_memory(files) -> None:
    config = files("data.decoder=tensor")
    (raw,) = next(train_loader(config, open_data(config), [0], CPU).epoch(0))
    assert not raw.images.is_contiguous()
    assert raw.to("cpu").images.is_contiguous()
