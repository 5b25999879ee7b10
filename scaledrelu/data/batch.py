"""What travels from a loader to a task: one group of images, before and after augmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class RawBatch:
    """One group as the loader yields it, before anything that happens on the device.

    Attributes:
        images: B x 3 x H x W; uint8 in [0, 255] when the device augments, float and normalised
            when the reference pipeline already did.
        targets: B class indices, int64.
        indices: B positions in the source, int64. Always on the host: augmentation is drawn there.
        views: B repeats of the same image within the epoch (0 without repeated augmentation),
            int64, on the host.
        group: global number of the group; BatchNorm statistics and mixup are per group.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    views: Tensor
    group: int

    def to(self, device: Any, *, non_blocking: bool = True) -> RawBatch:
        """Return the batch with images and targets on ``device``; keys stay on the host."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=non_blocking),
            targets=self.targets.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> RawBatch:
        """Return the batch with images and targets in page-locked memory (DataLoader protocol)."""
        return replace(self, images=self.images.pin_memory(), targets=self.targets.pin_memory())


@dataclass(frozen=True, slots=True)
class Batch:
    """One group as a task sees it.

    Attributes:
        images: B x 3 x H x W, float, normalised.
        targets: B x C soft targets in training, B class indices (int64) in evaluation.
        group: global number of the group.
    """

    images: Tensor
    targets: Tensor
    group: int
