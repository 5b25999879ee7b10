"""Pillow's Gaussian blur: three box blurs along rows, three along columns, each one rounded."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scaledrelu.data.device.ops import Change

_PASSES = 3
_ONE = 1 << 24  # the weights of a box, in whole numbers, add up to this
_MIDDLE = 128


def blur(deviations: np.ndarray) -> Change:
    """Return the change to blurred images, equal to Pillow's.

    Args:
        deviations: n standard deviations in pixels.

    Source: Pillow ``BoxBlur.c``.
    """
    boxes = box_weights(deviations)
    missing = boxes[:, 0] + 2 * boxes[:, 1:].sum(1) - _ONE
    # Levels from -128 to 127: sums of 255 x 2**24 would not fit 32 bits, these do.
    rest = _MIDDLE * missing + _ONE // 2
    numbers = np.concatenate([boxes, rest[:, None]], axis=1).astype(np.int32)
    return Change(_blur, (numbers[:, :, None, None, None],))


def _blur(images: Tensor, numbers: Tensor) -> Tensor:
    *weights, rest = numbers.unbind(1)
    levels = images.int().sub_(_MIDDLE)
    for dim in (3, 2):
        size, reach = levels.shape[dim], len(weights) - 1
        places = torch.arange(-reach, size + reach, device=levels.device).clamp_(0, size - 1)
        for _ in range(_PASSES):
            levels = _box(levels.index_select(dim, places), weights, rest, dim)
    return levels.add_(_MIDDLE).byte()


def box_weights(deviations: np.ndarray) -> np.ndarray:
    """Return n x reach whole weights, by the distance from the pixel; 2**24 in all, or just below.

    Args:
        deviations: n standard deviations of the Gaussian in pixels.

    Source: Pillow ``_gaussian_blur_radius`` and ``ImagingHorizontalBoxBlur``, in single precision.
    """
    single = np.float32
    variance = deviations.astype(single) ** 2 / single(_PASSES)
    length = np.sqrt(12.0 * variance.astype(np.float64) + 1.0).astype(single)
    whole = np.floor((length.astype(np.float64) - 1.0) / 2.0).astype(single)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    part /= 6 * (variance - (whole + 1) * (whole + 1))
    radius = whole + part
    reach = radius.astype(np.int64)
    near = np.floor(single(_ONE) / (radius * 2 + 1)).astype(np.int64)
    far = (_ONE - (reach * 2 + 1) * near) // 2
    distance = np.arange(reach.max() + 2)
    weights = np.where(distance <= reach[:, None], near[:, None], 0)
    return np.where(distance == reach[:, None] + 1, far[:, None], weights)


def _box(padded: Tensor, weights: list[Tensor], rest: Tensor, dim: int) -> Tensor:
    """Return levels averaged along one axis, without what was added at its ends."""
    reach = len(weights) - 1
    size = padded.shape[dim] - 2 * reach
    total = torch.addcmul(rest, padded.narrow(dim, reach, size), weights[0])
    for k in range(1, reach + 1):
        pair = padded.narrow(dim, reach - k, size) + padded.narrow(dim, reach + k, size)
        total.addcmul_(pair, weights[k])
    return total >> 24
