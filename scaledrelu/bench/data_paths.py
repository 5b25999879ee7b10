"""Our data paths from JPEG files to batches, as runs at paper size have them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from scaledrelu.bench.scripts import TENSOR
from scaledrelu.config.compose import compose
from scaledrelu.config.run import RunConfig
from scaledrelu.data.datasets import Splits
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.sources import FolderSource
from scaledrelu.engine.distributed import World
from scaledrelu.errors import DataError
from scaledrelu.labels.folder import encode, write_map
from scaledrelu.labels.maps import label_path
from scaledrelu.runs.dry import MAP_DEPTH, MAP_SIDE
from scaledrelu.runs.feed import train_loader

GROUP = 16  # images per batch
GRID = (14, 14)  # rows and columns of VOLO's tokens
CLASSES = 1000
REPEATED = f"{TENSOR}, repeated augmentation"  # as DeiT's recipe has it, on one GPU
REPEATED_IMAGES = 256  # at least; what DeiT's sampler takes of fewer images is nothing
VOLO = ("recipe=volo", "model=volo_d1", "data.augment=reference")
PATHS = {  # name -> overrides of the paper profile
    "reference": ("data.augment=reference", "data.decoder=pil"),
    "device": ("data.augment=device", "data.decoder=pil"),
    TENSOR: ("data.augment=device", "data.decoder=tensor"),
    REPEATED: ("data.augment=device", "data.decoder=tensor", "augment.repeats=3"),
    "DINO, reference": ("recipe=dino", "data.augment=reference", "data.decoder=pil"),
    "DINO": ("recipe=dino", "data.augment=device", "data.decoder=tensor"),
    "VOLO, reference": (*VOLO, "data.decoder=pil"),
    "VOLO": (*VOLO, "data.decoder=tensor"),
}
SUFFIXES = (".jpg", ".jpeg")
GENERATED = 64
GENERATED_SIZE = (500, 375)  # ImageNet's usual one


def find_jpegs(folder: Path) -> list[Path]:
    """Return the JPEG files below a folder.

    Raises:
        DataError: if there are fewer than one step of the loader needs.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if len(found) < GROUP:
        raise DataError(
            f"{folder}: holds {len(found)} JPEG files, but at least {GROUP} are needed; choose "
            "another folder with --images, or leave it out to generate images"
        )
    return found


def generate_jpegs(folder: Path, *, images: int = GENERATED) -> list[Path]:
    """Write a handful of JPEGs of ImageNet's usual size: blurred noise, about 100 KB each.

    Args:
        folder: where to write them.
        images: number of files.
    """
    draw = np.random.default_rng(0)
    width, height = GENERATED_SIZE
    for index in range(images):
        coarse = draw.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize(GENERATED_SIZE, Image.BICUBIC), np.int16)
        noisy = np.clip(image + draw.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{index:03d}.jpg", quality=92)
    return find_jpegs(folder)


def source_of(paths: Sequence[Path], *, images: int | None = None) -> FolderSource:
    """Return JPEG files as a source whose images have one of 1,000 classes each.

    Args:
        paths: the files.
        images: number of images; the files are used again and again. None = each file once.
    """
    root = Path(os.path.commonpath([path.parent for path in paths]))
    chosen = np.resize(np.arange(len(paths)), images or len(paths))
    names = np.array([os.fsencode(path.relative_to(root)) for path in paths])[chosen]
    return FolderSource(root, names, chosen % CLASSES, tuple(f"{i:04d}" for i in range(CLASSES)))


def make_maps(folder: Path, source: FolderSource) -> Path:
    """Write a label map of random classes for every file, in the published format.

    Args:
        folder: folder of the maps.
        source: the files.
    """
    draw = torch.Generator().manual_seed(0)
    shape = (MAP_DEPTH, MAP_SIDE, MAP_SIDE)
    for path in dict.fromkeys(label_path(source, index) for index in range(len(source))):
        logits = torch.rand(shape, generator=draw) * 20
        classes = torch.randint(CLASSES, shape, generator=draw)
        write_map(folder / path, encode(torch.stack([logits, classes.float()]).half()))
    return folder


def path_overrides(path: str) -> tuple[str, ...]:
    """Return the overrides of a data path of ``PATHS``."""
    return "augment.repeats=1", *PATHS[path]  # most of the scripts know nothing of repeats


def path_config(path: str, *, workers: int = 0, maps: Path | None = None) -> RunConfig:
    """Return the run of the paper profile that has a data path.

    Args:
        path: one of ``PATHS``.
        workers: loader processes.
        maps: folder of label maps; VOLO needs one.
    """
    return compose(
        [
            "profile=paper",
            "launch=local",
            *path_overrides(path),
            *([f"data.token_labels={maps}"] if path.startswith("VOLO") else []),
            f"batch.total={GROUP}",
            f"batch.group={GROUP}",
            f"launch.workers={workers}",
        ]
    )


def our_loader(
    source: FolderSource, config: RunConfig, device: str | torch.device = "cpu"
) -> TrainLoader:
    """Return the loader of a run; one with loader processes must be closed.

    Args:
        source: the images.
        config: the run's configuration.
        device: the model's device; for a GPU, batches are put in page-locked memory.
    """
    splits = Splits(source, source, config.data.num_classes)
    return train_loader(config, splits, range(1), World(0, 1, torch.device(device)))


def our_batches(source: FolderSource, config: RunConfig) -> Iterator[Any]:
    """Yield the batches of our loader, for ever.

    Args:
        source: the images.
        config: the run's configuration, without loader processes.
    """
    loader = our_loader(source, config)
    return chain.from_iterable(map(loader.epoch, count()))
