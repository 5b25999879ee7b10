"""Losses are computed in float32 or better, whatever precision the model runs in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Return the values in float32, or as they are where that is finer."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
