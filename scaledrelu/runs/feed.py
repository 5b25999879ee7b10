"""What feeds a run: its data set, its loaders and its transforms on the host."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence

import torch

from scaledrelu.config.artifacts import data_root, label_folder
from scaledrelu.config.augment import AugmentConfig
from scaledrelu.config.data import DataConfig
from scaledrelu.config.launch import LaunchConfig
from scaledrelu.config.run import RunConfig
from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.crops import crop_tensor, eval_tensor, multi_crop_tensor
from scaledrelu.data.datasets import Splits
from scaledrelu.data.device.normalise import HostNormalise
from scaledrelu.data.kept import MOST, KeptBatches, free_memory
from scaledrelu.data.loaders import EvalLoader, TrainLoader
from scaledrelu.data.multicrop import multi_crop
from scaledrelu.data.pixels import decode_pixels
from scaledrelu.data.regions import open_regions
from scaledrelu.data.reid import ReidSplits
from scaledrelu.data.sources import FolderSource, ImageSource, subset
from scaledrelu.data.transforms import crop_train, eval_crop, reference_train
from scaledrelu.data.workers import Transform
from scaledrelu.engine.distributed import World
from scaledrelu.errors import ConfigError, DataError
from scaledrelu.evals.retrieval import spread_evenly
from scaledrelu.labels.maps import LabelMaps
from scaledrelu.labels.transforms import joint_train
from scaledrelu.runs.create import create
from scaledrelu.text import data_size

log = logging.getLogger(__name__)

PROBE_IMAGES = 64  # validation images on which every evaluation looks inside the network


def open_data(config: RunConfig) -> Splits | ReidSplits:
    """Open the data set and keep the configured fraction of its training images."""
    data = config.data
    splits = create(
        data.build,
        root=data_root(config),
        image_size=data.size,
        in_memory=data.in_memory,
        on_bad_image=data.on_bad_image,
    )
    if data.num_classes not in (None, splits.num_classes):
        place = "" if data.root is None else f" at {data.root}"
        raise ConfigError(
            f"data.num_classes={data.num_classes}: {data.name}{place} has "
            f"{splits.num_classes} classes; set data.num_classes={splits.num_classes}, or null to "
            "count them"
        )
    if data.fraction < 1:
        train = subset(splits.train, data.fraction, seed=data.fraction_seed)
        splits = dataclasses.replace(splits, train=train)
    return splits


def train_loader(
    config: RunConfig, splits: Splits, groups: Sequence[int], world: World
) -> TrainLoader:
    """Build the loader of this process's groups, with their label maps if the run has some.

    Args:
        config: the run's configuration.
        splits: its data set.
        groups: global numbers of the groups that this process works through.
        world: this process's place and device.
    """
    labels = None
    if config.data.has_labels:
        labels = LabelMaps(label_folder(config), splits.train, num_classes=splits.num_classes)
    in_memory = hasattr(splits.train, "images")
    return TrainLoader(
        decoded(splits.train, config.data, boxes=_cuts_one_box(config, groups, world)),
        groups=groups,
        num_groups=len(groups) * world.size,
        group_size=config.batch.group,
        repeats=config.augment.repeats,
        instances=config.batch.instances,
        seed=config.seed,
        transform=train_transform(config.data, config.augment, in_memory=in_memory),
        workers=config.launch.loader_processes,
        pin=world.device.type == "cuda",
        device=world.device,
        labels=labels,
    )


def decoded(source: ImageSource, data: DataConfig, *, boxes: bool = False) -> ImageSource:
    """Return a source whose files are decoded by ``data.decoder``.

    Args:
        source: images in files or in memory; the latter are decoded already.
        data: which decoder.
        boxes: leave JPEGs undecoded where the box that is cut out can be decoded alone.
    """
    if data.decoder == "tensor" and isinstance(source, FolderSource):
        return source.decoded_by(open_regions if boxes else decode_pixels)
    return source


def _cuts_one_box(config: RunConfig, groups: Sequence[int], world: World) -> bool:
    """Say whether this process cuts one box out of an image each time that it opens the file."""
    augment = config.augment
    if augment.multi_crop is not None or augment.crop != "random_resized":
        return False
    if config.data.on_bad_image == "skip":
        return False  # damage outside of the box would go unnoticed, and the image not be replaced
    # The copies of an image go to neighbouring groups, round and round; each process has as many.
    return augment.repeats == 1 or (len(groups) == 1 and world.size >= augment.repeats)


def train_transform(
    data: DataConfig, augment: AugmentConfig, *, in_memory: bool
) -> Transform | None:
    """Return what the host does to an image; None if bytes in memory need nothing.

    An image with a label map is augmented on the host, whatever ``data.augment`` says; for crops of
    multi-crop ``augment.multi_crop.pipeline`` decides.

    Args:
        data: size and statistics of the images.
        augment: the augmentation.
        in_memory: whether the images are uint8 tensors in memory.
    """
    if augment.multi_crop is not None:
        crops = multi_crop_tensor if data.decoder == "tensor" else multi_crop
        return crops(augment, image_size=data.image_size)
    if data.has_labels:
        return joint_train(augment, image_size=data.size, mean=data.mean, decoder=data.decoder)
    if data.augment == "reference":
        return reference_train(augment, image_size=data.size, mean=data.mean, std=data.std)
    if in_memory and augment.crop != "random_resized":
        return None
    crop = crop_tensor if data.decoder == "tensor" else crop_train
    return crop(augment, image_size=data.size)


def layout(launch: LaunchConfig) -> torch.memory_format:
    """Return the memory format of images and convolution weights."""
    return torch.channels_last if launch.channels_last else torch.contiguous_format


class Validation:
    """This process's shard of the validation set, normalised, on the device.

    Args:
        config: the run's configuration.
        source: all images of the set.
        world: this process's place and device.
        keep: there will be several passes: decode in the first alone where memory allows it.

    Raises:
        DataError: if there are fewer images than processes; no evaluator accepts an empty shard.

    Attributes:
        probe: images spread evenly over the shard, or all of a smaller one, for what an evaluation
            records of the network itself; None before the end of the first whole pass.
    """

    def __init__(
        self, config: RunConfig, source: ImageSource, world: World, *, keep: bool = False
    ) -> None:
        data = config.data
        if len(source) < world.size:
            raise DataError(
                f"{len(source)} validation images cannot be divided among {world.size} processes; "
                f"use at most {len(source)} processes (launch.nproc), or more images"
            )
        self.device, self.layout = world.device, layout(config.launch)
        self.num_images = len(source)
        self.probe: torch.Tensor | None = None
        whole, pin = hasattr(source, "images"), world.device.type == "cuda"
        self._normalise = (
            DeviceAugment(mean=data.mean, std=data.std, seed=0).normalise
            if whole or data.decoder == "tensor"
            else HostNormalise(mean=data.mean, std=data.std)
        )
        # What an image in a file is cut to is still bytes.
        cut = eval_tensor if data.decoder == "tensor" else eval_crop
        loader = EvalLoader(
            decoded(source, data),
            rank=world.rank,
            world_size=world.size,
            batch=config.evaluation.batch,
            transform=None if whole else cut(image_size=data.size, crop=config.evaluation.crop),
            workers=config.launch.loader_processes,
            pin=pin,
            device=world.device,
        )
        keeps = keep and not whole and _has_room(config, source, world)
        self._loader = KeptBatches(loader, pin=pin) if keeps else loader
        self._probed = spread_evenly(loader.shard_size, PROBE_IMAGES).tolist()

    def __iter__(self) -> Iterator[RawBatch]:
        return self._batches() if self.probe is not None else self._probing(self._batches())

    def close(self) -> None:
        """End the loader processes."""
        self._loader.close()

    def _probing(self, batches: Iterator[RawBatch]) -> Iterator[RawBatch]:
        """Pass on all batches and keep the probe's images; a pass that is broken off keeps none."""
        start, kept = 0, []
        for batch in batches:
            end = start + len(batch.images)
            kept += [batch.images[i - start].clone() for i in self._probed if start <= i < end]
            start = end
            yield batch
        self.probe = torch.stack(kept).contiguous(memory_format=self.layout)

    def _batches(self) -> Iterator[RawBatch]:
        for raw in self._loader:
            raw = raw.to(self.device)
            images = self._normalise(raw.images).contiguous(memory_format=self.layout)
            # An index that lies on the host would make every evaluator wait for the device.
            indices = raw.indices.to(self.device, non_blocking=True)
            yield dataclasses.replace(raw, images=images, indices=indices)


def _has_room(config: RunConfig, source: ImageSource, world: World) -> bool:
    """Say whether the crops of all processes fit into memory, and in the log if they do not."""
    if not config.launch.cache_val:
        return False
    size, free = len(source) * 3 * config.data.height * config.data.width, free_memory()
    if size > MOST * free and world.is_main:
        log.info(
            "validation images are decoded at every evaluation: their crops take %s, more than "
            "%.0f%% of the %s of free memory (launch.cache_val)",
            data_size(size), 100 * MOST, data_size(free),
        )  # fmt: skip
    return size <= MOST * free
