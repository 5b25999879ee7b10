"""Looks inside a backbone: the tokens between its layers, and the values that theory and fp16 need.

What differs between ViT and VOLO is dispatched on the model's class; a new backbone registers its
own `token_hooks`, `first_attention` and `score_hooks`.

Shapes: B images, N patch tokens, D width, C channels of a scaled-ReLU layer, h heads, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, singledispatch
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from scaledrelu.models.build import StemViT
from scaledrelu.models.stem import AffineReLU, ScaledReLU
from scaledrelu.models.volo import StemVOLO, transformers

SeeTokens = Callable[[Tensor], None]


@dataclass(frozen=True, slots=True)
class ChannelScales:
    """Shift alpha and scale beta of one scaled ReLU, one value per channel (Eq. 1)."""

    alpha: Tensor
    beta: Tensor


@dataclass(slots=True)
class LargestValues:
    """Largest magnitudes seen, as device scalars; fp16 ends at 65,504."""

    activation: Tensor
    score: Tensor  # of a query and a key, as the product that fp16 would form


@singledispatch
@torch.no_grad()
def layer_tokens(model: nn.Module, image_BCHW: Tensor) -> list[Tensor]:
    """Return the patch tokens after the stem, after the positions and after every block.

    A VOLO adds its positions behind the outlookers, so they come there; its class-attention blocks
    leave the patch tokens alone and give no layer.

    Args:
        model: a backbone in evaluation mode.
        image_BCHW: normalised images.

    Returns:
        ``depth + 2`` tensors (B, N, D), N and D as they are there; the class token is left out.

    Raises:
        ValueError: in training mode, where drop path acts and running statistics would move.
    Source: Figure 1 (14 points at depth 12); recipes G.5.
    """
    with watch_tokens(model) as layers:
        model.forward(image_BCHW)  # uncompiled: a compiled call skips new hooks
    return layers


@contextmanager
def watch_tokens(model: nn.Module) -> Iterator[list[Tensor]]:
    """While open, collect what :func:`layer_tokens` returns from the model's own forward.

    Args:
        model: a backbone in evaluation mode; exactly one forward.

    Raises:
        ValueError: in training mode.
    """
    layers: list[Tensor] = []
    with _hooked(token_hooks(model, layers.append)):
        _refuse_training(model)
        yield layers


@singledispatch
def token_hooks(model: nn.Module, see: SeeTokens) -> list[RemovableHandle]:
    """Hook the places between the layers, so that a forward shows their patch tokens in order.

    Args:
        model: the backbone whose tokens are watched.
        see: is called with the tokens of each place.

    Returns:
        The hooks; none where the model's own forward does not show what ``layer_tokens`` returns.
    """
    raise _unknown(model)


@token_hooks.register
def _(model: StemViT, see: SeeTokens) -> list[RemovableHandle]:
    return [
        _after(model.patch_embed, lambda map_BDHW: see(_tokens_of(map_BDHW))),
        _before(model.blocks[0], lambda tokens_BND: see(tokens_BND[:, 1:])),
        *(_after(block, lambda tokens_BND: see(tokens_BND[:, 1:])) for block in model.blocks),
    ]


@token_hooks.register
def _(model: StemVOLO, see: SeeTokens) -> list[RemovableHandle]:
    outlookers, blocks = model.network[0], transformers(model)
    return [
        _after(model.patch_embed, lambda map_BDHW: see(_tokens_of(map_BDHW))),
        *(_after(block, lambda grid_BHWD: see(grid_BHWD.flatten(1, 2))) for block in outlookers),
        _before(blocks[0], lambda grid_BHWD: see(grid_BHWD.flatten(1, 2))),
        *(_after(block, lambda grid_BHWD: see(grid_BHWD.flatten(1, 2))) for block in blocks),
    ]


def stem_scales(stem: nn.Module) -> ChannelScales | None:
    """Return alpha and beta of the stem's last scaled ReLU, or None if the stem has none.

    A scaled ReLU is an explicit ``ScaledReLU`` or ``AffineReLU``, or a BatchNorm with an activation
    right after it, whose bias is alpha and whose weight is beta (Eq. 1).
    """
    found = None
    for layer, follower in pairwise([*_leaves(stem), nn.Identity()]):
        if isinstance(layer, (ScaledReLU, AffineReLU)):
            found = ChannelScales(layer.alpha.detach(), layer.beta.detach())
        elif isinstance(layer, nn.BatchNorm2d) and isinstance(follower, (nn.ReLU, nn.GELU)):
            found = ChannelScales(layer.bias.detach(), layer.weight.detach())
    return found


def attention_weight_norms(model: nn.Module) -> Tensor:
    """Return the L2 norm (D) per input channel of the first block's W_trans (Theorem 1)."""
    _, readers = first_attention(model)
    return torch.cat([weight.detach() for weight in readers]).norm(dim=0)


