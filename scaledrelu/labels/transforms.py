"""What happens to an image and its label map together: the official TokenLabeling pipeline.

Flip and RandAugment come first and also move the map; the crop comes last, cuts the image only and
is returned as a box beside the map. Everything is drawn from the global generators of random, numpy
and torch, in the official order, before pixels are changed: only those of the crop are needed. The
image stays bytes, a quarter of the size of floats; it is normalised, and erased as drawn here, on
the device.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from PIL.Image import Resampling
from torch import Tensor

from scaledrelu.config.augment import AugmentConfig
from scaledrelu.config.data import UNLABELLED
from scaledrelu.data.crops import draw_box, resized
from scaledrelu.data.pixels import to_pixels
from scaledrelu.errors import ConfigError
from scaledrelu.labels.boxes import Box, Whole, changed_box
from scaledrelu.labels.erasing import DrawErasing, Erased
from scaledrelu.labels.rand_augment import Change, DrawRandAugment, moved_labels

if TYPE_CHECKING:
    from PIL.Image import Image

    from scaledrelu.data.crops import Picture
    from scaledrelu.data.regions import Encoded


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
    augment: AugmentConfig, *, image_size: int, mean: Sequence[float], decoder: str
) -> JointTransform:
    """Return the official training pipeline with label maps: (image, map) -> Labelled.

    Flip, RandAugment (or colour jitter where there is none), random resized crop, and the draws of
    erasing with per-pixel noise.

    Args:
        augment: the augmentation.
        image_size: side in pixels.
        mean: 3 channel means, in [0, 1]: what RandAugment fills in.
        decoder: filters of the crop: those of Pillow (pil) or of torch (tensor).

    Raises:
        ConfigError: another kind of crop, or a policy that is not RandAugment.
    Source: recipes B.3, B.4 (TLT ``label_transforms_factory.py: transforms_imagenet_train``).
    """
    from timm.data.transforms import RandomResizedCropAndInterpolation

    if augment.crop != "random_resized":
        raise ConfigError(
            f"augment.crop={augment.crop}: label maps need a random resized crop; set "
            f"augment.crop=random_resized, or {UNLABELLED}"
        )
    return JointTransform(
        hflip=augment.hflip,
        draw=_draw_changes(augment, image_size=image_size, mean=mean),
        crop=RandomResizedCropAndInterpolation(
            image_size,
            scale=tuple(augment.crop_scale),
            ratio=tuple(augment.crop_ratio),
            interpolation=augment.interpolation,
        ),
        resize=_resized_by_torch if decoder == "tensor" else _resized_by_pillow,
        erase=DrawErasing(augment.erasing) if augment.erasing else None,
    )


class JointTransform:
    """The steps of :func:`joint_train` in order; each step also handles the map."""

    def __init__(
        self,
        *,
        hflip: float,
        draw: Callable[[], Sequence[Change]],
        crop: Any,
        resize: Callable[[Image, Any, Any], Tensor],
        erase: Callable[[torch.Size], Erased | None] | None,
    ):
        self._hflip, self._draw, self._crop = hflip, draw, crop
        self._resize, self._erase = resize, erase

    def __call__(self, image: Picture | Encoded, labels: Tensor) -> Labelled:
        """Return the augmented image, its moved map, the box of the crop and what to erase.

        Args:
            image: RGB, of any size.
            labels: 2 x K x h x w; left unchanged.
        """
        mirrored = bool(self._hflip and torch.rand(1) < self._hflip)
        whole, labels = Whole(image, mirrored=mirrored), labels.flip(3) if mirrored else labels
        changes = self._draw()
        crop, size = self._crop, whole.box
        box = Box(*draw_box(whole.outline, crop.scale, crop.ratio))
        mode = crop.interpolation
        if isinstance(mode, tuple):
            mode = random.choice(mode)
        pixels = self._resize(changed_box(whole, changes, box), crop.size, mode)
        place = [box.top / size.height, box.left / size.width,
                 box.height / size.height, box.width / size.width]  # fmt: skip
        erased = None if self._erase is None else self._erase(pixels.shape)
        return Labelled(pixels, moved_labels(labels, changes), torch.tensor(place), erased)


def _draw_changes(
    augment: AugmentConfig, *, image_size: int, mean: Sequence[float]
) -> Callable[[], Sequence[Change]]:
    """Return what draws the changes between flip and crop."""
    if augment.rand_augment:
        return DrawRandAugment(
            augment.rand_augment,
            image_size=image_size,
            mean=mean,
            interpolation=augment.interpolation,
        )
    if not augment.color_jitter:
        return tuple
    from torchvision.transforms import ColorJitter

    # It draws when it is called; nothing else draws from torch's generator before that.
    jitter = Change("ColorJitter", ColorJitter(*[augment.color_jitter] * 3))
    return partial(tuple, (jitter,))


def _resized_by_pillow(image: Image, size: tuple[int, int], mode: Any) -> Tensor:
    return to_pixels(image.resize(size, Resampling[mode.name]))


def _resized_by_torch(image: Image, size: tuple[int, int], mode: Any) -> Tensor:
    return resized(to_pixels(image), size, mode.value)
