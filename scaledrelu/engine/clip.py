"""Bounds gradients in place before they are applied; never reads one back to the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

_EPS = 1e-6  # of every norm, as in DINO and in torch's own clipping


@torch.no_grad()
def clip_each(params: Sequence[nn.Parameter], limit: float) -> None:
    """Scale down every gradient whose own L2 norm exceeds the limit; the others stay bit for bit.

    A gradient that is not finite becomes NaN or stays non-finite.

    Args:
        params: those without a gradient are passed over.
        limit: largest norm of each gradient.

    Source: DINO utils.py ``clip_gradients``; recipes C.1.
    """
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return
    factors = torch._foreach_norm(grads)
    torch._foreach_add_(factors, _EPS)
    torch._foreach_reciprocal_(factors)
    torch._foreach_mul_(factors, limit)
    torch._foreach_clamp_max_(factors, 1.0)
    torch._foreach_mul_(grads, factors)


CLIPS: dict[str, Callable[[Sequence[nn.Parameter], float], object]] = {
    "global": clip_grad_norm_,
    "per_tensor": clip_each,
}