@singledispatch
def first_attention(model: nn.Module) -> tuple[nn.LayerNorm, tuple[nn.Parameter, ...]]:
    """Return the norm before the first block's attention, and the weights (K, D) that read it.

    A ViT reads the channels as queries, keys and values; an outlooker as values and window weights.
    """
    raise _unknown(model)


@first_attention.register
def _(model: StemViT) -> tuple[nn.LayerNorm, tuple[nn.Parameter, ...]]:
    return model.blocks[0].norm1, (model.blocks[0].attn.qkv.weight,)


@first_attention.register
def _(model: StemVOLO) -> tuple[nn.LayerNorm, tuple[nn.Parameter, ...]]:
    outlooker = model.network[0][0]
    return outlooker.norm1, (outlooker.attn.v.weight, outlooker.attn.attn.weight)


@contextmanager
def watch_largest(model: nn.Module) -> Iterator[LargestValues]:
    """While open, record the largest activation and attention score of every forward.

    A score is what a half-precision product of query and key would hold: unscaled in
    self-attention, but already scaled in VOLO's class attention (recipes section 2). Outlook
    attention has no such product; its window weights count as activations. Values stay on the
    device; nothing waits for them. Scores are computed in fp32, whatever the autocast type.
    """
    zero = next(model.parameters()).detach().new_zeros(())
    largest = LargestValues(activation=zero, score=zero)
    handles = [_after(leaf, partial(_see_activation, largest)) for leaf in _leaves(model)]
    with _hooked([*handles, *score_hooks(model, largest)]):
        yield largest


@singledispatch
def score_hooks(model: nn.Module, largest: LargestValues) -> list[RemovableHandle]:
    """Hook every product of queries and keys, so that a forward leaves its largest score.

    Args:
        model: the backbone whose attention is watched.
        largest: receives the largest score seen.
    """
    raise _unknown(model)


@score_hooks.register
def _(model: StemViT, largest: LargestValues) -> list[RemovableHandle]:
    return [_hook_self_attention(block.attn, largest) for block in model.blocks]


@score_hooks.register
def _(model: StemVOLO, largest: LargestValues) -> list[RemovableHandle]:
    handles = [_hook_self_attention(block.attn, largest) for block in transformers(model)]
    for block in model.post_network:
        see = partial(_see_class_scores, largest)
        handles.append(block.attn.register_forward_pre_hook(see))
    return handles


def _hook_self_attention(attention: nn.Module, largest: LargestValues) -> RemovableHandle:
    heads = attention.num_heads
    return _after(attention.qkv, lambda qkv: _see_scores(largest, qkv.flatten(1, -2), heads))


def _tokens_of(map_BDHW: Tensor) -> Tensor:
    return map_BDHW.flatten(2).transpose(1, 2)


@contextmanager
def _hooked(handles: Sequence[RemovableHandle]) -> Iterator[None]:
    """Remove hooks at the end, however it comes."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _after(module: nn.Module, see: SeeTokens) -> RemovableHandle:
    return module.register_forward_hook(lambda _, __, output: see(output.detach()))


def _before(module: nn.Module, see: SeeTokens) -> RemovableHandle:
    return module.register_forward_pre_hook(lambda _, inputs: see(inputs[0].detach()))


def _refuse_training(model: nn.Module) -> None:
    if model.training:
        raise ValueError("layer_tokens needs model.eval(): training mode changes the tokens.")


def _unknown(model: nn.Module) -> TypeError:
    return TypeError(
        f"{type(model).__name__}: unknown backbone; register token_hooks, first_attention and "
        "score_hooks for it in tokens.py"
    )


def _leaves(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if not any(part.children())]


def _see_activation(largest: LargestValues, output: Tensor) -> None:
    seen = output.abs().amax().float()
    largest.activation = torch.maximum(largest.activation, seen)


def _see_scores(largest: LargestValues, qkv_BNx: Tensor, heads: int) -> None:
    B, N, _ = qkv_BNx.shape
    with torch.autocast(qkv_BNx.device.type, enabled=False):
        qkv_3BhNd = qkv_BNx.detach().float().reshape(B, N, 3, heads, -1).permute(2, 0, 3, 1, 4)
        scores_BhNN = qkv_3BhNd[0] @ qkv_3BhNd[1].transpose(-2, -1)
    largest.score = torch.maximum(largest.score, scores_BhNN.abs().amax())


@torch.no_grad()
def _see_class_scores(
    largest: LargestValues, attention: nn.Module, inputs: tuple[Tensor, ...]
) -> None:
    tokens_BND = inputs[0].detach().float()
    B, _, D = tokens_BND.shape
    with torch.autocast(tokens_BND.device.type, enabled=False):
        q_Bhd = F.linear(tokens_BND[:, 0], attention.q.weight).reshape(B, attention.num_heads, -1)
        k_BND = F.linear(tokens_BND, attention.kv.weight[:D])
        k_BNhd = k_BND.unflatten(-1, (attention.num_heads, -1))
        scores_BhN = torch.einsum("bhd,bnhd->bhn", q_Bhd * attention.scale, k_BNhd)
    largest.score = torch.maximum(largest.score, scores_BhN.abs().amax())
