"""Saturation, grey, hue and sharpness of uint8 images, equal to Pillow's."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scaledrelu.data.device.hsv import hsv_tables, hue_places
from scaledrelu.data.device.lut import blend, to_grey
from scaledrelu.data.device.ops import Change


def saturate(factors: np.ndarray) -> Change:
    """Return the change to more or less colour.

    Args:
        factors: n; 0 is grey, 1 the image.

    Source: Pillow ``ImageEnhance.Color``.
    """
    return Change(_saturate, (_factors(factors),))


def _saturate(images: Tensor, factors: Tensor) -> Tensor:
    return blend(to_grey(images)[:, None], images, factors)


def grey(_: np.ndarray) -> Change:
    """Return the change to three equal channels.

    Args:
        _: not used.
    """
    return Change(lambda images: to_grey(images).byte()[:, None].expand(-1, 3, -1, -1))


def sharpen(factors: np.ndarray) -> Change:
    """Return the change to sharper or softer images; their outermost pixels stay.

    Args:
        factors: n; 0 is the softened image, 1 the image.

    Source: Pillow ``ImageEnhance.Sharpness`` and ``ImageFilter.SMOOTH``.
    """
    return Change(_sharpen, (_factors(factors),))


def _sharpen(images: Tensor, factors: Tensor) -> Tensor:
    levels = images.short()
    rows = levels[:, :, :-2] + levels[:, :, 1:-1] + levels[:, :, 2:]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = levels[:, :, 1:-1, 1:-1]
    # Thirteenths, never near a half: single precision rounds them as Pillow does.
    soft = (sums.add_(inner, alpha=4) + 6.5).mul_(1 / 13).floor_()
    images[:, :, 1:-1, 1:-1] = blend(soft, inner, factors)
    return images


def turn_hue(shares: np.ndarray) -> Change:
    """Return the change to turned hues.

    Args:
        shares: n shares of the circle, in [-0.5, 0.5].

    Source: torchvision ``adjust_hue`` of PIL images: Pillow's HSV, in whole numbers.
    """
    turns = np.trunc(shares * 255).astype(np.int64) & 255
    return Change(_turn_hue, (turns.astype(np.uint8),))


def _turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    tables = hsv_tables(images.device)
    red, green, blue = images.int().flatten(2).unbind(1)
    top, bottom = images.amax(1).flatten(1), images.amin(1).flatten(1)
    hue = _read(tables.hue, hue_places(red, green, blue))
    hue = hue.add_(turns[:, None]).int()  # bytes go round as hues do
    ends = top.int() * 256 + bottom
    saturation, lowest = _read(tables.saturation, ends), _read(tables.lowest, ends)
    share = _read(tables.middle, hue * 256 + saturation)
    levels = torch.stack([top, (share * top + 0.5).byte(), lowest], dim=1)
    ranks = tables.ranks.index_select(0, hue.flatten()).view(*hue.shape, 3).transpose(1, 2)
    return levels.gather(1, ranks).view_as(images)


def _factors(factors: np.ndarray) -> np.ndarray:
    return factors.astype(np.float32)[:, None, None, None]


def _read(table: Tensor, where: Tensor) -> Tensor:
    return table.index_select(0, where.flatten()).view_as(where)
