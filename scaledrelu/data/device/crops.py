"""What DINO does to its crops after they are cut out: flip, colours, blur and solarisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from scaledrelu.config.augment import MultiCropConfig
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.device.affine import mirror
from scaledrelu.data.device.apply import apply_layers
from scaledrelu.data.device.draws import batch_uniforms
from scaledrelu.data.device.jitter import ColourJitter
from scaledrelu.data.device.ops import Layer, Op, join_layers
from scaledrelu.data.multicrop import BLUR_RADIUS, NUM_GLOBAL, SOLARIZE_FROM

_FLIP, _GREY, _BLUR, _RADIUS, _SOLARIZE = range(5)  # columns of the draws of a crop
_JITTER = 5  # from here on


class CropAugment:
    """DINO's augmentation of uint8 crops; every draw is a function of (seed, epoch, image, crop).

    Args:
        crops: strengths and probabilities.
        hflip: probability of a flip.
        seed: the run's seed.

    Source: DINO main_dino.py ``DataAugmentationDINO``; recipes C.1.
    """

    def __init__(self, crops: MultiCropConfig, *, hflip: float, seed: int):
        self._crops, self._hflip, self._seed = crops, hflip, seed
        self._jitter = ColourJitter(crops.jitter, probability=crops.jitter_prob)

    def __call__(self, raw: RawBatch, *, epoch: int) -> RawBatch:
        """Return the images with their crops augmented, still uint8; float crops are left alone.

        Args:
            raw: one group with its crops, or several joined ones; not changed.
            epoch: epoch of the run; a new epoch draws anew.
        """
        if raw.images.is_floating_point():  # normalised already, as noise is
            return raw
        local = raw.local
        if local is not None:
            last = NUM_GLOBAL + self._crops.num_local
            local = self._change(local, raw, range(NUM_GLOBAL, last), epoch)
        return replace(raw, images=self._change(raw.images, raw, range(NUM_GLOBAL), epoch),
                       local=local)  # fmt: skip

    def _change(self, images: Tensor, raw: RawBatch, crops: Sequence[int], epoch: int) -> Tensor:
        num_draws = _JITTER + self._jitter.num_draws
        draws = [batch_uniforms(raw, num_draws, self._seed, "crop", epoch, crop) for crop in crops]
        if self._hflip:
            flip = np.concatenate([one[:, _FLIP] < self._hflip for one in draws])
            images = mirror(images, flip)
        layers = [self.layers(one, crop) for one, crop in zip(draws, crops, strict=True)]
        return apply_layers(images, join_layers(layers))

    def layers(self, draws: np.ndarray, crop: int) -> list[Layer]:
        """Return what happens to one crop of every image after the flip.

        Args:
            draws: B x 14 numbers in [0, 1).
            crop: its number; the first two are the global ones.
        """
        crops = self._crops
        blurred = draws[:, _BLUR] < crops.blur_prob[min(crop, NUM_GLOBAL)]
        low, high = BLUR_RADIUS
        solarized = draws[:, _SOLARIZE] < (crops.solarize_prob if crop == 1 else 0.0)
        return [
            *self._jitter.layers(draws[:, _JITTER:]),
            Layer.some(Op.GREY, draws[:, _GREY] < crops.grey_prob),
            Layer.some(Op.BLUR, blurred, low + (high - low) * draws[:, _RADIUS]),
            Layer.some(Op.SOLARIZE, solarized, SOLARIZE_FROM),
        ]
