"""Operations on levels: a table of 256 levels per image and channel, read in one gather.

All are exact to Pillow; those that depend on a factor or the image make their table on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from scaledrelu.data.device.ops import Change, Op

_LEVELS = np.arange(256)[None]
_SPLIT = 128  # SolarizeAdd changes what lies below


def look_up(ops: np.ndarray, amounts: np.ndarray) -> Change:
    """Return the change to new levels.

    Args:
        ops: n operations, rising.
        amounts: their amounts.
    """
    kinds = [Op.BRIGHTNESS, Op.CONTRAST, Op.AUTO_CONTRAST, Op.EQUALIZE]
    ends = [0, *np.searchsorted(ops, kinds).tolist(), len(ops)]
    known = known_tables(ops[: ends[1]], amounts[: ends[1]])
    return Change(partial(_look_up, ends=ends), (known, amounts.astype(np.float32)))


def _look_up(images: Tensor, known: Tensor, factors: Tensor, *, ends: list[int]) -> Tensor:
    """Return images with new levels.

    Args:
        images: n x 3 x H x W, uint8.
        known: the tables of the first images, from the host.
        factors: n, float32; only brightness and contrast have some.
        ends: where the images of each kind of table begin, and where the last ones end.
    """
    levels = torch.arange(256, device=images.device)
    tables_of = (
        lambda _: known[:, None],
        lambda part: brightness_tables(levels, factors[part]),
        lambda part: contrast_tables(images[part], levels, factors[part]),
        lambda part: auto_contrast_tables(images[part], levels),
        lambda part: equalize_tables(images[part], levels),
    )
    kinds = zip(tables_of, pairwise(ends), strict=True)
    tables = [
        of(slice(start, stop)).expand(-1, 3, -1) for of, (start, stop) in kinds if start < stop
    ]
    return torch.cat(tables).gather(2, images.flatten(2).long()).view_as(images)


def known_tables(ops: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Return n x 256 new levels, uint8.

    Args:
        ops: n operations that do not look at the image, nor multiply levels.
        amounts: their amounts.

    Source: Pillow ``ImageOps``; timm ``solarize_add``.
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


_KNOWN: dict[Op, Callable[[np.ndarray], np.ndarray]] = {
    Op.INVERT: lambda _: 255 - _LEVELS,
    Op.POSTERIZE: _posterize,
    Op.SOLARIZE: lambda first: np.where(first > _LEVELS, _LEVELS, 255 - _LEVELS),
    Op.SOLARIZE_ADD: _solarize_add,
}


def brightness_tables(levels: Tensor, factors: Tensor) -> Tensor:
    """Return n x 1 x 256 levels, moved away from black.

    Args:
        levels: 0 to 255, int64.
        factors: n, float32.

    Source: Pillow ``ImageEnhance.Brightness``.
    """
    return (levels * factors[:, None, None]).clamp_(0, 255).byte()


def contrast_tables(images: Tensor, levels: Tensor, factors: Tensor) -> Tensor:
    """Return n x 1 x 256 levels, moved away from the rounded mean of the grey image.

    Args:
        images: n x 3 x H x W, uint8.
        levels: 0 to 255, int64.
        factors: n, float32.

    Source: Pillow ``ImageEnhance.Contrast``.
    """
    grey = to_grey(images)
    count = grey[0].numel()
    total = grey.sum(dim=(1, 2), dtype=torch.int64)
    mean = (total + count // 2) // count
    return blend(mean[:, None, None], levels, factors[:, None, None])


def auto_contrast_tables(images: Tensor, levels: Tensor) -> Tensor:
    """Return n x 3 x 256 levels, so that each channel reaches from 0 to 255.

    Args:
        images: n x 3 x H x W, uint8.
        levels: 0 to 255, int64.

    Source: Pillow ``ImageOps.autocontrast``, in its double precision.
    """
    pixels = images.flatten(2)
    low = pixels.amin(2, keepdim=True).double()
    high = pixels.amax(2, keepdim=True)
    # A number by a tensor would be rounded twice. One level alone gives infinity, not used below.
    scale = levels[-1] / (high - low)
    stretched = (levels * scale - low * scale).clamp_(0, 255)
    return torch.where(high > low, stretched, levels).byte()


def equalize_tables(images: Tensor, levels: Tensor) -> Tensor:
    """Return n x 3 x 256 levels, so that each channel has about as many pixels of every level.

    Args:
        images: n x 3 x H x W, uint8.
        levels: 0 to 255, int64.

    Source: Pillow ``ImageOps.equalize``.
    """
    pixels = images.flatten(2).long()
    counts = torch.zeros(*pixels.shape[:2], 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, pixels, counts.new_ones(1).expand_as(pixels))
    brightest = counts.gather(2, images.flatten(2).amax(2, keepdim=True).long())
    step = (pixels.shape[2] - brightest) // 255
    below = counts.cumsum(2) - counts
    table = (below + step // 2) // step.clamp(min=1)
    return torch.where(step > 0, table.clamp_(max=255), levels).byte()


def to_grey(images: Tensor) -> Tensor:
    """Return n x H x W grey levels, int32.

    Args:
        images: n x 3 x H x W, uint8.

    Source: Pillow ``Image.convert("L")``.
    """
    red, green, blue = images.unbind(1)
    total = red.int().mul_(19595).add_(green, alpha=38470).add_(blue, alpha=7471).add_(0x8000)
    return total >> 16


def blend(first: Tensor, second: Tensor, factors: Tensor) -> Tensor:
    """Return ``first`` + factor x (``second`` - ``first``), cut to whole levels, uint8.

    Args:
        first: levels, whole numbers.
        second: levels, whole numbers.
        factors: float32.

    Source: Pillow ``Image.blend``, in its single precision.
    """
    first = first.float()
    return (second - first).mul_(factors).add_(first).clamp_(0, 255).byte()
