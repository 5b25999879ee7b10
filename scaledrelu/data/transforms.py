"""What happens to one image on the host: the official DeiT pipeline, and the crop alone.

The reference pipeline ends in a normalised float tensor. For ``data.augment=device`` the host
only decodes and crops to uint8 and the rest is in ``augment.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from scaledrelu.config.augment import AugmentConfig

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Size = int | tuple[int, int]  # pixels of a side, or height and width

SMALL = 32  # DeiT resizes and crops for evaluation only above this size


def reference_train(
    augment: AugmentConfig, *, image_size: Size, mean: Sequence[float], std: Sequence[float]
) -> Callable[[Image], Tensor]:
    """Return the official training pipeline: PIL image -> 3 x H x W, float, normalised.

    Crop, flip, RandAugment (or colour jitter where there is none), tensor, normalise, erasing
    with per-pixel noise, drawn from the global generators of random, numpy and torch.

    Args:
        augment: the augmentation.
        image_size: pixels of a side, or (height, width).
        mean: 3 channel means, in [0, 1].
        std: 3 channel standard deviations.

    Source: recipes A.5 (timm ``transforms_imagenet_train``).
    """
    from timm.data.transforms_factory import transforms_imagenet_train
    from torchvision import transforms

    pipeline = transforms_imagenet_train(
        image_size,
        scale=tuple(augment.crop_scale),
        ratio=tuple(augment.crop_ratio),
        hflip=augment.hflip,
        color_jitter=augment.color_jitter or None,
        auto_augment=augment.rand_augment,
        interpolation=augment.interpolation,
        mean=tuple(mean),
        std=tuple(std),
        re_prob=augment.erasing,
        re_mode="pixel",
        re_count=1,
    )
    if augment.crop == "random_resized":
        return pipeline
    _, *after_crop = pipeline.transforms
    return transforms.Compose([_plain_crop(augment, image_size), *after_crop])


def crop_train(augment: AugmentConfig, *, image_size: Size) -> Callable[[Image], Tensor]:
    """Return the host's part of ``data.augment=device``: PIL image -> 3 x H x W, uint8.

    ``crop=shift`` only fits the image to its size here; the device shifts it.

    Args:
        augment: how images are cropped.
        image_size: pixels of a side, or (height, width).

    Source: recipes A.5 step 1.
    """
    from timm.data.transforms import RandomResizedCropAndInterpolation
    from torchvision import transforms

    cut = (
        RandomResizedCropAndInterpolation(
            image_size,
            scale=tuple(augment.crop_scale),
            ratio=tuple(augment.crop_ratio),
            interpolation=augment.interpolation,
        )
        if augment.crop == "random_resized"
        else fit_to(image_size, interpolation=augment.interpolation)
    )
    return transforms.Compose([cut, transforms.PILToTensor()])


def eval_transform(
    *, image_size: Size, crop: float, mean: Sequence[float], std: Sequence[float]
) -> Callable[[Image], Tensor]:
    """Return the evaluation pipeline: PIL image -> 3 x H x W, float, normalised.

    The short side is resized (bicubic) to floor(image_size / crop), then the centre is cut out;
    up to 32 pixels the image is only fitted to its size. Where height and width are given, the
    whole image is resized to them (bilinear).

    Args:
        image_size: pixels of a side, or (height, width).
        crop: the short side is resized to image_size / crop.
        mean: 3 channel means, in [0, 1].
        std: 3 channel standard deviations.

    Source: recipes A.7 (DeiT ``build_transform``); D.1 (TransReID).
    """
    from torchvision import transforms

    normalise = transforms.Normalize(mean=list(mean), std=list(std))
    return transforms.Compose([_eval_fit(image_size, crop), transforms.ToTensor(), normalise])


def eval_crop(*, image_size: Size, crop: float) -> Callable[[Image], Tensor]:
    """Return ``eval_transform`` before it normalises: PIL image -> 3 x H x W, uint8.

    Args:
        image_size: pixels of a side, or (height, width).
        crop: the short side is resized to image_size / crop.
    """
    from torchvision import transforms

    return transforms.Compose([_eval_fit(image_size, crop), transforms.PILToTensor()])


def fit_to(
    image_size: Size, *, resized: int | None = None, interpolation: str = "bicubic"
) -> Callable[[Image], Image]:
    """Return a transform: short side to ``resized`` (default ``image_size``) pixels, centre crop.

    Where ``image_size`` is height and width, the whole image is resized to them.

    Args:
        image_size: pixels of a side, or (height, width).
        resized: pixels of the short side.
        interpolation: name of a torchvision ``InterpolationMode``.
    """
    from torchvision import transforms

    mode = transforms.InterpolationMode(interpolation)
    if not isinstance(image_size, int):
        return transforms.Resize(image_size, interpolation=mode)
    return transforms.Compose(
        [
            transforms.Resize(resized or image_size, interpolation=mode),
            transforms.CenterCrop(image_size),
        ]
    )


def short_side(image_size: int, crop: float) -> int:
    """Return the pixels that the short side is resized to for evaluation.

    Args:
        image_size: pixels of a side of what is then cut out.
        crop: image_size / short side, where images are not small.
    """
    return image_size if image_size <= SMALL else math.floor(image_size / crop)


def _eval_fit(image_size: Size, crop: float) -> Callable[[Image], Image]:
    if not isinstance(image_size, int):
        return fit_to(image_size, interpolation="bilinear")
    return fit_to(image_size, resized=short_side(image_size, crop))


def _plain_crop(augment: AugmentConfig, image_size: Size) -> Callable[[Image], Image]:
    from torchvision import transforms

    fit = fit_to(image_size, interpolation=augment.interpolation)
    if augment.crop == "none" or augment.shift == 0:
        return fit
    return transforms.Compose([fit, transforms.RandomCrop(image_size, padding=augment.shift)])
