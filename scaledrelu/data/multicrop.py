"""DINO's views of one image: two large crops and some small ones, each augmented on its own.

Everything is drawn from the global generators of random and torch. Crops leave as bytes, a quarter
of what floats would be to carry; whoever receives them normalises.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import ImageFilter
from torch import Tensor
from torch.utils.data import default_collate

from scaledrelu.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

NUM_GLOBAL = 2
BLUR_RADIUS = (0.1, 2.0)  # pixels; DINO utils.py ``GaussianBlur``
SOLARIZE_FROM = 128  # grey level; Pillow's default, which DINO keeps
_KINDS = 3  # of views: first global crop, second, local ones


@dataclass(frozen=True, slots=True)
class Crops:
    """The views of one image.

    Attributes:
        images: global crops, 3 x H x W each, uint8.
        local: local crops, 3 x h x w each, uint8; maybe none.
    """

    images: tuple[Tensor, ...]
    local: tuple[Tensor, ...]

    @staticmethod
    def collate(found: Sequence[Crops]) -> dict[str, Tensor]:
        """Return fields of ``RawBatch``: crop by crop, each of all images."""
        tensors = {"images": _by_crop([crops.images for crops in found])}
        if found[0].local:
            tensors["local"] = _by_crop([crops.local for crops in found])
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


def multi_crop(
    *,
    image_size: int,
    num_local: int,
    local_size: int,
    global_scale: Sequence[float],
    local_scale: Sequence[float],
    crop_ratio: Sequence[float],
    interpolation: str,
    hflip: float,
    jitter: Sequence[float],
    jitter_prob: float,
    grey_prob: float,
    blur_prob: Sequence[float],
    solarize_prob: float,
) -> MultiCrop:
    """Return DINO's augmentation; what has probability 0 is not there at all.

    Every view: random resized crop, flip, colour jitter, grey, blur, on the second global crop
    solarisation, all on 8-bit images.

    Args:
        image_size: of the global crops, pixels.
        num_local: local crops.
        local_size: of the local crops, pixels.
        global_scale: area of a global crop as fractions of the image.
        local_scale: of a local one.
        crop_ratio: aspect of all crops.
        interpolation: name of a torchvision ``InterpolationMode``.
        hflip: probability.
        jitter: strength in brightness, contrast, saturation and hue, applied in a random order.
        jitter_prob: probability.
        grey_prob: probability.
        blur_prob: probabilities for the first global crop, the second and the local ones.
        solarize_prob: probability, for the second global crop.

    Raises:
        ConfigError: for values that no crop or probability can have.
    Source: DINO main_dino.py ``DataAugmentationDINO``; recipes C.1.
    """
    from torchvision import transforms

    probabilities = {
        "hflip": [hflip],
        "multi_crop.jitter_prob": [jitter_prob],
        "multi_crop.grey_prob": [grey_prob],
        "multi_crop.blur_prob": blur_prob,
        "multi_crop.solarize_prob": [solarize_prob],
    }
    _check(probabilities, {"global_scale": global_scale, "local_scale": local_scale}, num_local)
    mode = transforms.InterpolationMode(interpolation)
    colour: list[Any] = []
    if hflip:
        colour.append(transforms.RandomHorizontalFlip(hflip))
    if jitter_prob and any(jitter):
        colour.append(transforms.RandomApply([transforms.ColorJitter(*jitter)], jitter_prob))
    if grey_prob:
        colour.append(transforms.RandomGrayscale(grey_prob))
    views = []
    for view, blur in enumerate(blur_prob):
        size, scale = (image_size, global_scale) if view < NUM_GLOBAL else (local_size, local_scale)
        crop = transforms.RandomResizedCrop(size, tuple(scale), tuple(crop_ratio), mode)
        late: list[Any] = [RandomBlur(blur)] if blur else []
        if view == 1 and solarize_prob:
            late.append(transforms.RandomSolarize(SOLARIZE_FROM, solarize_prob))
        views.append(transforms.Compose([crop, *colour, *late, transforms.PILToTensor()]))
    return MultiCrop(views, num_local=num_local)


class RandomBlur:
    """Pillow's Gaussian blur with a random radius.

    Args:
        probability: of blurring at all.
    """

    def __init__(self, probability: float):
        self._probability = probability

    def __call__(self, image: Image) -> Image:
        """Return the image, blurred or as it is."""
        if random.random() >= self._probability:
            return image
        return image.filter(ImageFilter.GaussianBlur(random.uniform(*BLUR_RADIUS)))


def _by_crop(images: Sequence[tuple[Tensor, ...]]) -> Tensor:
    # Through default_collate: in a loader process it stacks into memory that the trainer shares.
    return default_collate([crops[view] for view in range(len(images[0])) for crops in images])


def _check(
    probabilities: dict[str, Sequence[float]], scales: dict[str, Sequence[float]], num_local: int
) -> None:
    for name, values in probabilities.items():
        if not all(0 <= value <= 1 for value in values):
            raise ConfigError(f"augment.{name}={_text(values)}: must lie in [0, 1]")
    blur = probabilities["multi_crop.blur_prob"]
    if len(blur) != _KINDS:
        raise ConfigError(
            f"augment.multi_crop.blur_prob={_text(blur)}: needs {_KINDS} values, for the first "
            "global crop, the second and the local ones"
        )
    for name, scale in scales.items():
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise ConfigError(
                f"augment.multi_crop.{name}={_text(scale)}: must be [smallest, largest] area with "
                "0 < smallest <= largest <= 1"
            )
    if num_local < 0:
        raise ConfigError(f"augment.multi_crop.num_local={num_local}: must not be negative")


def _text(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
