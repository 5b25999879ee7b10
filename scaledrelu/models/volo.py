"""VOLO behind our stems: outlook attention first, MixToken inside, logits for every token.

Decides what the training pass returns and where MixToken swaps; the caller draws the box.

Shapes: B images, H x W stem cells, h x w token cells (half of H x W), N = h * w tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.models.volo import VOLO
from torch import Tensor, nn

from scaledrelu.config.model import ModelConfig
from scaledrelu.errors import ConfigError
from scaledrelu.models.attention import ScoresThenScale
from scaledrelu.models.mix_token import Box, box_mask, swap
from scaledrelu.models.parts import Parts
from scaledrelu.models.weights import OUR_CONVS, TIMM_CONVS

POOLING = 2  # stem cells per token cell and side
TIMM_PATCH = 8  # timm builds its own stem for 4, 8 or 16 only; ours replaces it


@dataclass(frozen=True, slots=True)
class DenseLogits:
    """Result of a training pass: logits of the images and, row by row, of their tokens."""

    class_BC: Tensor  # noqa: N815
    tokens_BNC: Tensor  # noqa: N815


class GridScoresThenScale(ScoresThenScale):
    """``ScoresThenScale`` over a grid of tokens (B, h, w, D), as VOLO's transformer blocks hold it.

    VOLO's class attention needs no such variant: official code and timm both scale the query
    before the product there.
    Source: VOLO models/volo.py ``Attention`` and ``ClassAttention``.
    """

    def forward(self, tokens_BhwD: Tensor) -> Tensor:
        """Return attended tokens; the shape stays."""
        return super().forward(tokens_BhwD.flatten(1, 2)).view_as(tokens_BhwD)


class StemVOLO(VOLO):
    """timm's VOLO behind one of our stems, with a training pass that timm does not have.

    Calling it gives the evaluation output in either mode, logits (B, C): those of the class token
    plus half the largest of all tokens, class by class.
    """

    @property
    def token_grid(self) -> tuple[int, int]:
        """Rows and columns of the tokens that get logits."""
        return tuple(self.pos_embed.shape[1:3])

    def forward_dense(self, image_BCHW: Tensor, box: Box | None) -> DenseLogits:
        """Return class and token logits; the part of every image in ``box`` is its partner's.

        The partner of image i is image B - 1 - i. Stem features are swapped inside the box and
        token logits swapped back, so that each token's logits belong to its own image again.

        Args:
            image_BCHW: normalised images.
            box: the box to swap, in cells of the token grid; None mixes nothing.

        Source: recipes B.2 (VOLO models/volo.py ``VOLO.forward``).
        """
        # A mask instead of the numbers: one compiled graph serves every box.
        mask_hw1 = None if box is None else box_mask(box, self.token_grid, image_BCHW.device)
        return self._dense(image_BCHW, mask_hw1)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile both passes, evaluation and training, in place.

        Args:
            args: positional arguments of ``torch.compile``.
            kwargs: keyword arguments of ``torch.compile``.
        """
        super().compile(*args, **kwargs)
        self._dense = torch.compile(self._dense, *args, **kwargs)

    def _dense(self, image_BCHW: Tensor, mask_hw1: Tensor | None) -> DenseLogits:
        features_BHWD = self.patch_embed(image_BCHW).permute(0, 2, 3, 1)
        if mask_hw1 is not None:
            mask_HW1 = mask_hw1.repeat_interleave(POOLING, 0).repeat_interleave(POOLING, 1)
            features_BHWD = swap(features_BHWD, mask_HW1)
        tokens_BND = self.norm(self.forward_cls(self.forward_tokens(features_BHWD)))
        logits_BNC = self.aux_head(tokens_BND[:, 1:])
        if mask_hw1 is not None:
            logits_BNC = swap(logits_BNC, mask_hw1.flatten(0, 1))
        return DenseLogits(self.head(tokens_BND[:, 0]), logits_BNC)


