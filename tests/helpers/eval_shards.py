"""Batches as an evaluator gets them from one of several processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Shard:
    images: Tensor
    targets: Tensor
    indices: Tensor


def split_shards(
    images: Tensor, targets: Tensor, rank: int = 0, world: int = 1, batch: int = 7
) -> list[Shard]:
    """Every ``world``-th image from ``rank`` on, in batches."""
    own = torch.arange(rank, len(targets), world)
    return [Shard(images[i], targets[i], i) for i in own.split(batch)]
