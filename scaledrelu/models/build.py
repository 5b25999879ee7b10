"""Puts stems, FFNs and attention into timm's ViT: the only file to fix when timm moves.

Shapes: B images, N patch tokens, D width, H and W of the patch grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from timm.layers import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from scaledrelu.config.model import ModelConfig
from scaledrelu.models.attention import ScoresThenScale
from scaledrelu.models.parts import Parts
from scaledrelu.models.stem import Stem

ATTENTIONS: dict[str, type[Attention]] = {
    "fused": Attention,
    "scores_then_scale": ScoresThenScale,
}


class StemViT(VisionTransformer):
    """timm's ViT behind a stem that gives a feature map (B, D, H, W) instead of tokens."""

    def _pos_embed(self, features_BDHW: Tensor) -> Tensor:
        """Turn the stem's map into tokens, prepend the class token, add positions."""
        patches_BND = features_BDHW.flatten(2).transpose(1, 2)
        classes_B1D = self.cls_token.expand(patches_BND.shape[0], -1, -1)
        tokens_BND = torch.cat((classes_B1D, patches_BND), dim=1)
        return tokens_BND + self._positions(tuple(features_BDHW.shape[-2:]))

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        trained = self.patch_embed.grid_size
        if grid == trained:
            return self.pos_embed
        class_11D, patches_1ND = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        patches_1DHW = patches_1ND.transpose(1, 2).unflatten(2, trained)
        # Bicubic, not antialiased, by a scale a tenth of a cell too large, as DINO trains its
        # 96-pixel crops (recipes D); timm's own resampling antialiases.
        scale = tuple((new + 0.1) / old for new, old in zip(grid, trained, strict=True))
        resized_1DHW = F.interpolate(patches_1DHW, scale_factor=scale, mode="bicubic")
        return torch.cat((class_11D, resized_1DHW.flatten(2).transpose(1, 2)), dim=1)


def build_vit(
    model: ModelConfig, parts: Parts, *, image_size: int | Sequence[int], num_classes: int
) -> StemViT:
    """Build a ViT with its stem, FFNs and attention, initialised as the official code does.

    Args:
        model: width, depth, heads and the like.
        parts: stem, FFNs and attention to put into it.
        image_size: pixels per side, or (height, width).
        num_classes: 0 leaves the head out.

    Source: recipes A.1 and A.2.
    """
    vit = StemViT(
        img_size=image_size,
        num_classes=num_classes,
        embed_dim=model.width,
        depth=model.depth,
        num_heads=model.heads,
        mlp_ratio=model.mlp_ratio,
        patch_size=model.patch_size,
        drop_path_rate=model.drop_path,
        norm_layer=partial(nn.LayerNorm, eps=model.norm_eps),
        embed_layer=_stem_as_timm_asks(parts.make_stem),
        mlp_layer=_ffn_as_timm_asks(parts.make_ffn),
        attn_layer=ATTENTIONS[parts.attention],
    )
    # timm 1.0 starts it at 1e-6; the official code starts it like the positions (recipes A.2).
    nn.init.trunc_normal_(vit.cls_token, std=0.02)
    for block in vit.blocks:
        block.attn.fused_attn = parts.attention == "fused"  # not TIMM_FUSED_ATTN's choice
        if not parts.ffn_norm:
            block.norm2 = nn.Identity()
    return vit


def _stem_as_timm_asks(make_stem: Callable[..., Stem]) -> Callable[..., Stem]:
    def embed_layer(*, img_size: int, patch_size: int, embed_dim: int, **_: object) -> Stem:
        return make_stem(width=embed_dim, patch_size=patch_size, image_size=img_size)

    return embed_layer


def _ffn_as_timm_asks(make_ffn: Callable[[int, int], nn.Module]) -> Callable[..., nn.Module]:
    def mlp_layer(*, in_features: int, hidden_features: int, **_: object) -> nn.Module:
        return make_ffn(in_features, hidden_features)

    return mlp_layer
