"""What the scripts of others do to one image on the host, with the numbers of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor

from scaledrelu.config.run import RunConfig
from scaledrelu.data.multicrop import NUM_GLOBAL, RandomBlur
from scaledrelu.labels.rand_augment import DrawRandAugment, moved_labels


def timm_transform(config: RunConfig, *, augments: bool, use_prefetcher: bool) -> Any:
    """Return timm's transform for training.

    Args:
        config: the numbers.
        augments: whether RandAugment or colour jitter is part of it.
        use_prefetcher: end with bytes; the rest is the device's part.
    """
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


def dino_views(config: RunConfig) -> Sequence[Callable[[Image.Image], Tensor]]:
    """Return the transform of every crop.

    Source: DINO main_dino.py ``DataAugmentationDINO``.
    """
    from torchvision import transforms as T

    crops, data = config.augment.multi_crop, config.data
    colour = [
        T.RandomHorizontalFlip(0.5),
        T.RandomApply([T.ColorJitter(*crops.jitter)], crops.jitter_prob),
        T.RandomGrayscale(crops.grey_prob),
    ]
    normalise = [T.ToTensor(), T.Normalize(data.mean, data.std)]
    bicubic = T.InterpolationMode.BICUBIC
    large = T.RandomResizedCrop(data.image_size, crops.global_scale, interpolation=bicubic)
    small = T.RandomResizedCrop(crops.local_size, crops.local_scale, interpolation=bicubic)
    late = [[RandomBlur(p)] for p in crops.blur_prob]
    late[1].append(T.RandomSolarize(128, crops.solarize_prob))
    made = [
        T.Compose([cut, *colour, *last, *normalise])
        for cut, last in zip((large, large, small), late, strict=True)
    ]
    return [*made[:NUM_GLOBAL], *[made[NUM_GLOBAL]] * crops.num_local]


def joint_transform(config: RunConfig) -> Callable[[Image.Image, Tensor], tuple]:
    """Return flip, RandAugment of image and map, and crop of the image, with its box.

    Source: recipes B.4.
    """
    from timm.data.transforms import RandomResizedCropAndInterpolation, ToNumpy

    augment, data = config.augment, config.data
    draw = DrawRandAugment(
        augment.rand_augment,
        image_size=data.image_size,
        mean=data.mean,
        interpolation=augment.interpolation,
    )
    cut = RandomResizedCropAndInterpolation(
        data.image_size,
        scale=tuple(augment.crop_scale),
        ratio=tuple(augment.crop_ratio),
        interpolation=augment.interpolation,
    )
    return partial(with_map, hflip=augment.hflip, draw=draw, cut=cut, bare=ToNumpy())


def with_map(
    image: Image.Image, labels: Tensor, *, hflip: float, draw: DrawRandAugment, cut: Any, bare: Any
) -> tuple[np.ndarray, Tensor, Tensor]:
    """Return the bytes of the crop, the moved map and the box: top, left, bottom, right.

    Args:
        image: RGB, of any size.
        labels: 2 x K x h x w.
        hflip: probability of a flip.
        draw: draws changes of the whole image, which move the map.
        cut: timm's random crop, for its draw, size and filters.
        bare: image -> bytes.
    """
    from torchvision.transforms import functional

    if np.random.rand() < hflip:
        image, labels = functional.hflip(image), functional.hflip(labels)
    changes = draw()
    for change in changes:
        image = change(image)
    labels = moved_labels(labels, changes)
    top, left, height, width = cut.get_params(image, cut.scale, cut.ratio)
    mode = cut.interpolation
    if isinstance(mode, tuple):
        mode = mode[np.random.randint(len(mode))]
    part = functional.resized_crop(image, top, left, height, width, cut.size, mode)
    box = torch.tensor([top, left, top + height, left + width], dtype=torch.float32)
    return bare(part), labels, box / torch.tensor([image.height, image.width] * 2)
