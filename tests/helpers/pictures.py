"""Images for tests of augmentation, and Pillow's answer to what is done to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.functional as F
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from timm.data.auto_augment import solarize_add
from torch import Tensor

from scaledrelu.data.device.ops import Layer, Op
from scaledrelu.data.pixels import to_pixels

FILL = (124, 116, 104)  # ImageNet's mean
_MOVED = {"resample": Image.Resampling.BICUBIC, "fillcolor": FILL}


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, **_MOVED)


# Every operation as Pillow, timm or torchvision does it to a PIL image.
OF_PILLOW: dict[Op, Callable[[Image.Image, float], Image.Image]] = {
    Op.INVERT: lambda image, _: ImageOps.invert(image),
    Op.POSTERIZE: lambda image, bits: ImageOps.posterize(image, int(bits)),
    Op.SOLARIZE: lambda image, first: ImageOps.solarize(image, int(first)),
    Op.SOLARIZE_ADD: lambda image, add: solarize_add(image, int(add)),
    Op.BRIGHTNESS: lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    Op.CONTRAST: lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    Op.AUTO_CONTRAST: lambda image, _: ImageOps.autocontrast(image),
    Op.EQUALIZE: lambda image, _: ImageOps.equalize(image),
    Op.SHEAR_X: lambda image, factor: _affine(image, 1, factor, 0, 0, 1, 0),
    Op.TRANSLATE_X: lambda image, share: _affine(image, 1, 0, share * image.width, 0, 1, 0),
    Op.SHEAR_Y: lambda image, factor: _affine(image, 1, 0, 0, factor, 1, 0),
    Op.TRANSLATE_Y: lambda image, share: _affine(image, 1, 0, 0, 0, 1, share * image.height),
    Op.ROTATE: lambda image, degrees: image.rotate(degrees, **_MOVED),
    Op.COLOR: lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    Op.GREY: lambda image, _: F.rgb_to_grayscale(image, 3),
    Op.HUE: F.adjust_hue,
    Op.SHARPNESS: lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    Op.BLUR: lambda image, deviation: image.filter(ImageFilter.GaussianBlur(deviation)),
}
# What the recipes ask for, from the weakest to the strongest.
AMOUNTS = {
    Op.POSTERIZE: (0, 1, 4), Op.SOLARIZE: (0, 26, 246), Op.SOLARIZE_ADD: (4, 99, 128),
    Op.BRIGHTNESS: (0.1, 0.6, 1.9), Op.CONTRAST: (0.1, 0.6, 1.9), Op.COLOR: (0.1, 0.8, 1.9),
    Op.SHARPNESS: (0.1, 0.7, 1.9), Op.SHEAR_X: (-0.3, 0.012, 0.27), Op.SHEAR_Y: (-0.3, 0.012, 0.27),
    Op.TRANSLATE_X: (-0.45, 0.0181, 0.4), Op.TRANSLATE_Y: (-0.45, 0.0181, 0.4),
    Op.ROTATE: (-30, 1.2, 27), Op.HUE: (-0.5, -0.1, 0.1), Op.BLUR: (0.1, 1.4142, 2.0),
}  # fmt: skip
MOVES = (Op.SHEAR_X, Op.TRANSLATE_X, Op.SHEAR_Y, Op.TRANSLATE_Y, Op.ROTATE)


@cache
def pictures(count: int, height: int, width: int) -> Tensor:
    """Return uint8 images: smooth ones with a little noise, and every other one all noise."""
    draw = np.random.RandomState(0)
    noise = draw.randint(0, 256, (count, height, width, 3), dtype=np.uint8)
    for index in range(0, count, 2):
        coarse = draw.randint(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        grain = draw.normal(0, 3, (height, width, 3))
        noise[index] = np.clip(np.asarray(smooth) + grain, 0, 255)
    return torch.from_numpy(noise).permute(0, 3, 1, 2).contiguous()


def to_pil(image: Tensor) -> Image.Image:
    """Return a uint8 tensor as a PIL image."""
    return F.to_pil_image(image)


def layer(ops: list[Op], amounts: list[float]) -> Layer:
    """Return one operation for each image."""
    return Layer(np.array(ops, dtype=np.int64), np.array(amounts, dtype=float))


def by_pillow(images: Tensor, layers: list[Layer]) -> Tensor:
    """Return the images after all layers, as Pillow makes them."""
    found = [to_pil(image) for image in images]
    for one in layers:
        for i, (op, amount) in enumerate(zip(one.ops.tolist(), one.amounts.tolist(), strict=True)):
            if op:
                found[i] = OF_PILLOW[Op(op)](found[i], amount)
    return torch.stack([to_pixels(image) for image in found])


def distance(found: Tensor, expected: Tensor) -> Tensor:
    """Return the differences in levels."""
    return (found.int() - expected.int()).abs()


@dataclass(frozen=True, slots=True)
class Golden:
    """An operation of timm 0.3.2 as recorded: image, name, argument, result."""

    key: str
    image: Tensor
    name: str
    amount: float
    expected: Tensor


def golden_operations(fixtures: Path) -> Iterator[Golden]:
    """Yield the recorded operations."""
    arrays = {
        key: torch.from_numpy(array).permute(2, 0, 1)
        for key, array in np.load(fixtures / "randaugment.npz").items()
    }
    arguments = json.loads((fixtures / "randaugment.json").read_text())["level_args"]
    for key, (*amount,) in arguments.items():
        image, name, *_ = key.split("__")
        yield Golden(key, arrays[f"in_{image}"], name, sum(amount), arrays[key])


def as_tensor(image: Image.Image) -> Tensor:
    """Return the levels of a PIL image, channels first."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def gradient(height: int = 40, width: int = 60) -> Image.Image:
    """Return an image whose red channel counts columns and whose green channel counts rows."""
    r, c = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([4 * c, 4 * r, 0 * r], -1).astype(np.uint8))
