"""Pairs of parameters that Theorem 1 relates: the scale of a channel, and the weights that read it.

In such a pair the scale of a channel can go up and its weights down by the same factor. Where
nothing lies between the two, the network computes the same function afterwards.

Shapes: C channels of a scaled ReLU, K weights that read one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from scaledrelu.models.stem import AffineReLU, Stem
from scaledrelu.models.tokens import first_attention

PROJECTION = "projection"  # last scaled ReLU of a conv-stem -> the stem's projection
ATTENTION = "attention"  # LayerNorm before the first attention -> its queries, keys and values
THEOREM = "theorem"  # scaled ReLU behind the projection -> the attention: the pair as printed


@dataclass(frozen=True, slots=True)
class ChannelPair:
    """Scale and shift of C channels, and the weights behind them, whose dimension 1 is C.

    Attributes:
        beta: scale per channel, (C,).
        alpha: shift per channel, (C,).
        readers: weights (K, C, ...).
        is_direct: whether nothing lies between, so that rescaling leaves the function alone.
    """

    beta: nn.Parameter
    alpha: nn.Parameter
    readers: tuple[nn.Parameter, ...]
    is_direct: bool

    def scale_norm(self) -> Tensor:
        """Return ``sqrt(alpha^2 + beta^2)`` of every channel, (C,): Theorem 1's penalty weight."""
        return torch.hypot(self.alpha.detach(), self.beta.detach())

    def reader_norm(self) -> Tensor:
        """Return the L2 norm of the weights that read each channel, (C,)."""
        return self.reader_weights().norm(dim=1)

    def reader_weights(self) -> Tensor:
        """Return the weights that read each channel, (C, K)."""
        parts = [weight.detach().transpose(0, 1).flatten(1) for weight in self.readers]
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def rescale(self, eta_C: Tensor) -> None:
        """Multiply alpha and beta by eta and divide the weights by it, in place (Theorem 1).

        Args:
            eta_C: a positive factor per channel.
        """
        self.alpha.mul_(eta_C)
        self.beta.mul_(eta_C)
        for weight in self.readers:
            weight.div_(eta_C.view(1, -1, *([1] * (weight.ndim - 2))))


def channel_pairs(model: nn.Module) -> dict[str, ChannelPair]:
    """Return the pairs of a backbone by name; only ``attention`` is in every one."""
    stem: Stem = model.patch_embed
    norm, readers = first_attention(model)
    pairs = {ATTENTION: ChannelPair(norm.weight, norm.bias, readers, is_direct=True)}
    if inside := list(_scaled_relus(stem.convs)):
        pairs[PROJECTION] = ChannelPair(*inside[-1], (stem.proj.weight,), is_direct=True)
    if behind := list(_scaled_relus(stem.tail)):  # positions and a LayerNorm follow
        pairs[THEOREM] = ChannelPair(*behind[-1], readers, is_direct=False)
    return pairs


def _scaled_relus(layers: nn.Sequential) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
    """Yield (beta, alpha) of what computes ``max(beta * x + alpha, 0)``."""
    for layer, follower in pairwise([*layers, nn.Identity()]):
        if isinstance(layer, AffineReLU):
            yield layer.beta, layer.alpha
        elif isinstance(layer, nn.BatchNorm2d) and isinstance(follower, nn.ReLU):
            yield layer.weight, layer.bias
