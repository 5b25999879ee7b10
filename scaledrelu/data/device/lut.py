"""Operations on levels: a table of 256 levels per image and channel, read in one gather.

All are exact to Pillow; the three that depend on the image make their table on the device.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from scaledrelu.data.device.draws import sent
from scaledrelu.data.device.ops import Op

_LEVELS = np.arange(256)[None]
_SPLIT = 128  # SolarizeAdd changes what lies below


def look_up(images: Tensor, ops: np.ndarray, amounts: np.ndarray) -> Tensor:
    """Return images with new levels.

    Args:
        images: n x 3 x H x W, uint8.
        ops: n operations, rising.
        amounts: their amounts.
    """
    ends = np.searchsorted(ops, [Op.CONTRAST, Op.AUTO_CONTRAST, Op.EQUALIZE]).tolist()
    known, contrast, auto_contrast = ends
    tables = torch.empty(len(images), 3, 256, dtype=torch.uint8, device=images.device)
    if known:
        tables[:known] = sent(known_tables(ops[:known], amounts[:known]), images.device)[:, None]
    if known < contrast:
        factors = sent(amounts[known:contrast].astype(np.float32), images.device)
        tables[known:contrast] = contrast_tables(images[known:contrast], factors)
    if contrast < auto_contrast:
        tables[contrast:auto_contrast] = auto_contrast_tables(images[contrast:auto_contrast])
    if auto_contrast < len(images):
        tables[auto_contrast:] = equalize_tables(images[auto_contrast:])
    start = torch.arange(0, tables.numel(), 256, device=images.device, dtype=torch.int32)
    where = images.flatten(2).int().add_(start.view(-1, 3, 1))
    return tables.view(-1).index_select(0, where.view(-1)).view_as(images)


def known_tables(ops: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Return n x 256 new levels, uint8.

    Args:
        ops: n operations that do not look at the image.
        amounts: their amounts.

    Source: Pillow ``ImageOps``, ``ImageEnhance.Brightness``; timm ``solarize_add``.
    """
    tables = np.empty((len(ops), 256), dtype=np.uint8)
    for op, table in _KNOWN.items():
        chosen = ops == op
        tables[chosen] = table(amounts[chosen, None])
    return tables


def _posterize(bits: np.ndarray) -> np.ndarray:
    return _LEVELS & ~(2 ** (8 - np.minimum(bits, 8).astype(np.int64)) - 1)


def _solarize_add(add: np.ndarray) -> np.ndarray:
    return np.where(_LEVELS < _SPLIT, np.minimum(255, _LEVELS + add), _LEVELS)


def _brightness(factor: np.ndarray) -> np.ndarray:
    return np.clip(factor.astype(np.float32) * _LEVELS.astype(np.float32), 0, 255)


_KNOWN: dict[Op, Callable[[np.ndarray], np.ndarray]] = {
    Op.INVERT: lambda _: 255 - _LEVELS,
    Op.POSTERIZE: _posterize,
    Op.SOLARIZE: lambda first: np.where(first > _LEVELS, _LEVELS, 255 - _LEVELS),
    Op.SOLARIZE_ADD: _solarize_add,
    Op.BRIGHTNESS: _brightness,
}


def contrast_tables(images: Tensor, factors: Tensor) -> Tensor:
    """Return n x 1 x 256 levels, moved away from the rounded mean of the grey image.

    Args:
        images: n x 3 x H x W, uint8.
        factors: n, float32.

    Source: Pillow ``ImageEnhance.Contrast``.
    """
    grey = to_grey(images)
    count = grey[0].numel()
    total = grey.sum(dim=(1, 2), dtype=torch.int64)
    mean = torch.div(2 * total + count, 2 * count, rounding_mode="floor")
    levels = torch.arange(256, device=images.device)
    return blend(mean.view(-1, 1, 1), levels, factors.view(-1, 1, 1))


def auto_contrast_tables(images: Tensor) -> Tensor:
    """Return n x 3 x 256 levels, so that each channel reaches from 0 to 255.

    Args:
        images: n x 3 x H x W, uint8.

    Source: Pillow ``ImageOps.autocontrast``, in its double precision.
    """
    pixels = images.flatten(2)
    low = pixels.amin(2, keepdim=True).double()
    high = pixels.amax(2, keepdim=True).double()
    levels = torch.arange(256, device=images.device, dtype=torch.float64)
    # A number by a tensor would be rounded twice. One level alone gives infinity, not used below.
    scale = torch.full_like(low, 255.0) / (high - low)
    stretched = (levels * scale + -low * scale).clamp_(0, 255)
    return torch.where(high > low, stretched, levels).byte()


def equalize_tables(images: Tensor) -> Tensor:
    """Return n x 3 x 256 levels, so that each channel has about as many pixels of every level.

    Args:
        images: n x 3 x H x W, uint8.

    Source: Pillow ``ImageOps.equalize``.
    """
    levels = torch.arange(256, device=images.device)
    pixels = images.flatten(2).long()
    counts = torch.zeros(*pixels.shape[:2], 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, pixels, counts.new_ones(1).expand_as(pixels))
    brightest = counts.gather(2, images.flatten(2).amax(2, keepdim=True).long())
    step = torch.div(pixels.shape[2] - brightest, 255, rounding_mode="floor")
    below = counts.cumsum(2) - counts
    table = torch.div(
        below + torch.div(step, 2, rounding_mode="floor"), step.clamp(min=1), rounding_mode="floor"
    )
    return torch.where(step > 0, table.clamp_(max=255), levels).byte()


def to_grey(images: Tensor) -> Tensor:
    """Return n x H x W grey levels, int32.

    Args:
        images: n x 3 x H x W, uint8.

    Source: Pillow ``Image.convert("L")``.
    """
    red, green, blue = images.int().unbind(1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def blend(first: Tensor, second: Tensor, factors: Tensor) -> Tensor:
    """Return ``first`` + factor x (``second`` - ``first``), cut to whole levels, uint8.

    Args:
        first: levels, whole numbers.
        second: levels, whole numbers.
        factors: float32.

    Source: Pillow ``Image.blend``, in its single precision.
    """
    first = first.float()
    change = second.float() - first
    return change.mul_(factors).add_(first).clamp_(0, 255).byte()
