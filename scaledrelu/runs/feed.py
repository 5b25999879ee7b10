"""What feeds a run: its data set, its loaders and what the host does to an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from scaledrelu.config.artifacts import NONE, data_root, label_folder
from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.datasets import Splits
from scaledrelu.data.loaders import EvalLoader, TrainLoader
from scaledrelu.data.multicrop import multi_crop
from scaledrelu.data.reid import ReidSplits
from scaledrelu.data.sources import ImageSource, subset
from scaledrelu.data.transforms import crop_train, eval_transform, reference_train
from scaledrelu.data.workers import Transform
from scaledrelu.engine.distributed import World
from scaledrelu.errors import ConfigError, DataError
from scaledrelu.labels.maps import LabelMaps
from scaledrelu.labels.transforms import joint_train
from scaledrelu.runs.create import create

# Fields of ``augment``, by who uses them.
CROP = ("crop", "crop_scale", "crop_ratio", "interpolation")
COLOUR = ("shift", "hflip", "rand_augment", "color_jitter", "erasing")
ALL_CROPS = ("crop_ratio", "interpolation", "hflip")  # what multi-crop takes besides its own
NO_CROPS = ("shift", "rand_augment", "color_jitter", "erasing", "mixup", "cutmix", "smoothing")
PROBE_IMAGES = 64  # of the validation set, for the extremes in the evidence file


def image_size(config: dict[str, Any]) -> int | tuple[int, int]:
    """Return the pixels of a side, or (height, width) where a width is given."""
    data = config.data
    return data.image_size if data.image_width is None else height_and_width(config)


def height_and_width(config: dict[str, Any]) -> tuple[int, int]:
    """Return the pixels of an image; stored configurations may be older than the width."""
    data = config.data
    return data.image_size, data.get("image_width") or data.image_size


def open_data(config: dict[str, Any]) -> Splits | ReidSplits:
    """Open the data set and keep the configured fraction of its training images."""
    data = config.data
    splits = create(
        data.build,
        root=data_root(config),
        image_size=image_size(config),
        in_memory=data.in_memory,
        on_bad_image=data.on_bad_image,
    )
    if data.num_classes not in (None, splits.num_classes):
        raise ConfigError(
            f"data.num_classes={data.num_classes}, but {data.name} at {data.root} has "
            f"{splits.num_classes} classes; set data.num_classes=null to count them"
        )
    if data.fraction < 1:
        train = subset(splits.train, data.fraction, seed=data.fraction_seed)
        splits = dataclasses.replace(splits, train=train)
    return splits


def train_loader(
    config: dict[str, Any], splits: Splits, groups: Sequence[int], world: World
) -> TrainLoader:
    """Build the loader of this process's groups, with their label maps if the run has some."""
    augment, launch = config.augment, config.launch
    labels = None
    if has_labels(config):
        labels = LabelMaps(label_folder(config), splits.train, num_classes=splits.num_classes)
    return TrainLoader(
        splits.train,
        groups=groups,
        num_groups=len(groups) * world.size,
        group_size=config.batch.group,
        repeats=augment.repeats,
        instances=config.batch.instances,
        seed=config.seed,
        transform=train_transform(config, in_memory=hasattr(splits.train, "images")),
        workers=launch.workers,
        pin=world.device.type == "cuda",
        device=world.device,
        labels=labels,
    )


def has_labels(config: dict[str, Any]) -> bool:
    """Say whether a run learns from label maps."""
    return config.data.token_labels != NONE


def train_transform(config: dict[str, Any], *, in_memory: bool) -> Transform | None:
    """Return what the host does to an image; None if bytes in memory need nothing.

    An image with a label map is augmented on the host, whatever ``data.augment`` says; so are the
    crops of multi-crop.

    Raises:
        ConfigError: for augmentation that has no place in multi-crop.
    """
    data, augment, size = config.data, config.augment, image_size(config)
    if augment.multi_crop is not None:
        return _multi_crop(data, augment)
    crop = {name: augment[name] for name in CROP}
    if data.token_labels != NONE:
        return joint_train(
            image_size=size,
            mean=data.mean,
            std=data.std,
            **crop,
            **{name: augment[name] for name in COLOUR},
        )
    if data.augment == "reference":
        return reference_train(
            image_size=size,
            mean=data.mean,
            std=data.std,
            **crop,
            **{name: augment[name] for name in COLOUR},
        )
    if in_memory and augment.crop != "random_resized":
        return None
    return crop_train(image_size=size, **crop)


def _multi_crop(data: dict[str, Any], augment: dict[str, Any]) -> Transform:
    asked = [f"augment.{name}" for name in NO_CROPS if augment[name]]
    asked += ["data.token_labels"] if data.token_labels != NONE else []
    if asked:
        raise ConfigError(
            f"{asked[0]} is on, but augment.multi_crop brings its own augmentation: switch one of "
            "the two off"
        )
    fields = {name: augment[name] for name in ALL_CROPS}
    return multi_crop(image_size=data.image_size, **fields, **augment.multi_crop)


def layout(config: dict[str, Any]) -> torch.memory_format:
    """Return how images and convolution weights lie in memory."""
    return torch.channels_last if config.launch.channels_last else torch.contiguous_format


class Validation:
    """This process's shard of the validation set, normalised, on the device.

    Raises:
        DataError: if there are fewer images than processes; no evaluator counts an empty shard.

    Attributes:
        probe: the first images of the shard, kept for small questions; None before the first pass.
    """

    def __init__(self, config: dict[str, Any], source: ImageSource, world: World) -> None:
        data = config.data
        if len(source) < world.size:
            raise DataError(
                f"{len(source)} validation images cannot be shared by {world.size} processes: each "
                f"needs at least one; start {len(source)} processes or fewer (launch.nproc), or "
                "use more images"
            )
        pixels = {"mean": data.mean, "std": data.std}
        self.device, self.layout = world.device, layout(config)
        self.num_images = len(source)
        self.probe: torch.Tensor | None = None
        self._normalise = DeviceAugment(seed=0, **pixels).normalise
        crop = config.evaluation.crop
        whole = hasattr(source, "images")
        self._loader = EvalLoader(
            source,
            rank=world.rank,
            world_size=world.size,
            batch=config.evaluation.batch,
            transform=None
            if whole
            else eval_transform(image_size=image_size(config), crop=crop, **pixels),
            workers=config.launch.workers,
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
