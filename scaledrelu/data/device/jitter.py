"""torchvision's colour jitter as layers: up to four operations, their order drawn by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scaledrelu.data.device.ops import Layer, Op

_OPS = (Op.BRIGHTNESS, Op.CONTRAST, Op.COLOR, Op.HUE)
_CENTRES = (1.0, 1.0, 1.0, 0.0)
_APPLY, _ORDER, _FACTOR = 0, slice(1, 5), slice(5, 9)  # columns of the draws of an image


class ColourJitter:
    """torchvision's ColorJitter of PIL images, for a batch.

    Args:
        strengths: how far brightness, contrast, saturation and, if it is given, hue move from
            that of the image; 0 = left out.
        probability: share of the images that are changed, in [0, 1].

    Attributes:
        num_draws: numbers that ``layers`` needs for an image.

    Source: recipes A.5 (DeiT without RandAugment), C.1 (DINO).
    """

    num_draws = 9

    def __init__(self, strengths: Sequence[float], *, probability: float = 1.0):
        self._probability = probability
        strengths = (*strengths, 0.0)[: len(_OPS)]
        self._ops = np.array(
            [op if strength else Op.NONE for op, strength in zip(_OPS, strengths, strict=True)]
        )
        self._low = np.array(_CENTRES) - strengths
        self._low[:-1] = self._low[:-1].clip(min=0.0)
        self._high = np.array(_CENTRES) + strengths

    def layers(self, draws: np.ndarray) -> list[Layer]:
        """Return four layers.

        Args:
            draws: B x 9 numbers in [0, 1).
        """
        order = draws[:, _ORDER].argsort(axis=1)
        amounts = self._low + (self._high - self._low) * draws[:, _FACTOR]
        amounts = np.take_along_axis(amounts, order, axis=1)
        ops = np.where(draws[:, _APPLY, None] < self._probability, self._ops[order], Op.NONE)
        return [Layer(*both) for both in zip(ops.T, amounts.T, strict=True)]
