"""Features of a whole set of images, each embedded on one process and known to all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# N images, B of a batch, D features


def embed(model: nn.Module, image_BCHW: Tensor) -> Tensor:
    """Return a model's features B x D in float32, scaled to length 1."""
    return F.normalize(model(image_BCHW).float(), dim=1)


def embed_set(
    model: nn.Module,
    batches: Iterable[Any],
    count: int,
    *,
    reduce_sum: Callable[[Tensor], Tensor],
    name: str,
) -> tuple[Tensor, Tensor]:
    """Return features N x D of a whole set, in its order, and the targets N that are known here.

    Targets are 0 where another process saw the image: their sum over all processes is complete.

    Args:
        model: images -> features.
        batches: (images, targets, indices) of this process's shard, on the device.
        count: N; the shards must add up to it.
        reduce_sum: sum of a tensor over all processes.
        name: of the set, for the error.

    Raises:
        RuntimeError: if the shards do not add up to the set.
    """
    features_ND = targets_N = seen_N = None
    for batch in batches:
        found_BD = embed(model, batch.images)
        if features_ND is None:
            features_ND = found_BD.new_zeros(count, found_BD.shape[1])
            targets_N = batch.targets.new_zeros(count)
            seen_N = torch.zeros_like(targets_N)
        features_ND[batch.indices] = found_BD
        targets_N[batch.indices] = batch.targets
        seen_N[batch.indices] += 1
    # Every row is zero but on one process, so the sum is exact and in order.
    features_ND = reduce_sum(features_ND)
    check_seen(reduce_sum(seen_N), name)
    return features_ND, targets_N


def check_seen(seen_N: Tensor, name: str) -> None:
    """Refuse a set of which some image was not seen exactly once.

    Raises:
        RuntimeError: how many.
    """
    missed = int((seen_N != 1).sum())
    if missed:
        raise RuntimeError(f"{missed} of {len(seen_N)} {name} images were not seen exactly once")
