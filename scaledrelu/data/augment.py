"""Training augmentation in batches, on whatever device the images are on.

Every draw is a function of (seed, epoch, image, view), made on the host by hashing whole arrays:
no generator, no loop over images, nothing that waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scaledrelu.config.augment import AugmentConfig
from scaledrelu.data.batch import RawBatch
from scaledrelu.errors import ConfigError
from scaledrelu.randomness import derive_seed

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # splitmix64: increment and the two multipliers
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _S32 = (np.uint64(s) for s in (30, 27, 31, 11, 32))

# Columns of the draws of one image.
_DX, _DY, _FLIP, _ERASE, _NOISE = range(5)
_BOX = 5  # then four columns (area, aspect, top, left) per attempt
_ATTEMPTS = 10
_ERASE_AREA = (0.02, 1 / 3)  # of the image; aspect 0.3 to 1 / 0.3 (recipes A.5 step 5)
_LOG_ASPECT = (math.log(0.3), math.log(1 / 0.3))


@dataclass(frozen=True, slots=True)
class Boxes:
    """Rectangles to erase: positions in the batch, and rows and columns as half-open ranges."""

    samples: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray


class DeviceAugment:
    """Shift, flip, normalise and erase a group of uint8 images; leave finished images alone.

    Float images come from the reference pipeline, already augmented and normalised.

    Args:
        mean: 3 channel means, in [0, 1].
        std: 3 channel standard deviations.
        seed: the run's seed.
        augment: the augmentation; None = normalise only.
        path: ``data.augment``, reference or device.

    Raises:
        ConfigError: augmentation that only the reference pipeline has.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
        augment: AugmentConfig | None = None,
        path: str = "device",
    ):
        self.shift, self.hflip, self.erasing, self.seed = 0, 0.0, 0.0, seed
        if augment is not None:
            if path == "device":
                _refuse_reference_only(augment)
            self.shift = augment.shift if augment.crop == "shift" else 0
            self.hflip, self.erasing = augment.hflip, augment.erasing
        # Includes ToTensor's division by 255.
        self._mean = torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1) * 255.0
        self._scale = 1.0 / (torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1) * 255.0)

    def __call__(self, raw: RawBatch, *, epoch: int) -> Tensor:
        """Return B x 3 x H x W, float, normalised.

        Args:
            raw: a group; its uint8 images are not changed.
            epoch: epoch of the run; a new epoch draws anew.
        """
        if raw.images.is_floating_point():
            return raw.images
        draws = None
        if self.shift or self.hflip or self.erasing:
            draws = keyed_uniforms(
                derive_seed(self.seed, "augment", epoch),
                raw.indices.numpy(),
                raw.views.numpy(),
                _BOX + (4 * _ATTEMPTS if self.erasing else 0),
            )
        images = raw.images
        if self.shift or self.hflip:
            images = self._move(images, draws)
        images = self.normalise(images)
        return self._erase(images, draws) if self.erasing else images

    def normalise(self, images: Tensor) -> Tensor:
        """Return float images with mean and std applied; floats are returned as they are."""
        if images.is_floating_point():
            return images
        if self._mean.device != images.device:
            self._mean, self._scale = self._mean.to(images.device), self._scale.to(images.device)
        return images.float().sub_(self._mean).mul_(self._scale)

    def _move(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Translate by whole pixels, zeros coming in, and flip: one gather for both."""
        height, width = images.shape[-2:]
        steps = 2 * self.shift + 1
        dx, dy = (np.floor(draws[:, c] * steps).astype(np.int64) for c in (_DX, _DY))
        flip = draws[:, _FLIP, None] < self.hflip
        columns = np.arange(width)[None]
        columns = np.where(flip, width - 1 - columns, columns) + dx[:, None]
        rows = (np.arange(height)[None] + dy[:, None]) * (width + 2 * self.shift)
        rows, columns = (_sent(a, images.device) for a in (rows, columns))
        index = (rows[:, :, None] + columns[:, None, :]).flatten(1)
        padded = torch.nn.functional.pad(images, [self.shift] * 4).flatten(2)
        index = index[:, None].expand(-1, images.shape[1], -1)
        return padded.gather(2, index).view_as(images)

    def _erase(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Fill one box of some images with normal noise, keyed by image and pixel (in place)."""
        height, width = images.shape[-2:]
        boxes = draw_boxes(draws, self.erasing, height, width)
        if not len(boxes.samples):
            return images
        device = images.device
        samples, top, bottom, left, right = (
            _sent(a, device)
            for a in (boxes.samples, boxes.top, boxes.bottom, boxes.left, boxes.right)
        )
        y = torch.arange(height, device=device)[None, :, None]
        x = torch.arange(width, device=device)[None, None, :]
        rows = (y >= top[:, None, None]) & (y < bottom[:, None, None])
        columns = (x >= left[:, None, None]) & (x < right[:, None, None])
        inside = (rows & columns)[:, None]
        keys = _sent((draws[boxes.samples, _NOISE] * 2.0**32).astype(np.int64), device)
        noise = keyed_normal(keys, images.shape[1:])
        images[samples] = torch.where(inside, noise, images[samples])
        return images


def _sent(values: np.ndarray, device: torch.device) -> Tensor:
    """Return an array on a device, without waiting for the work queued there."""
    return torch.from_numpy(values).to(device, non_blocking=True)


def keyed_uniforms(seed: int, indices: np.ndarray, views: np.ndarray, num_draws: int) -> np.ndarray:
    """Return B x num_draws numbers in [0, 1), each a function of (seed, index, view, column).

    Args:
        seed: whole number in [0, 2**63).
        indices: B positions in the source, int64.
        views: B repeats, below 2**31.
        num_draws: columns; asking for more leaves the first ones as they are.
    """
    with np.errstate(over="ignore"):
        key = indices.astype(np.uint64) | (views.astype(np.uint64) << _S32)
        state = _mix(_mix(key + np.uint64(seed) * _GOLDEN) ^ np.uint64(seed))
        counter = np.arange(1, num_draws + 1, dtype=np.uint64) * _GOLDEN
        return (_mix(state[:, None] + counter) >> _S11) * 2.0**-53


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
    area = _between(tries[..., 0], *_ERASE_AREA) * (height * width)
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


def _refuse_reference_only(augment: AugmentConfig) -> None:
    if augment.rand_augment or augment.color_jitter:
        asked = "rand_augment" if augment.rand_augment else "color_jitter"
        raise ConfigError(
            f"augment.{asked}: works only with data.augment=reference; set data.augment=reference, "
            f"or augment.{asked}={'null' if augment.rand_augment else 0}"
        )


def keyed_normal(keys: Tensor, shape: Sequence[int]) -> Tensor:
    """Return len(keys) x shape normal numbers, each a function of its key and position.

    Args:
        keys: int64 in [0, 2**32), on the device where the numbers are wanted.
        shape: shape of the numbers of one key.
    """
    count = math.prod(shape)
    position = torch.arange(count, device=keys.device, dtype=torch.int64)[None]
    base = _hash32(keys[:, None] ^ _hash32(position))
    radius = (_hash32(base ^ 0x68BC21EB).float() + 1.0).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = _hash32(base ^ 0x02E5BE93).float().mul_(2.0 * math.pi * 2.0**-32)
    return (radius * angle.cos_()).view(-1, *shape)


def _hash32(x: Tensor) -> Tensor:
    """Mix 32-bit numbers held in int64: two rounds of xor-shift and multiply."""
    x = (((x >> 16) ^ x) * 0x21F0AAAD) & 0xFFFFFFFF
    x = (((x >> 15) ^ x) * 0x735A2D97) & 0xFFFFFFFF
    return (x >> 15) ^ x


def _mix(x: np.ndarray) -> np.ndarray:
    """Finalise splitmix64 counters."""
    x = (x ^ (x >> _S30)) * _MIX_1
    x = (x ^ (x >> _S27)) * _MIX_2
    return x ^ (x >> _S31)


def _between(unit: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + (high - low) * unit
