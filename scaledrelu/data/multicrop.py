"""DINO's views of one image: two large crops and some small ones, each augmented on its own.

Everything is drawn from the global generators of random and torch. Crops stay bytes, a quarter of
the size of floats; they are normalised on the device.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import ImageFilter
from torch import Tensor

from scaledrelu.config.augment import AugmentConfig, MultiCropConfig

if TYPE_CHECKING:
    from PIL.Image import Image

NUM_GLOBAL = 2
BLUR_RADIUS = (0.1, 2.0)  # pixels; DINO utils.py ``GaussianBlur``
SOLARIZE_FROM = 128  # grey level; Pillow's default, which DINO keeps


@dataclass(frozen=True, slots=True)
class Crops:
    """The views of one image.

    Attributes:
        images: global crops, 3 x H x W each, uint8.
        local: local crops, 3 x h x w each, uint8; may be empty.
    """

    images: tuple[Tensor, ...]
    local: tuple[Tensor, ...]

    @staticmethod
    def collate(
        found: Sequence[Crops], stack: Callable[[Sequence[Tensor]], Tensor]
    ) -> dict[str, Tensor]:
        """Return fields of ``RawBatch``: crop by crop, each of all images.

        Args:
            found: crops of the images of a batch.
            stack: function that joins alike tensors.
        """
        tensors = {"images": stack(_by_crop([crops.images for crops in found]))}
        if found[0].local:
            tensors["local"] = stack(_by_crop([crops.local for crops in found]))
        return tensors


class MultiCrop:
    """PIL image -> Crops.

    Args:
        transforms: one for each global crop, and the one of all local crops.
        num_local: local crops.
    """

    def __init__(self, transforms: Sequence[Callable[[Image], Tensor]], *, num_local: int):
        *self._global, self._local = transforms
        self._num_local = num_local

    def __call__(self, image: Image) -> Crops:
        """Return the views, drawn in the order in which they are returned."""
        large = tuple(transform(image) for transform in self._global)
        return Crops(large, tuple(self._local(image) for _ in range(self._num_local)))


def multi_crop(augment: AugmentConfig, *, image_size: int) -> MultiCrop:
    """Return DINO's augmentation; a step with probability 0 is left out.

    Every view: random resized crop, flip, colour jitter, grey, blur and, for the second global
    crop, solarisation, all on 8-bit images. With ``pipeline=device`` the crop alone: the rest is
    in ``device/crops.py``.

    Args:
        augment: ``multi_crop`` and, for all crops, aspect, interpolation and flip.
        image_size: side of the global crops in pixels.

    Source: DINO main_dino.py ``DataAugmentationDINO``; recipes C.1.
    """
    from torchvision import transforms

    crops = augment.multi_crop
    assert crops is not None
    mode = transforms.InterpolationMode(augment.interpolation)
    views = []
    for view in range(NUM_GLOBAL + 1):
        is_global = view < NUM_GLOBAL
        size, scale = (
            (image_size, crops.global_scale) if is_global else (crops.local_size, crops.local_scale)
        )
        crop = transforms.RandomResizedCrop(size, scale, augment.crop_ratio, mode)
        steps = [*_colour(augment), *_late(crops, view)] if crops.pipeline == "reference" else []
        views.append(transforms.Compose([crop, *steps, transforms.PILToTensor()]))
    return MultiCrop(views, num_local=crops.num_local)


def _colour(augment: AugmentConfig) -> list[Any]:
    """Return the steps that all views share."""
    from torchvision import transforms

    crops = augment.multi_crop
    assert crops is not None
    steps: list[Any] = []
    if augment.hflip:
        steps.append(transforms.RandomHorizontalFlip(augment.hflip))
    if crops.jitter_prob and any(crops.jitter):
        jitter = transforms.ColorJitter(*crops.jitter)
        steps.append(transforms.RandomApply([jitter], crops.jitter_prob))
    if crops.grey_prob:
        steps.append(transforms.RandomGrayscale(crops.grey_prob))
    return steps


def _late(crops: MultiCropConfig, view: int) -> list[Any]:
    """Return the steps that views do not share."""
    from torchvision import transforms

    blur = crops.blur_prob[view]
    steps: list[Any] = [RandomBlur(blur)] if blur else []
    if view == 1 and crops.solarize_prob:
        steps.append(transforms.RandomSolarize(SOLARIZE_FROM, crops.solarize_prob))
    return steps


class RandomBlur:
    """Pillow's Gaussian blur with a random radius.

    Args:
        probability: share of the images that are blurred, in [0, 1].
    """

    def __init__(self, probability: float):
        self._probability = probability

    def __call__(self, image: Image) -> Image:
        """Return the image, blurred or as it is."""
        if random.random() >= self._probability:
            return image
        return image.filter(ImageFilter.GaussianBlur(random.uniform(*BLUR_RADIUS)))


def _by_crop(images: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    return [crops[view] for view in range(len(images[0])) for crops in images]
