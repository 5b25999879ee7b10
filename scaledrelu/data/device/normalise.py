"""The end of the host's pipelines, for a batch of bytes wherever it lies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class HostNormalise:
    """torchvision's ToTensor and Normalize, bit by bit.

    ``DeviceAugment.normalise`` needs one pass less over the images, but rounds otherwise.

    Args:
        mean: 3 channel means, in [0, 1].
        std: 3 channel standard deviations.
    """

    def __init__(self, *, mean: Sequence[float], std: Sequence[float]):
        # Divisors are tensors: CUDA multiplies by the rounded reciprocal of a number.
        self._constants = tuple(
            torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
            for values in ([255.0], mean, std)
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Return B x 3 x H x W, float, normalised.

        Args:
            images: B x 3 x H x W, uint8.
        """
        if self._constants[0].device != images.device:
            self._constants = tuple(one.to(images.device) for one in self._constants)
        whole, mean, std = self._constants
        return images.float().div_(whole).sub_(mean).div_(std)
