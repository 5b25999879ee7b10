"""Normalises uint8 batches with the rounding of torchvision, or of TokenLabeling's loader."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class ChannelConstants:
    """Numbers of the channels, on the device where they were last needed.

    Divisors are tensors: CUDA multiplies by the rounded reciprocal of a number.

    Args:
        values: 3 numbers, or one, of each.
    """

    def __init__(self, *values: Tensor):
        self._values = tuple(one.view(1, -1, 1, 1) for one in values)

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Return the numbers, 1 x 3 x 1 x 1 each, on a device."""
        if self._values[0].device != device:
            self._values = tuple(one.to(device) for one in self._values)
        return self._values


class HostNormalise:
    """torchvision's ToTensor and Normalize, bit by bit.

    ``DeviceAugment.normalise`` needs one pass less over the images, but rounds otherwise.

    Args:
        mean: 3 channel means, in [0, 1].
        std: 3 channel standard deviations.
    """

    def __init__(self, *, mean: Sequence[float], std: Sequence[float]):
        self._constants = ChannelConstants(*map(_single, ([255.0], mean, std)))

    def __call__(self, images: Tensor) -> Tensor:
        """Return B x 3 x H x W, float, normalised.

        Args:
            images: B x 3 x H x W, uint8.
        """
        whole, mean, std = self._constants.on(images.device)
        return images.float().div_(whole).sub_(mean).div_(std)


class LevelNormalise:
    """Mean and std in levels of 0 to 255, as TokenLabeling's loader applies them.

    One pass less over the images than ``HostNormalise``, and rounded otherwise.

    Args:
        mean: 3 channel means, in [0, 1].
        std: 3 channel standard deviations.

    Source: timm ``PrefetchLoader``.
    """

    def __init__(self, *, mean: Sequence[float], std: Sequence[float]):
        self._constants = ChannelConstants(_single(mean) * 255.0, _single(std) * 255.0)

    def __call__(self, images: Tensor) -> Tensor:
        """Return B x 3 x H x W, float, normalised.

        Args:
            images: B x 3 x H x W, uint8.
        """
        mean, std = self._constants.on(images.device)
        return images.float().sub_(mean).div_(std)


def _single(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
