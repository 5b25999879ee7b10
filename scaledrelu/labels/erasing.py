"""Random erasing on the host as draws alone: a box and its noise, which the device fills in.

The draws are timm's own, in its order, so that a pipeline with bytes erases as one with floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Erased:
    """What is erased of one image.

    Attributes:
        sides: rows and columns of the box as half-open ranges: top, bottom, left, right.
        noise: 3 x h x w, float32, in place of the normalised pixels of the box.
    """

    sides: tuple[int, int, int, int]
    noise: Tensor

    @staticmethod
    def collate(
        found: Sequence[Erased | None], stack: Callable[[Sequence[Tensor]], Tensor]
    ) -> dict[str, Tensor]:
        """Return fields of ``RawBatch``; none where nothing is erased.

        Args:
            found: results for the images of a batch.
            stack: function that joins alike tensors.
        """
        some = [(at, one) for at, one in enumerate(found) if one is not None]
        if not some:
            return {}
        noise = torch.cat([one.noise.flatten() for _, one in some])
        return {
            "erased": stack([torch.tensor([at, *one.sides]) for at, one in some]),
            "noise": stack([noise])[0],  # stacked to lie in memory that the trainer can see
        }


class DrawErasing:
    """Draws one box and per-pixel noise for some images, from the generators of random and torch.

    Args:
        probability: share of the images that are erased, in [0, 1].

    Source: recipes B.3 (timm ``RandomErasing``, mode pixel, count 1).
    """

    def __init__(self, probability: float):
        from timm.data.random_erasing import RandomErasing

        self._erase = RandomErasing(probability, mode="pixel", max_count=1, device="cpu")

    def __call__(self, shape: torch.Size) -> Erased | None:
        """Return what is erased of an image; None = nothing.

        Args:
            shape: 3, H, W.
        """
        image = _NotedImage(shape)
        self._erase(image)
        return image.erased


class _NotedImage:
    """Stands for an image that timm erases a box of, and notes what timm writes into it."""

    dtype = torch.float32

    def __init__(self, shape: torch.Size):
        self._shape = shape
        self.erased: Erased | None = None

    def size(self) -> torch.Size:
        return self._shape

    def __setitem__(self, place: tuple[slice, slice, slice], noise: Tensor) -> None:
        _, rows, columns = place
        if noise.numel():  # boxes of images of a few pixels may be rounded to nothing
            self.erased = Erased((rows.start, rows.stop, columns.start, columns.stop), noise)
