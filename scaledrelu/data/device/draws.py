"""Draws that are functions of what they are for: made on the host, or on the device from keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from scaledrelu.data.batch import RawBatch
from scaledrelu.randomness import derive_seed

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # splitmix64: increment and the two multipliers
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# Bytes of one copy: a driver lets a longer one from ordinary memory wait for the device's queue.
_MOST_AT_ONCE = 1 << 16
_S30, _S27, _S31, _S11, _S32 = (np.uint64(s) for s in (30, 27, 31, 11, 32))


def keyed_uniforms(seed: int, indices: np.ndarray, views: np.ndarray, num_draws: int) -> np.ndarray:
    """Return B x num_draws numbers in [0, 1), each a function of (seed, index, view, column).

    Args:
        seed: whole number in [0, 2**63).
        indices: B positions in the source, int64.
        views: B repeats, below 2**31.
        num_draws: columns; asking for more leaves the first ones as they are.
    """
    with np.errstate(over="ignore"):
        key = indices.astype(np.uint64) | (views.astype(np.uint64) << _S32)
        state = _mix(_mix(key + np.uint64(seed) * _GOLDEN) ^ np.uint64(seed))
        counter = np.arange(1, num_draws + 1, dtype=np.uint64) * _GOLDEN
        return (_mix(state[:, None] + counter) >> _S11) * 2.0**-53


def batch_uniforms(raw: RawBatch, num_draws: int, *purpose: int | str) -> np.ndarray:
    """Return B x num_draws numbers in [0, 1), each a function of purpose, image, view and column.

    Args:
        raw: one group, or several joined ones; its numbers of images and views.
        num_draws: columns.
        purpose: what they are for: the run's seed first, then whatever tells draws apart.
    """
    seed = derive_seed(*purpose)
    return keyed_uniforms(seed, raw.indices.numpy(), raw.views.numpy(), num_draws)


def keyed_normal(keys: Tensor, shape: Sequence[int]) -> Tensor:
    """Return len(keys) x shape normal numbers, each a function of its key and position.

    Args:
        keys: int64 in [0, 2**32), on the device where the numbers are wanted.
        shape: shape of the numbers of one key.
    """
    base = _hash32(keys[:, None] ^ _positions(math.prod(shape), keys.device))
    radius = (_hash32(base ^ 0x68BC21EB).float() + 1.0).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = _hash32(base ^ 0x02E5BE93).float().mul_(2.0 * math.pi * 2.0**-32)
    return (radius * angle.cos_()).view(-1, *shape)


@cache
def _positions(count: int, device: torch.device) -> Tensor:
    """Return the hashed numbers of ``count`` positions, which are the same in every batch."""
    return _hash32(torch.arange(count, device=device, dtype=torch.int64))


def _hash32(x: Tensor) -> Tensor:
    """Mix 32-bit numbers held in int64: two rounds of xor-shift and multiply."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        x = (x >> shift).bitwise_xor_(x).mul_(factor).bitwise_and_(0xFFFFFFFF)
    return (x >> 15).bitwise_xor_(x)


def _mix(x: np.ndarray) -> np.ndarray:
    """Finalise splitmix64 counters."""
    x = (x ^ (x >> _S30)) * _MIX_1
    x = (x ^ (x >> _S27)) * _MIX_2
    return x ^ (x >> _S31)


def sent(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """Return arrays on a device, all in one copy, without waiting for the work queued there.

    Args:
        arrays: numbers on the host, of any kinds and shapes.
        device: where they are wanted.
    """
    # Every array starts where numbers of eight bytes may start.
    pieces = [array.tobytes() + bytes(-array.nbytes % 8) for array in arrays]
    whole = torch.frombuffer(bytearray(b"".join(pieces)), dtype=torch.uint8)
    parts = [part.to(device, non_blocking=True) for part in whole.split(_MOST_AT_ONCE)]
    moved = torch.cat(parts) if len(parts) > 1 else parts[0]
    found = zip(moved.split([len(piece) for piece in pieces]), arrays, strict=True)
    return [piece[: array.nbytes].view(_kind(array)).view(array.shape) for piece, array in found]


def _kind(array: np.ndarray) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype
