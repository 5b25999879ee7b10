"""Opens a ViT up: the tokens between its layers, and the numbers that theory and fp16 care about.

Shapes: B images, N patch tokens, D width, C channels of a scaled-ReLU layer, h heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from scaledrelu.models.build import StemViT
from scaledrelu.models.stem import ScaledReLU


@dataclass(frozen=True, slots=True)
class ChannelScales:
    """Shift alpha and scale beta of one scaled ReLU, one value per channel (Eq. 1)."""

    alpha: Tensor
    beta: Tensor


@dataclass(slots=True)
class LargestValues:
    """Largest magnitudes seen, as device scalars; fp16 ends at 65,504."""

    activation: Tensor
    score: Tensor  # of q k^T before the scale


@torch.no_grad()
def layer_tokens(model: StemViT, image_BCHW: Tensor) -> list[Tensor]:
    """Return the patch tokens after the stem, after the positions and after every block.

    Args:
        model: in evaluation mode.
        image_BCHW: normalised images.

    Returns:
        ``depth + 2`` tensors (B, N, D); the class token is left out.

    Raises:
        ValueError: in training mode, where drop path acts and running statistics would move.
    Source: Figure 1 (14 points at depth 12); recipes G.5.
    """
    if model.training:
        raise ValueError("layer_tokens needs model.eval(): training mode changes the tokens.")
    features_BDHW = model.patch_embed(image_BCHW)
    tokens_BND = model._pos_embed(features_BDHW)
    layers = [features_BDHW.flatten(2).transpose(1, 2), tokens_BND[:, 1:]]
    for block in model.blocks:
        tokens_BND = block(tokens_BND)
        layers.append(tokens_BND[:, 1:])
    return layers


def stem_scales(stem: nn.Module) -> ChannelScales | None:
    """Return alpha and beta of the stem's last scaled ReLU, or None if the stem has none.

    A scaled ReLU is an explicit ``ScaledReLU``, or a BatchNorm with an activation right after it,
    whose bias is alpha and whose weight is beta (Eq. 1).
    """
    found = None
    for layer, follower in pairwise([*_leaves(stem), nn.Identity()]):
        if isinstance(layer, ScaledReLU):
            found = ChannelScales(layer.alpha.detach(), layer.beta.detach())
        elif isinstance(layer, nn.BatchNorm2d) and isinstance(follower, (nn.ReLU, nn.GELU)):
            found = ChannelScales(layer.bias.detach(), layer.weight.detach())
    return found


def attention_weight_norms(model: StemViT) -> Tensor:
    """Return the L2 norm (D) per input channel of the first block's W_trans (Theorem 1)."""
    return model.blocks[0].attn.qkv.weight.detach().norm(dim=0)


@contextmanager
def watch_largest(model: StemViT) -> Iterator[LargestValues]:
    """While open, record the largest activation and unscaled attention score of every forward.

    Values stay on the device; nothing waits for them. Scores are computed in fp32, whatever the
    autocast type, so the record says what half precision would have met.
    """
    zero = next(model.parameters()).detach().new_zeros(())
    largest = LargestValues(activation=zero, score=zero)
    handles = [
        leaf.register_forward_hook(lambda _, __, output: _see_activation(largest, output))
        for leaf in _leaves(model)
    ]
    for block in model.blocks:
        heads = block.attn.num_heads
        handles.append(
            block.attn.qkv.register_forward_hook(
                lambda _, __, qkv, heads=heads: _see_scores(largest, qkv, heads)
            )
        )
    try:
        yield largest
    finally:
        for handle in handles:
            handle.remove()


def _leaves(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if not any(part.children())]


def _see_activation(largest: LargestValues, output: Tensor) -> None:
    seen = output.detach().abs().amax().float()
    largest.activation = torch.maximum(largest.activation, seen)


def _see_scores(largest: LargestValues, qkv_BNx: Tensor, heads: int) -> None:
    B, N, _ = qkv_BNx.shape
    with torch.autocast(qkv_BNx.device.type, enabled=False):
        qkv_3BhNd = qkv_BNx.detach().float().reshape(B, N, 3, heads, -1).permute(2, 0, 3, 1, 4)
        scores_BhNN = qkv_3BhNd[0] @ qkv_3BhNd[1].transpose(-2, -1)
    largest.score = torch.maximum(largest.score, scores_BhNN.abs().amax())
