"""Pillow's conversions between RGB and HSV in 8 bits, as tables.

They mix single and double precision. The tables are computed once, on the host, so that every
device reads the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from scaledrelu.data.device.draws import sent

_LEVELS = np.arange(256)
_SINGLE = np.float32
_STEPS = 511  # of a difference between two channels, from -255 to 255
# Of each sixth of the circle: which of (highest, middle, lowest) red, green and blue are.
_RANKS = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1], [2, 1, 0], [1, 2, 0], [0, 2, 1]])


@dataclass(frozen=True, slots=True)
class HsvTables:
    """What the conversions look up.

    Attributes:
        hue: 511 x 511, uint8: by red minus green, by green minus blue; see ``hue_places``.
        saturation: 256 x 256, uint8: by highest channel, by lowest channel.
        lowest: 256 x 256, uint8: the lowest channel when it comes back, by the same.
        middle: 256 x 256, float64: the middle channel as a share of the highest, by hue and
            saturation; rounded to the nearest after the product.
        ranks: 256 x 3, int64: by hue, 0 if red (green, blue) is the highest, 1 if it is the middle
            and 2 if it is the lowest.
    """

    hue: Tensor
    saturation: Tensor
    lowest: Tensor
    middle: Tensor
    ranks: Tensor


@cache
def hsv_tables(device: torch.device) -> HsvTables:
    """Return the tables on a device, flat but for ``ranks``.

    Source: Pillow ``Convert.c``, ``rgb2hsv`` and ``hsv2rgb``.
    """
    sixth, middle = _from_hue()
    saturation = _saturation()
    tables = [x.flatten() for x in (_hue(), saturation, _lowest(saturation), middle)]
    return HsvTables(*sent([*tables, _RANKS[sixth % 6]], device))


def hue_places(red: Tensor, green: Tensor, blue: Tensor) -> Tensor:
    """Return where colours stand in the flat table of hues.

    Args:
        red: levels, int32; so are the others.
        green: levels.
        blue: levels.
    """
    return (red - green) * _STEPS + (green - blue) + 255 * (_STEPS + 1)


def _hue() -> np.ndarray:
    steps = np.arange(-255, 256)
    colours = np.stack(np.broadcast_arrays(steps[:, None], 0, -steps))  # as seen from green
    top = colours.max(axis=0)
    span = top - colours.min(axis=0)
    red, green, blue = (top - colours).astype(_SINGLE) / np.maximum(span, 1).astype(_SINGLE)
    sides = (
        blue - green,
        ((2.0 + red.astype(np.float64)) - blue).astype(_SINGLE),
        ((4.0 + green.astype(np.float64)) - red).astype(_SINGLE),
    )
    place = np.choose(colours.argmax(axis=0), sides)
    turned = np.fmod(place.astype(np.float64) / 6.0 + 1.0, 1.0).astype(_SINGLE)
    hue = np.clip(turned.astype(np.float64) * 255.0, 0, 255).astype(np.uint8)
    return np.where(span > 0, hue, np.uint8(0))


def _saturation() -> np.ndarray:
    span = np.maximum(_LEVELS[:, None] - _LEVELS, 0).astype(_SINGLE)
    share = span / np.maximum(_LEVELS, 1)[:, None].astype(_SINGLE)
    return np.clip(share.astype(np.float64) * 255.0, 0, 255).astype(np.uint8)


def _lowest(saturation: np.ndarray) -> np.ndarray:
    share = (saturation / 255.0).astype(_SINGLE)
    lowest = _LEVELS[:, None].astype(_SINGLE) * (1.0 - share.astype(np.float64))
    return np.floor(lowest + 0.5).astype(np.uint8)


def _from_hue() -> tuple[np.ndarray, np.ndarray]:
    """Return the sixth of the circle by hue, and ``HsvTables.middle``."""
    place = _LEVELS * 6.0 / 255.0
    sixth = np.floor(place)
    within = (place - sixth.astype(_SINGLE)).astype(_SINGLE)[:, None]
    share = (_LEVELS / 255.0).astype(_SINGLE)
    falling = 1.0 - (share * within).astype(np.float64)
    rising = 1.0 - share.astype(np.float64) * (1.0 - within.astype(np.float64))
    odd = (sixth.astype(np.int64) % 2 == 1)[:, None]
    return sixth.astype(np.int64), np.where(odd, falling, rising)