def build_volo(
    model: ModelConfig,
    parts: Parts,
    *,
    image_size: int | Sequence[int],
    num_classes: int,
    layers: Sequence[int],
    outlook_width: int,
    outlook_heads: int,
    post_blocks: int,
    ffn_in_class_blocks: bool,
) -> StemVOLO:
    """Build a VOLO with its stem, FFNs and attention, initialised as the official code does.

    Args:
        model: sizes of the transformer and class-attention blocks, whose FFNs have the same ratio
            everywhere; ``patch_size`` is that of a stem cell (a token covers twice as many pixels a
            side), ``depth`` is None. Drop path grows linearly from 0 at the first block of the
            network to the rate of the last; outlookers get none although they count, as in the
            official code.
        parts: stem, FFNs and attention to put into it; attention goes into the transformer blocks.
        image_size: pixels per side, or (height, width).
        num_classes: C, outputs of both heads.
        layers: number of outlookers, then of transformer blocks, stage by stage.
        outlook_width: width of stem output and outlookers.
        outlook_heads: heads of the outlook attention.
        post_blocks: class-attention blocks at the end.
        ffn_in_class_blocks: whether they get FFN and ``ffn_norm`` too (assumption, recipes H20).

    Raises:
        ConfigError: if sizes or heads do not fit.
    Source: recipes B.1; Table 5 for the FFNs.
    """
    _check(model.depth, layers, outlook_width, outlook_heads)
    stem = parts.make_stem(width=outlook_width, patch_size=model.patch_size, image_size=image_size)
    stages = len(layers) - 1
    volo = StemVOLO(
        layers=list(layers),
        img_size=tuple(TIMM_PATCH * cells for cells in _even(stem.grid_size)),
        num_classes=num_classes,
        patch_size=TIMM_PATCH,
        embed_dims=[outlook_width] + stages * [model.width],
        num_heads=[outlook_heads] + stages * [model.heads],
        downsamples=(True,) + stages * (False,),
        outlook_attention=(True,) + stages * (False,),
        mlp_ratio=model.mlp_ratio,
        drop_path_rate=model.drop_path,
        norm_layer=partial(nn.LayerNorm, eps=model.norm_eps),
        post_layers=post_blocks * ("ca",),
        pooling_scale=POOLING,
    )
    volo.patch_embed = stem
    for block in transformers(volo):
        block.attn = ATTENTIONS[parts.attention](block.attn, model.width, model.heads)
    class_blocks = volo.post_network if ffn_in_class_blocks else ()
    for block in (*volo.network[0], *transformers(volo), *class_blocks):
        block.mlp = parts.make_ffn(block.mlp.fc1.in_features, block.mlp.fc1.out_features)
        if not parts.ffn_norm:
            block.norm2 = nn.Identity()
    # Once more, for the Linear layers that came after timm's own round.
    return volo.apply(volo._init_weights)


def transformers(model: StemVOLO) -> list[nn.Module]:
    """Return the transformer blocks, of all stages after the outlookers, in order."""
    return [block for stage in model.network[2:] for block in stage]


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of ours with ``stem=conv`` under timm's names."""
    return {key.replace(OUR_CONVS, TIMM_CONVS): value for key, value in state.items()}


def _fused(attention: nn.Module, width: int, heads: int) -> nn.Module:
    attention.fused_attn = True  # not TIMM_FUSED_ATTN's choice
    return attention


def _scores_then_scale(attention: nn.Module, width: int, heads: int) -> nn.Module:
    return GridScoresThenScale(width, num_heads=heads, qkv_bias=False)


ATTENTIONS: dict[str, Callable[[nn.Module, int, int], nn.Module]] = {
    "fused": _fused,
    "scores_then_scale": _scores_then_scale,
}


def _check(depth: int | None, layers: Sequence[int], width: int, heads: int) -> None:
    if depth is not None:
        raise ConfigError(
            f"model.depth={depth}: must be null for VOLO, whose depth is model.build.layers"
        )
    if len(layers) < 2:
        raise ConfigError(
            f"model.build.layers={list(layers)}: must hold the number of outlookers, then at least "
            "one number of transformer blocks, e.g. [4,4,8,2]"
        )
    if width % heads:
        raise ConfigError(
            f"model.build.outlook_width={width}: must be a multiple of "
            f"model.build.outlook_heads={heads}"
        )


def _even(grid: tuple[int, int]) -> tuple[int, int]:
    if any(side % POOLING for side in grid):
        raise ConfigError(
            f"data.image_size: gives a stem grid of {grid[0]}x{grid[1]} cells, but both sides must "
            "be even; choose a multiple of twice model.patch_size"
        )
    return grid
