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
from scaledrelu.data.device.ops import Change, Op

_DOWN = (Op.SHEAR_Y, Op.TRANSLATE_Y)
_NEIGHBOURS = np.array([0, -1, 1, 2])[:, None]  # the others' levels are compared to the first one's


def mirror(images: Tensor, chosen: np.ndarray) -> Tensor:
    """Return the images, the chosen ones with left and right exchanged.

    Args:
        images: n x 3 x H x W.
        chosen: n booleans.
    """
    (chosen,) = sent([chosen[:, None, None, None]], images.device)
    return torch.where(chosen, images.flip(-1), images)


def move(
    ops: np.ndarray, amounts: np.ndarray, *, size: tuple[int, int], fill: Sequence[int]
) -> Change:
    """Return the change to moved images.

    Args:
        ops: n moves, all of them rotations or none.
        amounts: their amounts.
        size: height and width of the images in pixels.
        fill: 3 levels for what comes in from outside.
    """
    height, width = size
    matrices = source_points(ops, amounts, height, width).reshape(-1, 2, 3)
    lengths, strides = np.array([[[width], [height]]]), np.array([[[1], [width]]])
    colour = np.array(fill, dtype=np.uint8)[:, None]
    if ops[0] == Op.ROTATE:
        return Change(_move, (matrices, lengths, strides, _NEIGHBOURS, colour))
    # Along an axis that does not move, the filter would only return the pixel itself.
    down = np.isin(ops, _DOWN)[:, None, None]
    chosen = (np.where(down, x[:, 1:], x[:, :1]) for x in (matrices, lengths, strides))
    return Change(_move, (*chosen, _NEIGHBOURS, colour, down))


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


def _move(
    images: Tensor,
    matrices: Tensor,
    lengths: Tensor,
    strides: Tensor,
    neighbours: Tensor,
    colour: Tensor,
    down: Tensor | None = None,
) -> Tensor:
    """Return the images at source points, along both axes or, if ``down`` says which, along one.

    Args:
        images: n x 3 x H x W, uint8.
        matrices: n x A x 3, float64; A axes, of two along the row first.
        lengths: 1 or n x A x 1, pixels of the axes.
        strides: 1 or n x A x 1, from a pixel to the next along the axes, in memory.
        neighbours: 4 x 1, the places of the filter's pixels.
        colour: 3 x 1, what comes in from outside.
        down: n x 1 x 1, whether the axis is the one along a column.
    """
    height, width = images.shape[-2:]
    points = _points(matrices, height, width)
    places, weights = _taps(points, lengths, strides, neighbours)
    if down is None:
        columns, rows = places.unbind(1)
        lines = _cubic(_read(images, columns[:, None] + rows[:, :, None]), weights[:, :1, None])
        levels = _cubic(lines, weights[:, 1:])
    else:
        levels = _cubic(_read(images, places[:, 0] + _across(down, height, width)), weights)
    outside = ((points < 0) | (points >= lengths)).any(1, keepdim=True)
    return torch.where(outside, colour, levels.clamp_(0, 255).byte()).view_as(images)


def _points(matrices: Tensor, height: int, width: int) -> Tensor:
    """Return the source points of all pixels, n x A x HW, float64."""
    a, b, c = matrices[..., None, None].unbind(2)
    x = torch.arange(0.5, width, device=matrices.device, dtype=torch.float64)
    y = torch.arange(0.5, height, device=matrices.device, dtype=torch.float64)
    return (a * x + b * y[:, None] + c).flatten(2)


def _taps(
    points: Tensor, lengths: Tensor, strides: Tensor, neighbours: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the four clamped neighbours of points in memory, and the weights of all but the first.

    Neighbours are n x A x 4 x HW, int64; weights n x A x 3 x HW, float32.
    """
    points = (points - 0.5)[:, :, None]
    base = points.floor()
    way = (points - base).float()
    places = (base.long() + neighbours).clamp_(min=0).clamp_(max=lengths[..., None] - 1)
    places *= strides[..., None]
    weights = [way * (way * (2 - way) - 1), way * (way * (1 - way) + 1), way * way * (way - 1)]
    return places, torch.cat(weights, dim=2)


def _across(down: Tensor, height: int, width: int) -> Tensor:
    """Return where the other axis has every pixel in memory, n x 1 x HW."""
    columns = torch.arange(width, device=down.device)
    rows = torch.arange(0, height * width, width, device=down.device)
    return torch.where(down, columns, rows[:, None]).flatten(1)[:, None]


def _read(images: Tensor, places: Tensor) -> Tensor:
    """Return the levels at places, n x ... x HW, of each colour: n x 3 x ... x HW, float32."""
    num, channels = images.shape[:2]
    where = places.flatten(1)[:, None].expand(-1, channels, -1)
    return images.flatten(2).float().gather(2, where).view(num, channels, *places.shape[1:])


def _cubic(levels: Tensor, weights: Tensor) -> Tensor:
    """Return the cubic filter of four neighbours, as differences: exact where all are equal.

    Products and sums are kept apart: a GPU would round a fused one in another way than a CPU.

    Args:
        levels: ... x 4 x HW; overwritten.
        weights: ... x 3 x HW, of all but the first.
    """
    near = levels[..., :1, :]
    first, third, fourth = levels[..., 1:, :].sub_(near).mul_(weights).unbind(-2)
    return first.add_(third).add_(fourth).add_(near.squeeze(-2))
