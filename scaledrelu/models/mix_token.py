"""MixToken: a box of tokens changes places between every image and its partner (recipes B.2).

Decides how large the box is and what a swap does. The caller passes the generator and thereby
decides which images share a box.

Shapes: B images, h x w token cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on the token grid: rows ``top`` to ``bottom``, columns ``left`` to ``right``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Number of cells."""
        return (self.bottom - self.top) * (self.right - self.left)


def mix_box(grid: tuple[int, int], *, lam: float, generator: np.random.Generator) -> Box:
    """Draw MixToken's box: sides of ``sqrt(1 - lam)`` of the grid around a uniform cell, clipped.

    Half sides are rounded down, so an odd side loses a cell, as in the official code; timm 1.0
    rounds the far edge up. At ``lam = 1`` the box is empty.

    Args:
        grid: rows and columns of the token grid.
        lam: share of the image itself, in [0, 1], before clipping and rounding.
        generator: draws the centre.

    Source: recipes B.2 (VOLO models/volo.py ``rand_bbox``).
    """
    top, bottom = _span(grid[0], lam, generator)
    left, right = _span(grid[1], lam, generator)
    return Box(top, left, bottom, right)


def box_mask(box: Box, grid: tuple[int, int], device: torch.device) -> Tensor:
    """Return (h, w, 1), true inside the box.

    Args:
        box: the box, in cells of the grid.
        grid: rows and columns.
        device: the mask's device.
    """
    mask_hw1 = torch.zeros(*grid, 1, dtype=torch.bool, device=device)
    mask_hw1[box.top : box.bottom, box.left : box.right] = True
    return mask_hw1


def swap(values: Tensor, mask: Tensor) -> Tensor:
    """Take the values of the reversed batch where the mask, broadcast over images, is true.

    Args:
        values: B x ..., in the order of the images.
        mask: true where the partner's value is taken; broadcasts over images.
    """
    return torch.where(mask, values.flip(0), values)


def _span(size: int, lam: float, generator: np.random.Generator) -> tuple[int, int]:
    half = int(size * math.sqrt(1.0 - lam)) // 2
    centre = int(generator.integers(size))
    return max(centre - half, 0), min(centre + half, size)
