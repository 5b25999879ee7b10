"""From JPEG files to batches in one process: our data paths, and those of others as plain loops.

A peer has the transform of its own script and a loop around it: no sampler, no seeds, no processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scaledrelu.config.augment import AugmentConfig
from scaledrelu.config.compose import compose
from scaledrelu.data.crops import multi_crop_tensor
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.multicrop import NUM_GLOBAL, RandomBlur
from scaledrelu.data.pixels import decode_pixels
from scaledrelu.data.sources import FolderSource
from scaledrelu.runs.feed import decoded, train_transform

GROUP = 16  # images per batch
PAPER = "profile=paper"
PATHS = {  # of ours: name -> overrides of the paper profile
    "reference": ("data.augment=reference",),
    "device": ("data.augment=device",),
    "device, decoder=tensor": ("data.augment=device", "data.decoder=tensor"),
    "DINO": ("recipe=dino",),
}
DINO_CROPS = "DINO, crops alone"  # all of them from one decoded image; colours on the device


def our_loader(
    source: FolderSource, path: str, *, workers: int = 0, pin: bool = False
) -> TrainLoader:
    """Return our loader as the paper profile builds it; one with workers must be closed.

    Args:
        source: the images.
        path: one of ``PATHS``, or ``DINO_CROPS``.
        workers: loader processes; 0 = load in this process.
        pin: put batches in page-locked memory.
    """
    config = compose([PAPER, *PATHS["DINO" if path == DINO_CROPS else path]])
    transform = train_transform(config.data, config.augment, in_memory=False)
    source = decoded(source, config.data)
    if path == DINO_CROPS:
        transform = multi_crop_tensor(config.augment, image_size=config.data.image_size)
        source = source.decoded_by(decode_pixels)
    return TrainLoader(
        source,
        groups=range(1),
        num_groups=1,
        group_size=GROUP,
        repeats=1,
        seed=0,
        transform=transform,
        workers=workers,
        pin=pin,
    )


def our_batches(source: FolderSource, path: str) -> Iterator[Any]:
    """Yield the batches of our loader in this process, for ever.

    Args:
        source: the images.
        path: one of ``PATHS``, or ``DINO_CROPS``.
    """
    loader = our_loader(source, path)
    return chain.from_iterable(loader.epoch(epoch) for epoch in count())


def deit_batches(paths: Sequence[Path]) -> Iterator[Tensor]:
    """Yield batches of DeiT's script: timm's whole transform, float tensors."""
    transform = _timm_transform(augments=True)
    return _plain_loop(paths, transform, torch.stack)


def timm_batches(paths: Sequence[Path], *, augments: bool) -> Iterator[Tensor]:
    """Yield batches of timm's script with its prefetcher: bytes; the rest is the GPU's part.

    Args:
        paths: JPEG files.
        augments: whether RandAugment, which timm leaves to the processor, is part of it.
    """
    from timm.data.loader import fast_collate

    transform = _timm_transform(augments=augments, use_prefetcher=True)
    return _plain_loop(paths, lambda image: (transform(image), 0), lambda x: fast_collate(x)[0])


def dino_batches(paths: Sequence[Path]) -> Iterator[list[Tensor]]:
    """Yield batches of DINO's script: ten crops of every image, float tensors."""
    config = compose([PAPER, *PATHS["DINO"]])
    views = _dino_views(config.augment, config.data.image_size, config.data.mean, config.data.std)

    def joined(found: list[list[Tensor]]) -> list[Tensor]:
        return [torch.stack(view) for view in zip(*found, strict=True)]

    return _plain_loop(paths, lambda image: [view(image) for view in views], joined)


def _plain_loop(
    paths: Sequence[Path], transform: Callable[[Image.Image], Any], joined: Callable[[list], Any]
) -> Iterator[Any]:
    draw = np.random.default_rng(0)
    while True:
        order = draw.permutation(len(paths))
        for at in range(0, len(paths) - GROUP + 1, GROUP):
            chosen = [paths[i] for i in order[at : at + GROUP]]
            yield joined([transform(Image.open(path).convert("RGB")) for path in chosen])


def _timm_transform(*, augments: bool, use_prefetcher: bool = False) -> Callable[..., Any]:
    from timm.data import create_transform

    config = compose([PAPER])
    augment, data = config.augment, config.data
    return create_transform(
        data.image_size,
        is_training=True,
        use_prefetcher=use_prefetcher,
        color_jitter=augment.color_jitter if augments else None,
        auto_augment=augment.rand_augment if augments else None,
        interpolation=augment.interpolation,
        re_prob=augment.erasing,
        re_mode="pixel",
        re_count=1,
        mean=data.mean,
        std=data.std,
    )


def _dino_views(
    augment: AugmentConfig, image_size: int, mean: Sequence[float], std: Sequence[float]
) -> list[Callable[[Image.Image], Tensor]]:
    """Return the transform of every crop (DINO main_dino.py ``DataAugmentationDINO``)."""
    from torchvision import transforms as T

    crops = augment.multi_crop
    colour = [
        T.RandomHorizontalFlip(0.5),
        T.RandomApply([T.ColorJitter(*crops.jitter)], crops.jitter_prob),
        T.RandomGrayscale(crops.grey_prob),
    ]
    normalise = [T.ToTensor(), T.Normalize(mean, std)]
    bicubic = T.InterpolationMode.BICUBIC
    large = T.RandomResizedCrop(image_size, crops.global_scale, interpolation=bicubic)
    small = T.RandomResizedCrop(crops.local_size, crops.local_scale, interpolation=bicubic)
    solarise = T.RandomSolarize(128, crops.solarize_prob)
    late = [[RandomBlur(p)] for p in crops.blur_prob]
    late[1].append(solarise)
    made = [
        T.Compose([cut, *colour, *last, *normalise])
        for cut, last in zip((large, large, small), late, strict=True)
    ]
    return [*made[:NUM_GLOBAL], *[made[NUM_GLOBAL]] * crops.num_local]
