"""What feeds a run: its data set, loaders, host transforms and what happens on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from hydra.utils import instantiate

from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.batch import Batch, RawBatch
from scaledrelu.data.datasets import Splits
from scaledrelu.data.loaders import EvalLoader, TrainLoader
from scaledrelu.data.mixup import mix_group
from scaledrelu.data.sources import subset
from scaledrelu.data.transforms import crop_train, eval_transform, reference_train
from scaledrelu.engine.distributed import World
from scaledrelu.errors import ConfigError
from scaledrelu.randomness import derive_seed
from scaledrelu.tasks.base import Progress

# Fields of ``augment``, by who uses them.
CROP = ("crop", "crop_scale", "crop_ratio", "interpolation")
COLOUR = ("shift", "hflip", "rand_augment", "color_jitter", "erasing")
MIX = ("mixup", "cutmix", "mix_prob", "switch_prob", "smoothing")


def open_data(config: dict[str, Any]) -> Splits:
    """Open the data set and keep the configured fraction of its training images."""
    data = config["data"]
    splits = instantiate(
        data["build"],
        root=data["root"],
        image_size=data["image_size"],
        in_memory=data["in_memory"],
        on_bad_image=data["on_bad_image"],
    )
    if data["num_classes"] not in (None, splits.num_classes):
        raise ConfigError(
            f"data.num_classes={data['num_classes']}, but {data['name']} at {data['root']} has "
            f"{splits.num_classes} classes; set data.num_classes=null to count them"
        )
    if data["fraction"] < 1:
        train = subset(splits.train, data["fraction"], seed=data["fraction_seed"])
        splits = Splits(train=train, val=splits.val, num_classes=splits.num_classes)
    return splits


def train_loader(
    config: dict[str, Any], splits: Splits, groups: Sequence[int], world: World
) -> TrainLoader:
    """Build the loader of this process's groups."""
    data, augment, launch = config["data"], config["augment"], config["launch"]
    return TrainLoader(
        splits.train,
        groups=groups,
        num_groups=len(groups) * world.size,
        group_size=config["batch"]["group"],
        repeats=augment["repeats"],
        seed=config["seed"],
        transform=train_transform(data, augment),
        workers=launch["workers"],
        pin=world.device.type == "cuda",
        device=world.device,
    )


def train_transform(
    data: dict[str, Any], augment: dict[str, Any]
) -> Callable[[Any], torch.Tensor] | None:
    """Return what the host does to an image; None if bytes in memory need nothing."""
    crop = {name: augment[name] for name in CROP}
    if data["augment"] == "reference":
        return reference_train(
            image_size=data["image_size"],
            mean=data["mean"],
            std=data["std"],
            **crop,
            **{name: augment[name] for name in COLOUR},
        )
    if data["in_memory"] and augment["crop"] != "random_resized":
        return None
    return crop_train(image_size=data["image_size"], **crop)


class Prepare:
    """Moves groups to the device, augments and mixes them there."""

    def __init__(self, config: dict[str, Any], num_classes: int, device: torch.device) -> None:
        data, augment = config["data"], config["augment"]
        self.seed, self.device, self.num_classes = config["seed"], device, num_classes
        self.augment = DeviceAugment(
            mean=data["mean"],
            std=data["std"],
            seed=self.seed,
            augment=data["augment"],
            **{name: augment[name] for name in COLOUR},
        )
        self.mix = {name: augment[name] for name in MIX}
        self.layout = layout(config)

    def __call__(self, groups: Sequence[RawBatch], t: Progress) -> list[Batch]:
        """Return the groups as the task sees them."""
        return [self._one(raw.to(self.device), t) for raw in groups]

    def _one(self, raw: RawBatch, t: Progress) -> Batch:
        images = self.augment(raw, epoch=t.epoch, step=t.step)
        mixed = mix_group(
            images,
            raw.targets,
            num_classes=self.num_classes,
            **self.mix,
            seed=derive_seed(self.seed, "mixup", t.step, raw.group),
        )
        return Batch(mixed.images.contiguous(memory_format=self.layout), mixed.targets, raw.group)


def layout(config: dict[str, Any]) -> torch.memory_format:
    """Return how images and convolution weights lie in memory."""
    return torch.channels_last if config["launch"]["channels_last"] else torch.contiguous_format


def eval_batches(config: dict[str, Any], splits: Splits, world: World) -> Iterator[RawBatch]:
    """Yield this process's shard of the validation set, normalised, on the device."""
    data = config["data"]
    pixels = {"mean": data["mean"], "std": data["std"]}
    transform = None
    if not data["in_memory"]:
        transform = eval_transform(
            image_size=data["image_size"], crop=config["evaluation"]["crop"], **pixels
        )
    loader = EvalLoader(
        splits.val,
        rank=world.rank,
        world_size=world.size,
        batch=config["evaluation"]["batch"],
        transform=transform,
        workers=config["launch"]["workers"],
        device=world.device,
    )
    normalise = DeviceAugment(seed=0, **pixels).normalise
    for raw in loader:
        raw = raw.to(world.device)
        images = normalise(raw.images).contiguous(memory_format=layout(config))
        yield dataclasses.replace(raw, images=images)
    loader.close()
