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
# Of each sixth of the circle: which of (highest, middle, lowest) red, green and blue are.
_RANKS = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1], [2, 1, 0], [1, 2, 0], [0, 2, 1]])


@dataclass(frozen=True, slots=True)
class HsvTables:
    """What the conversions look up; spans are the highest channel minus the lowest.

    Attributes:
        hue: 9 x 256 x 256, uint8: by highest channel x 3 + lowest channel, by span, by the highest
            minus the middle channel.
        saturation: 256 x 256, uint8: by span, by highest channel.
        lowest: 256 x 256, uint8: the lowest channel by saturation and highest channel.
        middle: 256 x 256, float64: the middle channel as a share of the highest, by hue and
            saturation; rounded to the nearest after the product.
        ranks: red, green and blue; 256, int64, each: by hue, 0 if the channel is the highest, 1 if
            it is the middle and 2 if it is the lowest.
    """

    hue: Tensor
    saturation: Tensor
    lowest: Tensor
    middle: Tensor
    ranks: tuple[Tensor, ...]


@cache
def hsv_tables(device: torch.device) -> HsvTables:
    """Return the tables on a device, flat.

    Source: Pillow ``Convert.c``, ``rgb2hsv`` and ``hsv2rgb``.
    """
    sixth, middle = _from_hue()
    highest, share = _LEVELS.astype(_SINGLE), (_LEVELS / 255.0).astype(_SINGLE)
    lowest = np.floor(highest * (1.0 - share[:, None].astype(np.float64)) + 0.5)
    tables = [_hue(), _saturation(), lowest.astype(np.uint8), middle]
    ranks = [_RANKS[sixth % 6][:, channel] for channel in range(3)]
    moved = [sent(x.flatten(), device) for x in (*tables, *ranks)]
    return HsvTables(*moved[:4], ranks=tuple(moved[4:]))


def _saturation() -> np.ndarray:
    span, highest = _LEVELS[:, None].astype(_SINGLE), _LEVELS.astype(_SINGLE)
    share = np.divide(span, highest, out=np.zeros((256, 256), _SINGLE), where=highest > 0)
    return np.clip(share.astype(np.float64) * 255.0, 0, 255).astype(np.uint8)


def _hue() -> np.ndarray:
    """Return the hue by the ends of the span, the span, and the way to the middle channel."""
    span = np.maximum(_LEVELS, 1)[:, None].astype(_SINGLE)
    way = np.minimum(_LEVELS.astype(_SINGLE) / span, _SINGLE(1))
    hues = np.zeros((3, 3, 256, 256), dtype=np.uint8)
    for top in range(3):
        for bottom in {0, 1, 2} - {top}:
            ways = [way, way, way]
            ways[top], ways[bottom] = np.zeros_like(way), np.ones_like(way)
            hues[top, bottom] = _circle(ways, top)
    hues[:, :, 0] = 0
    return hues


def _circle(ways: list[np.ndarray], top: int) -> np.ndarray:
    red, green, blue = ways
    if top == 0:
        hue = blue - green
    elif top == 1:
        hue = ((2.0 + red.astype(np.float64)) - blue).astype(_SINGLE)
    else:
        hue = ((4.0 + green.astype(np.float64)) - red).astype(_SINGLE)
    turned = np.fmod(hue.astype(np.float64) / 6.0 + 1.0, 1.0).astype(_SINGLE)
    return np.clip(turned.astype(np.float64) * 255.0, 0, 255).astype(np.uint8)


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
