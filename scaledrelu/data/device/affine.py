"""Rotations, shears and translations of uint8 images as Pillow makes them, each its own.

Cubic filter with a = -1, neighbours outside the image clamped to its edge, and a fill colour where
the source point itself lies outside. Source points are those of Pillow to the last bit; levels are
within one of Pillow's, almost all of them equal.

Source: recipes J.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from scaledrelu.data.device.draws import sent
from scaledrelu.data.device.ops import Op

_ALONG_ROWS, _ALONG_COLUMNS = (Op.SHEAR_X, Op.TRANSLATE_X), (Op.SHEAR_Y, Op.TRANSLATE_Y)


def mirror(images: Tensor, chosen: np.ndarray) -> Tensor:
    """Return the images, the chosen ones with left and right exchanged.

    Args:
        images: n x 3 x H x W.
        chosen: n booleans.
    """
    return torch.where(sent(chosen, images.device)[:, None, None, None], images.flip(-1), images)


def move(images: Tensor, ops: np.ndarray, amounts: np.ndarray, *, fill: Sequence[int]) -> Tensor:
    """Return moved images.

    Args:
        images: n x 3 x H x W, uint8.
        ops: n moves, all along rows, or all along columns, or all rotations.
        amounts: their amounts.
        fill: 3 levels for what comes in from outside.
    """
    height, width = images.shape[-2:]
    matrices = source_points(ops, amounts, height, width)
    a, b, c, d, e, f = sent(matrices, images.device)[:, :, None, None].unbind(1)
    x = torch.arange(width, device=images.device, dtype=torch.float64) + 0.5
    y = torch.arange(height, device=images.device, dtype=torch.float64)[:, None] + 0.5
    # Along an axis that does not move, the filter would only return the pixel itself.
    columns = None if ops[0] in _ALONG_COLUMNS else a * x + b * y + c
    rows = None if ops[0] in _ALONG_ROWS else d * x + e * y + f
    return _sample(images, rows, columns, fill)


def source_points(ops: np.ndarray, amounts: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return n x 6: point (X, Y) of an image comes from (a X + b Y + c, d X + e Y + f), float64.

    Points are counted from the corner of the image, so that pixels have their centres at 0.5.

    Args:
        ops: n moves.
        amounts: their amounts.
        height: image height in pixels.
        width: image width in pixels.

    Source: timm ``auto_augment.py``; Pillow ``Image.rotate``.
    """
    return np.array(
        [
            _MATRICES[op](amount, height, width)
            for op, amount in zip(ops.tolist(), amounts.tolist(), strict=True)
        ]
    )


def _rotation(degrees: float, height: int, width: int) -> tuple[float, ...]:
    angle = -math.radians(degrees % 360.0)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = width / 2, height / 2
    return cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y


_MATRICES: dict[int, Callable[[float, int, int], tuple[float, ...]]] = {
    Op.SHEAR_X: lambda factor, height, width: (1.0, factor, 0.0, 0.0, 1.0, 0.0),
    Op.SHEAR_Y: lambda factor, height, width: (1.0, 0.0, 0.0, factor, 1.0, 0.0),
    Op.TRANSLATE_X: lambda share, height, width: (1.0, 0.0, share * width, 0.0, 1.0, 0.0),
    Op.TRANSLATE_Y: lambda share, height, width: (1.0, 0.0, 0.0, 0.0, 1.0, share * height),
    Op.ROTATE: _rotation,
}


def _sample(
    images: Tensor, rows: Tensor | None, columns: Tensor | None, fill: Sequence[int]
) -> Tensor:
    """Return the images at source points (n x H x W, float64); None = the pixel's own."""
    num, channels, height, width = images.shape
    own = torch.arange(height * width, device=images.device, dtype=torch.int32)[None]
    row_taps, down = _taps(rows, height, own // width)
    column_taps, along = _taps(columns, width, own % width)
    pixels = images.flatten(2).float()
    lines = []
    for row in row_taps:
        places = [(row * width + column).long()[:, None] for column in column_taps]
        taps = [pixels.gather(2, place.expand(num, channels, -1)) for place in places]
        lines.append(_cubic(taps, along))
    levels = _cubic(lines, down).clamp_(0, 255).byte()
    colour = torch.tensor(fill, dtype=torch.uint8).to(images.device, non_blocking=True)
    outside = _outside(rows, height) | _outside(columns, width)
    return torch.where(outside.view(-1, 1, height * width), colour[:, None], levels).view_as(images)


def _taps(points: Tensor | None, size: int, own: Tensor) -> tuple[list[Tensor], Tensor | None]:
    """Return the four clamped neighbours of points, and the way from the second to the third.

    Neighbours are n x HW, int32; the way is n x 1 x HW, float32.
    """
    if points is None:
        return [own], None
    points = points.flatten(1) - 0.5
    base = points.floor()
    way = (points - base).float()[:, None]
    base = base.int()
    return [(base + k).clamp_(0, size - 1) for k in (-1, 0, 1, 2)], way


def _outside(points: Tensor | None, size: int) -> Tensor | bool:
    return False if points is None else (points < 0) | (points >= size)


def _cubic(taps: Sequence[Tensor], way: Tensor | None) -> Tensor:
    """Return the cubic filter of four neighbours, as differences: exact where all are equal.

    Products and sums are kept apart: a GPU would round a fused one in another way than a CPU.
    """
    if way is None:
        return taps[0]
    first, second, third, fourth = taps
    value = (first - second).mul_(way * (way * (2 - way) - 1))
    value += (third - second).mul_(way * (way * (1 - way) + 1))
    value += (fourth - second).mul_(way * way * (way - 1))
    return value.add_(second)
