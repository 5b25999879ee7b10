"""Saturation, grey, hue and sharpness of uint8 images, equal to Pillow's."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scaledrelu.data.device.draws import sent
from scaledrelu.data.device.hsv import hsv_tables, hue_places
from scaledrelu.data.device.lut import blend, to_grey


def saturate(images: Tensor, factors: np.ndarray) -> Tensor:
    """Return images with more or less colour.

    Args:
        images: n x 3 x H x W, uint8.
        factors: n; 0 is grey, 1 the image.

    Source: Pillow ``ImageEnhance.Color``.
    """
    return blend(to_grey(images)[:, None], images, _factors(factors, images))


def grey(images: Tensor, _: np.ndarray) -> Tensor:
    """Return images with three equal channels.

    Args:
        images: n x 3 x H x W, uint8.
        _: not used.
    """
    return to_grey(images).byte()[:, None].expand(-1, 3, -1, -1)


def sharpen(images: Tensor, factors: np.ndarray) -> Tensor:
    """Return images that are sharper or softer; their outermost pixels stay.

    Args:
        images: n x 3 x H x W, uint8.
        factors: n; 0 is the softened image, 1 the image.

    Source: Pillow ``ImageEnhance.Sharpness`` and ``ImageFilter.SMOOTH``.
    """
    levels = images.short()
    rows = levels[:, :, :-2] + levels[:, :, 1:-1] + levels[:, :, 2:]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    sums += 4 * levels[:, :, 1:-1, 1:-1]
    soft = images.clone()
    # Thirteenths, never near a half: single precision rounds them as Pillow does.
    soft[:, :, 1:-1, 1:-1] = sums.float().add_(6.5).mul_(1 / 13).byte()
    return blend(soft, images, _factors(factors, images))


def turn_hue(images: Tensor, shares: np.ndarray) -> Tensor:
    """Return images with turned hues.

    Args:
        images: n x 3 x H x W, uint8.
        shares: n shares of the circle, in [-0.5, 0.5].

    Source: torchvision ``adjust_hue`` of PIL images: Pillow's HSV, in whole numbers.
    """
    tables = hsv_tables(images.device)
    red, green, blue = images.int().flatten(2).unbind(1)
    top, bottom = images.amax(1).flatten(1), images.amin(1).flatten(1)
    hue = _read(tables.hue, hue_places(red, green, blue))
    turns = (np.trunc(shares * 255).astype(np.int64) & 255).astype(np.uint8)
    hue = hue.add_(sent(turns[:, None], images.device)).int()  # bytes go round as hues do
    ends = top.int() * 256 + bottom
    saturation, lowest = _read(tables.saturation, ends), _read(tables.lowest, ends)
    share = _read(tables.middle, hue * 256 + saturation)
    levels = torch.stack([top, (share * top + 0.5).byte(), lowest], dim=1)
    ranks = tables.ranks.index_select(0, hue.flatten()).view(*hue.shape, 3).transpose(1, 2)
    return levels.gather(1, ranks).view_as(images)


def _factors(factors: np.ndarray, images: Tensor) -> Tensor:
    return sent(factors.astype(np.float32)[:, None, None, None], images.device)


def _read(table: Tensor, where: Tensor) -> Tensor:
    return table.index_select(0, where.flatten()).view_as(where)
