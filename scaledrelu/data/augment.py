"""Training augmentation in batches, on whatever device the images are on.

Every draw is a function of (seed, epoch, image, view), made on the host by hashing whole arrays:
no generator, no loop over images, nothing that waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scaledrelu.config.augment import AugmentConfig
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.device.affine import mirror
from scaledrelu.data.device.apply import apply_layers
from scaledrelu.data.device.draws import batch_uniforms, sent
from scaledrelu.data.device.erasing import NUM_DRAWS, erase
from scaledrelu.data.device.jitter import ColourJitter
from scaledrelu.data.device.normalise import ChannelConstants
from scaledrelu.data.device.policy import RandAugment

_DX, _DY, _FLIP = range(3)  # columns of the draws of one image; the others are those of erasing


class DeviceAugment:
    """Shift, flip, recolour, normalise and erase uint8 images of one group, or of several.

    Float images come from the reference pipeline, already augmented and normalised; they are left
    alone.

    Args:
        mean: 3 channel means, in [0, 1].
        std: 3 channel standard deviations.
        seed: the run's seed.
        augment: the augmentation; None = normalise only.

    Raises:
        ConfigError: augmentation that only the reference pipeline has.
    Source: recipes A.5 steps 2 to 5.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
        augment: AugmentConfig | None = None,
    ):
        self.shift, self.hflip, self.erasing, self.seed = 0, 0.0, 0.0, seed
        self._colour: RandAugment | ColourJitter | None = None
        if augment is not None:
            self.shift = augment.shift if augment.crop == "shift" else 0
            self.hflip, self.erasing = augment.hflip, augment.erasing
            self._colour = _colour(augment)
        self._fill = [min(255, round(255 * x)) for x in mean]
        # Includes ToTensor's division by 255.
        means, stds = (torch.tensor(values, dtype=torch.float32) * 255.0 for values in (mean, std))
        self._constants = ChannelConstants(means, 1.0 / stds)

    def __call__(self, raw: RawBatch, *, epoch: int) -> Tensor:
        """Return B x 3 x H x W, float, normalised.

        Args:
            raw: one group, or several joined ones; its uint8 images are not changed.
            epoch: epoch of the run; a new epoch draws anew.
        """
        images = raw.images
        if images.is_floating_point():
            return images
        draws = None
        if self.shift or self.hflip or self.erasing:
            num_draws = NUM_DRAWS if self.erasing else _FLIP + 1
            draws = batch_uniforms(raw, num_draws, self.seed, "augment", epoch)
        if self.shift or self.hflip:
            images = self._move(images, draws)
        if self._colour is not None:
            colours = batch_uniforms(raw, self._colour.num_draws, self.seed, "colour", epoch)
            images = apply_layers(images, self._colour.layers(colours), fill=self._fill)
        images = self.normalise(images)
        return erase(images, draws, self.erasing) if self.erasing else images

    def normalise(self, images: Tensor) -> Tensor:
        """Return float images with mean and std applied; floats are returned as they are."""
        if images.is_floating_point():
            return images
        mean, scale = self._constants.on(images.device)
        return images.float().sub_(mean).mul_(scale)

    def _move(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Translate by whole pixels, zeros coming in, and flip: one gather for both."""
        if not self.shift:
            return mirror(images, draws[:, _FLIP] < self.hflip)
        height, width = images.shape[-2:]
        steps = 2 * self.shift + 1
        dx, dy = (np.floor(draws[:, c] * steps).astype(np.int64) for c in (_DX, _DY))
        flip = draws[:, _FLIP, None] < self.hflip
        # What is short crosses to the device; whole indices would be too long to copy unnoticed.
        dx, dy, flip = sent((dx[:, None], dy[:, None], flip), images.device)
        columns = torch.arange(width, device=images.device)
        columns = torch.where(flip, width - 1 - columns, columns) + dx
        rows = (torch.arange(height, device=images.device) + dy) * (width + 2 * self.shift)
        index = (rows[:, :, None] + columns[:, None, :]).flatten(1)
        padded = torch.nn.functional.pad(images, [self.shift] * 4).flatten(2)
        index = index[:, None].expand(-1, images.shape[1], -1)
        return padded.gather(2, index).view_as(images)


def _colour(augment: AugmentConfig) -> RandAugment | ColourJitter | None:
    """Return RandAugment, or colour jitter where there is none, as timm does."""
    if augment.rand_augment:
        return RandAugment(augment.rand_augment, interpolation=augment.interpolation)
    if augment.color_jitter:
        return ColourJitter([augment.color_jitter] * 3)
    return None
