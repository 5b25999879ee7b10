"""RandAugment as layers: which operations an image gets, and how much of each.

timm reads the policy; the draws come from outside, so that they can be those of anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scaledrelu.data.device.ops import Layer, Op
from scaledrelu.errors import ConfigError

_FULL = 10.0  # the magnitude that amounts are fractions of
_OP, _APPLY, _RADIUS, _ANGLE, _SIGN = range(5)  # columns of the draws of one layer
_COLUMNS = 5

Amount = Callable[[np.ndarray, np.ndarray], np.ndarray]  # magnitude / 10, sign -> amount


@dataclass(frozen=True, slots=True)
class Entry:
    """What an operation of timm's is here, and its amount."""

    op: Op
    amount: Amount


def _none(part: np.ndarray, sign: np.ndarray) -> np.ndarray:
    return np.zeros_like(part)


def _factor(part: np.ndarray, sign: np.ndarray) -> np.ndarray:
    return part * 1.8 + 0.1


def _rising_factor(part: np.ndarray, sign: np.ndarray) -> np.ndarray:
    return np.maximum(0.1, 1.0 + sign * 0.9 * part)


def _first_level(part: np.ndarray, sign: np.ndarray) -> np.ndarray:
    return np.minimum(256, np.floor(part * 256))


# By timm's names (recipes A.5).
ENTRIES: dict[str, Entry] = {
    "AutoContrast": Entry(Op.AUTO_CONTRAST, _none),
    "Equalize": Entry(Op.EQUALIZE, _none),
    "Invert": Entry(Op.INVERT, _none),
    "Rotate": Entry(Op.ROTATE, lambda part, sign: sign * 30.0 * part),
    "Posterize": Entry(Op.POSTERIZE, lambda part, _: np.floor(part * 4)),
    "PosterizeIncreasing": Entry(Op.POSTERIZE, lambda part, _: 4 - np.floor(part * 4)),
    "Solarize": Entry(Op.SOLARIZE, _first_level),
    "SolarizeIncreasing": Entry(Op.SOLARIZE, lambda part, sign: 256 - _first_level(part, sign)),
    "SolarizeAdd": Entry(Op.SOLARIZE_ADD, lambda part, _: np.minimum(128, np.floor(part * 110))),
    "Color": Entry(Op.COLOR, _factor),
    "ColorIncreasing": Entry(Op.COLOR, _rising_factor),
    "Contrast": Entry(Op.CONTRAST, _factor),
    "ContrastIncreasing": Entry(Op.CONTRAST, _rising_factor),
    "Brightness": Entry(Op.BRIGHTNESS, _factor),
    "BrightnessIncreasing": Entry(Op.BRIGHTNESS, _rising_factor),
    "Sharpness": Entry(Op.SHARPNESS, _factor),
    "SharpnessIncreasing": Entry(Op.SHARPNESS, _rising_factor),
    "ShearX": Entry(Op.SHEAR_X, lambda part, sign: sign * 0.3 * part),
    "ShearY": Entry(Op.SHEAR_Y, lambda part, sign: sign * 0.3 * part),
    "TranslateXRel": Entry(Op.TRANSLATE_X, lambda part, sign: sign * 0.45 * part),
    "TranslateYRel": Entry(Op.TRANSLATE_Y, lambda part, sign: sign * 0.45 * part),
}


class RandAugment:
    """timm's RandAugment for a batch.

    Args:
        policy: timm policy string, e.g. "rand-m9-mstd0.5-inc1".
        interpolation: filter of geometric operations.

    Attributes:
        num_draws: numbers that ``layers`` needs for an image.

    Raises:
        ConfigError: a policy or filter that only the reference pipeline has.
    Source: recipes A.5 step 3.
    """

    def __init__(self, policy: str, *, interpolation: str):
        from timm.data.auto_augment import rand_augment_transform

        if not policy.startswith("rand") or "-t" in policy:
            raise ConfigError(
                f"augment.rand_augment={policy}: works only with data.augment=reference; set that, "
                "or an unweighted RandAugment policy, e.g. rand-m9-mstd0.5-inc1"
            )
        if interpolation != "bicubic":
            raise ConfigError(
                f"augment.interpolation={interpolation}: RandAugment on the device needs bicubic; "
                "set augment.interpolation=bicubic, or data.augment=reference"
            )
        timm = rand_augment_transform(policy, {})
        first = timm.ops[0]
        self._entries = [ENTRIES[op.name] for op in timm.ops]
        self._num_layers, self._prob = timm.num_layers, first.prob
        self._magnitude, self._deviation = first.magnitude, first.magnitude_std
        self._most = first.magnitude_max or _FULL
        self.num_draws = _COLUMNS * self._num_layers

    def layers(self, draws: np.ndarray) -> list[Layer]:
        """Return the layers of a batch.

        Args:
            draws: B x ``num_draws`` numbers in [0, 1).
        """
        starts = range(0, self.num_draws, _COLUMNS)
        return [self._layer(draws[:, at : at + _COLUMNS]) for at in starts]

    def _layer(self, draws: np.ndarray) -> Layer:
        choice = (draws[:, _OP] * len(self._entries)).astype(np.int64)
        part = self._magnitudes(draws) / _FULL
        sign = np.where(draws[:, _SIGN] < 0.5, 1.0, -1.0)
        ops, amounts = np.zeros(len(draws), dtype=np.int64), np.zeros(len(draws))
        for index, entry in enumerate(self._entries):
            chosen = (choice == index) & (draws[:, _APPLY] < self._prob)
            ops[chosen] = entry.op
            amounts[chosen] = entry.amount(part[chosen], sign[chosen])
        return Layer(ops, amounts)

    def _magnitudes(self, draws: np.ndarray) -> np.ndarray:
        if self._deviation == float("inf"):  # timm's word for a uniform draw
            found = draws[:, _RADIUS] * self._magnitude
        else:
            radius = np.sqrt(-2.0 * np.log1p(-draws[:, _RADIUS]))
            normal = radius * np.cos(2.0 * np.pi * draws[:, _ANGLE])
            found = self._magnitude + self._deviation * normal
        return np.clip(found, 0.0, self._most)
