"""How many images one operation changes at once: all of them, unless memory says otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

_PIXELS_IN_CACHE = 1 << 16  # of a CPU: one image of 224 x 224 pixels
# On a GPU an operation takes up to 147 bytes a pixel beside the images (moves; rotations 439, but
# few images are rotated): 2.5 GB, however many images an update has.
_PIXELS_ON_GPU = 1 << 24


def portions(images: Tensor, start: int, stop: int) -> Iterator[slice]:
    """Yield the ranges of a batch that are changed one after the other.

    Args:
        images: B x 3 x H x W, whose size and device count.
        start: the first one.
        stop: the one behind the last one.
    """
    pixels = _PIXELS_IN_CACHE if images.device.type == "cpu" else _PIXELS_ON_GPU
    step = max(1, pixels // (images.shape[-2] * images.shape[-1]))
    for at in range(start, stop, step):
        yield slice(at, min(at + step, stop))
