"""What happens to an image and its label map together: the official TokenLabeling pipeline.

Flip and RandAugment come first and also move the map; the crop comes last, cuts the image only and
is returned as a box beside the map. Everything is drawn from the global generators of random, numpy
and torch, in the official order. The image stays bytes, a quarter of the size of floats; it is
normalised, and erased as drawn here, on the device.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL.Image import Resampling, Transpose
from torch import Tensor

from scaledrelu.config.augment import AugmentConfig
from scaledrelu.errors import ConfigError
from scaledrelu.labels.erasing import DrawErasing, Erased
from scaledrelu.labels.rand_augment import JointRandAugment

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Labelled:
    """One training image with its labels.

    Attributes:
        image: 3 x H x W, uint8, pixel by pixel in memory.
        map: 2 x K x h x w, half; of the whole image before the crop.
        box: the crop as (top, left, height, width) fractions of that image, float32.
        erased: what is to be erased of the normalised image; None = nothing.
    """

    image: Tensor
    map: Tensor
    box: Tensor
    erased: Erased | None

    @staticmethod
    def collate(
        found: Sequence[Labelled], stack: Callable[[Sequence[Tensor]], Tensor]
    ) -> dict[str, Tensor]:
        """Return fields of ``RawBatch``.

        Args:
            found: results for the images of a batch.
            stack: function that joins alike tensors.
        """
        return {
            "images": stack([one.image for one in found]),
            "maps": stack([one.map for one in found]),
            "boxes": stack([one.box for one in found]),
            **Erased.collate([one.erased for one in found], stack),
        }


def joint_train(
    augment: AugmentConfig, *, image_size: int, mean: Sequence[float]
) -> JointTransform:
    """Return the official training pipeline with label maps: (PIL image, map) -> Labelled.

    Flip, RandAugment (or colour jitter where there is none), random resized crop, and the draws of
    erasing with per-pixel noise.

    Args:
        augment: the augmentation.
        image_size: side in pixels.
        mean: 3 channel means, in [0, 1]: what RandAugment fills in.

    Raises:
        ConfigError: another kind of crop, or a policy that is not RandAugment.
    Source: recipes B.3, B.4 (TLT ``label_transforms_factory.py: transforms_imagenet_train``).
    """
    from timm.data.transforms import RandomResizedCropAndInterpolation

    if augment.crop != "random_resized":
        raise ConfigError(
            f"augment.crop={augment.crop}: label maps need a random resized crop; set "
            "augment.crop=random_resized, or data.token_labels=none"
        )
    colour: Any = None
    if augment.rand_augment:
        colour = JointRandAugment(
            augment.rand_augment,
            image_size=image_size,
            mean=mean,
            interpolation=augment.interpolation,
        )
    elif augment.color_jitter:
        from torchvision.transforms import ColorJitter

        colour = _ImageOnly(ColorJitter(*[augment.color_jitter] * 3))
    return JointTransform(
        hflip=augment.hflip,
        colour=colour,
        crop=RandomResizedCropAndInterpolation(
            image_size,
            scale=tuple(augment.crop_scale),
            ratio=tuple(augment.crop_ratio),
            interpolation=augment.interpolation,
        ),
        erase=DrawErasing(augment.erasing) if augment.erasing else None,
    )


class JointTransform:
    """The steps of :func:`joint_train` in order; each step also handles the map."""

    def __init__(
        self,
        *,
        hflip: float,
        colour: Callable[[Image, Tensor], tuple[Image, Tensor]] | None,
        crop: Any,
        erase: Callable[[torch.Size], Erased | None] | None,
    ):
        self._hflip, self._colour, self._crop, self._erase = hflip, colour, crop, erase

    def __call__(self, image: Image, labels: Tensor) -> Labelled:
        """Return the augmented image, its moved map, the box of the crop and what to erase.

        Args:
            image: RGB, of any size.
            labels: 2 x K x h x w; left unchanged.
        """
        if self._hflip and torch.rand(1) < self._hflip:
            image, labels = image.transpose(Transpose.FLIP_LEFT_RIGHT), labels.flip(3)
        if self._colour is not None:
            image, labels = self._colour(image, labels)
        image, box = self._cut(image)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        erased = None if self._erase is None else self._erase(pixels.shape)
        return Labelled(pixels, labels, box, erased)

    def _cut(self, image: Image) -> tuple[Image, Tensor]:
        """Cut out and resize a random box; return it and its place in fractions of the image."""
        crop = self._crop
        top, left, height, width = crop.get_params(image, crop.scale, crop.ratio)
        box = torch.tensor(
            [top / image.height, left / image.width, height / image.height, width / image.width]
        )
        mode = crop.interpolation
        if isinstance(mode, tuple):
            mode = random.choice(mode)
        part = image.crop((left, top, left + width, top + height))
        return part.resize(crop.size, Resampling[mode.name]), box


class _ImageOnly:
    """A change of the image that leaves the map as it is."""

    def __init__(self, change: Callable[[Image], Image]):
        self._change = change

    def __call__(self, image: Image, labels: Tensor) -> tuple[Image, Tensor]:
        return self._change(image), labels
