"""What feeds a run: its data set, loaders, host transforms and what happens on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from scaledrelu.config.artifacts import NONE, label_folder
from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.batch import Batch, RawBatch
from scaledrelu.data.datasets import Splits
from scaledrelu.data.dense_targets import dense_targets
from scaledrelu.data.label_transforms import joint_train
from scaledrelu.data.loaders import EvalLoader, TrainLoader
from scaledrelu.data.mixup import mix_group
from scaledrelu.data.sources import ImageSource, subset
from scaledrelu.data.token_labels import LabelMaps
from scaledrelu.data.transforms import crop_train, eval_transform, reference_train
from scaledrelu.data.workers import Transform
from scaledrelu.engine.distributed import World
from scaledrelu.errors import ConfigError
from scaledrelu.randomness import derive_seed
from scaledrelu.runs.create import create
from scaledrelu.tasks.base import Progress

# Fields of ``augment``, by who uses them.
CROP = ("crop", "crop_scale", "crop_ratio", "interpolation")
COLOUR = ("shift", "hflip", "rand_augment", "color_jitter", "erasing")
PROBE_IMAGES = 64  # of the validation set, for the extremes in the evidence file
MIX = ("mixup", "cutmix", "mix_prob", "switch_prob", "smoothing")


def open_data(config: dict[str, Any]) -> Splits:
    """Open the data set and keep the configured fraction of its training images."""
    data = config["data"]
    splits = create(
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
    """Build the loader of this process's groups, with their label maps if the run has some."""
    data, augment, launch = config["data"], config["augment"], config["launch"]
    labels = None
    if has_labels(config):
        labels = LabelMaps(label_folder(config), splits.train, num_classes=splits.num_classes)
    return TrainLoader(
        splits.train,
        groups=groups,
        num_groups=len(groups) * world.size,
        group_size=config["batch"]["group"],
        repeats=augment["repeats"],
        seed=config["seed"],
        transform=train_transform(data, augment, in_memory=hasattr(splits.train, "images")),
        workers=launch["workers"],
        pin=world.device.type == "cuda",
        device=world.device,
        labels=labels,
    )


def has_labels(config: dict[str, Any]) -> bool:
    """Say whether a run learns from label maps."""
    return config["data"]["token_labels"] != NONE


def train_transform(
    data: dict[str, Any], augment: dict[str, Any], *, in_memory: bool
) -> Transform | None:
    """Return what the host does to an image; None if bytes in memory need nothing.

    An image with a label map is augmented on the host, whatever ``data.augment`` says.
    """
    crop = {name: augment[name] for name in CROP}
    if data["token_labels"] != NONE:
        return joint_train(
            image_size=data["image_size"],
            mean=data["mean"],
            std=data["std"],
            **crop,
            **{name: augment[name] for name in COLOUR},
        )
    if data["augment"] == "reference":
        return reference_train(
            image_size=data["image_size"],
            mean=data["mean"],
            std=data["std"],
            **crop,
            **{name: augment[name] for name in COLOUR},
        )
    if in_memory and augment["crop"] != "random_resized":
        return None
    return crop_train(image_size=data["image_size"], **crop)


class Prepare:
    """Moves groups to the device, augments and mixes them there, or makes their dense targets.

    Args:
        config: resolved and checked.
        num_classes: C.
        device: of the model.
        token_grid: rows and columns of the model's tokens; needed with label maps only.

    Raises:
        ConfigError: for label maps without a token grid.
    """

    def __init__(
        self,
        config: dict[str, Any],
        num_classes: int,
        device: torch.device,
        token_grid: tuple[int, int] | None = None,
    ) -> None:
        data, augment = config["data"], config["augment"]
        self.seed, self.device, self.num_classes = config["seed"], device, num_classes
        self.augment = DeviceAugment(
            mean=data["mean"],
            std=data["std"],
            seed=self.seed,
            augment=data["augment"],
            crop=augment["crop"],
            **{name: augment[name] for name in COLOUR},
        )
        self.mix = {name: augment[name] for name in MIX}
        self.layout = layout(config)
        self.token_grid, self.label_axes = token_grid, augment["label_axes"]
        if has_labels(config) and token_grid is None:
            raise ConfigError(
                f"data.token_labels={data['token_labels']} needs a model that predicts a class for "
                f"every token (VOLO), found {config['model']['label']}: set data.token_labels=none"
            )

    def __call__(self, groups: Sequence[RawBatch], t: Progress) -> list[Batch]:
        """Return the groups as the task sees them."""
        return [self._one(raw.to(self.device), t) for raw in groups]

    def _one(self, raw: RawBatch, t: Progress) -> Batch:
        images = self.augment(raw, epoch=t.epoch, step=t.step)
        if raw.maps is not None:
            return self._dense(raw, images)
        mixed = mix_group(
            images,
            raw.targets,
            num_classes=self.num_classes,
            **self.mix,
            seed=derive_seed(self.seed, "mixup", t.step, raw.group),
        )
        return Batch(mixed.images.contiguous(memory_format=self.layout), mixed.targets, raw.group)

    def _dense(self, raw: RawBatch, images: torch.Tensor) -> Batch:
        class_targets, token_targets = dense_targets(
            raw.maps,
            raw.boxes,
            num_classes=self.num_classes,
            grid=self.token_grid,
            smoothing=self.mix["smoothing"],
            axes=self.label_axes,
        )
        images = images.contiguous(memory_format=self.layout)
        return Batch(images, class_targets, raw.group, token_targets)


def layout(config: dict[str, Any]) -> torch.memory_format:
    """Return how images and convolution weights lie in memory."""
    return torch.channels_last if config["launch"]["channels_last"] else torch.contiguous_format


class Validation:
    """This process's shard of the validation set, normalised, on the device.

    Attributes:
        probe: the first images of the shard, kept for small questions; None before the first pass.
    """

    def __init__(self, config: dict[str, Any], source: ImageSource, world: World) -> None:
        data = config["data"]
        pixels = {"mean": data["mean"], "std": data["std"]}
        self.device, self.layout = world.device, layout(config)
        self.num_images = len(source)
        self.probe: torch.Tensor | None = None
        self._normalise = DeviceAugment(seed=0, **pixels).normalise
        crop = config["evaluation"]["crop"]
        whole = hasattr(source, "images")
        self._loader = EvalLoader(
            source,
            rank=world.rank,
            world_size=world.size,
            batch=config["evaluation"]["batch"],
            transform=None
            if whole
            else eval_transform(image_size=data["image_size"], crop=crop, **pixels),
            workers=config["launch"]["workers"],
            device=world.device,
        )

    def __iter__(self) -> Iterator[RawBatch]:
        for raw in self._loader:
            raw = raw.to(self.device)
            images = self._normalise(raw.images).contiguous(memory_format=self.layout)
            if self.probe is None:
                self.probe = images[:PROBE_IMAGES].clone()
            yield dataclasses.replace(raw, images=images)

    def close(self) -> None:
        """End the loader processes."""
        self._loader.close()
