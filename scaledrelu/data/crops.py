"""The host's part of augmentation on tensors of bytes: cut and resize, as Pillow would.

An image is decoded once and cut as often as needed. Boxes are drawn from the global generator of
``random``. Crops have the three values of a pixel side by side in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scaledrelu.config.augment import AugmentConfig
from scaledrelu.data.multicrop import NUM_GLOBAL, MultiCrop
from scaledrelu.data.pixels import to_pixels
from scaledrelu.data.regions import Encoded
from scaledrelu.data.transforms import Size, short_side

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = Image | Tensor


class RandomCrop:
    """Cut a random box out of an image and resize it.

    Args:
        size: pixels of a side, or (height, width).
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width over height.
        interpolation: bicubic | bilinear.

    Source: recipes A.5 step 1 (timm ``RandomResizedCropAndInterpolation``).
    """

    def __init__(
        self, size: Size, *, scale: Sequence[float], ratio: Sequence[float], interpolation: str
    ):
        self._scale, self._ratio = tuple(scale), tuple(ratio)
        self._size, self._interpolation = size, interpolation

    def __call__(self, image: Picture | Encoded) -> Tensor:
        """Return 3 x H x W, uint8."""
        if isinstance(image, Encoded):
            box = image.crop(*draw_box(image.outline, self._scale, self._ratio))
        else:
            pixels = to_pixels(image)
            top, left, height, width = draw_box(pixels, self._scale, self._ratio)
            box = pixels[:, top : top + height, left : left + width]
        return resized(box, self._size, self._interpolation)


class Fitted:
    """Resize the short side of an image and cut out its centre.

    Args:
        size: pixels of a side; or (height, width), to which the whole image is resized.
        short_side: what the short side is resized to.
        interpolation: bicubic | bilinear.
    """

    def __init__(self, size: Size, *, short_side: int | None = None, interpolation: str):
        self._size, self._interpolation = size, interpolation
        self._short_side = short_side or size

    def __call__(self, image: Picture) -> Tensor:
        """Return 3 x H x W, uint8."""
        from torchvision.transforms import functional

        pixels = to_pixels(image)
        if not isinstance(self._size, int):
            return resized(pixels, self._size, self._interpolation)
        height, width = pixels.shape[1:]
        # The long side is cut off, not rounded, as in torchvision's Resize.
        sides = [int(self._short_side * side / min(height, width)) for side in (height, width)]
        if sides != [height, width]:
            pixels = resized(pixels, sides, self._interpolation)
        return functional.center_crop(pixels, [self._size])


def crop_tensor(augment: AugmentConfig, *, image_size: Size) -> Callable[[Picture], Tensor]:
    """Return ``transforms.crop_train`` for tensors: image -> 3 x H x W, uint8.

    Args:
        augment: how images are cropped.
        image_size: pixels of a side, or (height, width).
    """
    if augment.crop != "random_resized":
        return Fitted(image_size, interpolation=augment.interpolation)
    return RandomCrop(
        image_size,
        scale=augment.crop_scale,
        ratio=augment.crop_ratio,
        interpolation=augment.interpolation,
    )


def eval_tensor(*, image_size: Size, crop: float) -> Callable[[Picture], Tensor]:
    """Return ``transforms.eval_transform`` for tensors, before it normalises.

    Args:
        image_size: pixels of a side, or (height, width).
        crop: the short side is resized to image_size / crop.
    """
    if not isinstance(image_size, int):
        return Fitted(image_size, interpolation="bilinear")
    resized_to = short_side(image_size, crop)
    return Fitted(image_size, short_side=resized_to, interpolation="bicubic")


def multi_crop_tensor(augment: AugmentConfig, *, image_size: int) -> MultiCrop:
    """Return the crops of ``multicrop.multi_crop`` for tensors, without what follows the crop.

    Args:
        augment: ``multi_crop`` and, for all crops, aspect and interpolation.
        image_size: side of the global crops in pixels.

    Source: DINO main_dino.py ``DataAugmentationDINO``; recipes C.1.
    """
    crops = augment.multi_crop
    assert crops is not None
    shared = {"ratio": augment.crop_ratio, "interpolation": augment.interpolation}
    large = RandomCrop(image_size, scale=crops.global_scale, **shared)
    small = RandomCrop(crops.local_size, scale=crops.local_scale, **shared)
    return MultiCrop([*[large] * NUM_GLOBAL, small], num_local=crops.num_local)


def draw_box(
    image: Tensor, scale: Sequence[float], ratio: Sequence[float]
) -> tuple[int, int, int, int]:
    """Return first row and column, rows and columns of a random box, at least one of each.

    Args:
        image: 3 x h x w.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width over height.

    Source: recipes A.5 step 1 (timm ``RandomResizedCropAndInterpolation``).
    """
    from timm.data.transforms import RandomResizedCropAndInterpolation

    draw = RandomResizedCropAndInterpolation.get_params
    top, left, height, width = draw(image, scale, ratio)
    # In images of a few pixels timm rounds a side to nothing now and then.
    rows, columns = image.shape[1:]
    return min(top, rows - 1), min(left, columns - 1), max(height, 1), max(width, 1)


def resized(image: Tensor, size: Size | Sequence[int], interpolation: str) -> Tensor:
    """Return an image resized with antialiasing, in whole levels between the two passes as Pillow.

    Args:
        image: 3 x h x w, uint8; any part of a larger one.
        size: pixels of a side, or height and width.
        interpolation: bicubic | bilinear.
    """
    # image[None] would count as channels-first and take the slow kernel; copying a slice costs
    # less.
    rows = image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    pixels = rows.contiguous(memory_format=torch.channels_last)
    return torch.nn.functional.interpolate(pixels, size=size, mode=interpolation, antialias=True)[0]
