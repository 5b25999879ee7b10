"""Random erasing: the boxes are drawn on the host, the noise on the device or on the host, too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scaledrelu.data.device.draws import keyed_normal, sent
from scaledrelu.data.device.portions import portions

# Columns of the draws of one image; DeviceAugment has the first three.
_ERASE, _NOISE = 3, 4
_BOX = 5  # then four columns (area, aspect, top, left) per attempt
_ATTEMPTS = 10
NUM_DRAWS = _BOX + 4 * _ATTEMPTS
_AREA = (0.02, 1 / 3)  # of the image; aspect 0.3 to 1 / 0.3 (recipes A.5 step 5)
_LOG_ASPECT = (math.log(0.3), math.log(1 / 0.3))


@dataclass(frozen=True, slots=True)
class Boxes:
    """Rectangles to erase: positions in the batch, and rows and columns as half-open ranges."""

    samples: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray


def erase(images: Tensor, draws: np.ndarray, probability: float) -> Tensor:
    """Fill one box of some images with normal noise, keyed by image and pixel, in place.

    Args:
        images: B x 3 x H x W, float, normalised.
        draws: B x 45 numbers in [0, 1) from ``keyed_uniforms``.
        probability: share of the images that are erased, in [0, 1].
    """
    height, width = images.shape[-2:]
    boxes = draw_boxes(draws, probability, height, width)
    if not len(boxes.samples):
        return images
    keys = (draws[boxes.samples, _NOISE] * 2.0**32).astype(np.int64)
    numbers = keys, boxes.samples, boxes.top, boxes.bottom, boxes.left, boxes.right
    keys, samples, *sides = sent(numbers, images.device)
    for part in portions(images, 0, len(boxes.samples)):
        where, noise = samples[part], keyed_normal(keys[part], images.shape[1:])
        inside = _inside(*(side[part] for side in sides), height, width)
        images[where] = torch.where(inside, noise, images[where])
    return images


def fill(images: Tensor, boxes: Tensor, noise: Tensor) -> Tensor:
    """Fill boxes of some images with noise that was drawn on the host, in place.

    Args:
        images: B x 3 x H x W, float, normalised.
        boxes: E x 5, int64, an image at most once: position in the batch, then rows and columns as
            half-open ranges (top, bottom, left, right).
        noise: float; box by box, channel by channel, row by row.
    """
    samples, *sides = boxes.unbind(1)
    inside = _inside(*sides, *images.shape[-2:])
    # Scattering fills in just this order, and need not know on the host how much there is.
    images[samples] = images[samples].masked_scatter_(inside, noise)
    return images


def draw_boxes(draws: np.ndarray, probability: float, height: int, width: int) -> Boxes:
    """Choose the images to erase and a box in each: the first of ten attempts that fits.

    Args:
        draws: B x 45 numbers in [0, 1) from ``keyed_uniforms``.
        probability: share of the images that are erased, in [0, 1].
        height: image height in pixels.
        width: image width in pixels.

    Source: recipes A.5 step 5 (timm ``RandomErasing``, mode pixel, count 1).
    """
    samples = np.flatnonzero(draws[:, _ERASE] < probability)
    tries = draws[samples, _BOX:].reshape(-1, _ATTEMPTS, 4)
    area = _between(tries[..., 0], *_AREA) * (height * width)
    aspect = np.exp(_between(tries[..., 1], *_LOG_ASPECT))
    tall, wide = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (wide < width) & (tall < height)
    rows = np.arange(len(samples))
    first = fits.argmax(axis=1)
    found = fits[rows, first]
    rows, first, samples = rows[found], first[found], samples[found]
    tall, wide = (a[rows, first].astype(np.int64) for a in (tall, wide))
    top = np.floor(tries[rows, first, 2] * (height - tall + 1)).astype(np.int64)
    left = np.floor(tries[rows, first, 3] * (width - wide + 1)).astype(np.int64)
    return Boxes(samples, top, top + tall, left, left + wide)


def _inside(
    top: Tensor, bottom: Tensor, left: Tensor, right: Tensor, height: int, width: int
) -> Tensor:
    """Return E x 1 x H x W: whether a pixel lies in the box of its image."""
    y = torch.arange(height, device=top.device)[None, :, None]
    x = torch.arange(width, device=top.device)[None, None, :]
    rows = (y >= top[:, None, None]) & (y < bottom[:, None, None])
    columns = (x >= left[:, None, None]) & (x < right[:, None, None])
    return (rows & columns)[:, None]


def _between(unit: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + (high - low) * unit
