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

from scaledrelu.errors import ConfigError
from scaledrelu.models.attention import ScoresThenScale
from scaledrelu.models.options import pick
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
    *,
    image_size: int | Sequence[int],
    num_classes: int,
    width: int,
    depth: int,
    heads: int,
    mlp_ratio: float,
    patch_size: int,
    norm_eps: float,
    drop_path: float,
    make_stem: Callable[..., Stem],
    make_ffn: Callable[[int, int], nn.Module],
    ffn_norm: bool,
    attention: str,
) -> StemViT:
    """Build a ViT with its stem, FFNs and attention, initialised as the official code does.

    Args:
        image_size: pixels per side, or (height, width).
        num_classes: 0 leaves the head out.
        width: D, embedding width.
        depth: number of blocks.
        heads: attention heads per block.
        mlp_ratio: hidden features of the FFN over ``width``.
        patch_size: pixels per patch side.
        norm_eps: of every LayerNorm.
        drop_path: rate of the last block, growing linearly from 0 at the first.
        make_stem: ``make_stem(width=, patch_size=, image_size=)`` gives the stem.
        make_ffn: ``make_ffn(in_features, hidden_features)`` gives one block's FFN.
        ffn_norm: keep the LayerNorm before the FFN (Table 5).
        attention: fused | scores_then_scale.

    Raises:
        ConfigError: if the attention is unknown or the heads do not divide the width.
    Source: recipes A.1 and A.2.
    """
    if width % heads:
        raise ConfigError(
            f"model.heads: {heads} heads do not divide model.width={width}."
            " Choose a divisor of the width."
        )
    model = StemViT(
        img_size=image_size,
        num_classes=num_classes,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=mlp_ratio,
        patch_size=patch_size,
        drop_path_rate=drop_path,
        norm_layer=partial(nn.LayerNorm, eps=norm_eps),
        embed_layer=_stem_as_timm_asks(make_stem),
        mlp_layer=_ffn_as_timm_asks(make_ffn),
        attn_layer=pick("precision.attention", attention, ATTENTIONS),
    )
    # timm 1.0 starts it at 1e-6; the official code starts it like the positions (recipes A.2).
    nn.init.trunc_normal_(model.cls_token, std=0.02)
    for block in model.blocks:
        block.attn.fused_attn = attention == "fused"  # not TIMM_FUSED_ATTN's choice
        if not ffn_norm:
            block.norm2 = nn.Identity()
    return model


def _stem_as_timm_asks(make_stem: Callable[..., Stem]) -> Callable[..., Stem]:
    def embed_layer(*, img_size: int, patch_size: int, embed_dim: int, **_: object) -> Stem:
        return make_stem(width=embed_dim, patch_size=patch_size, image_size=img_size)

    return embed_layer


def _ffn_as_timm_asks(make_ffn: Callable[[int, int], nn.Module]) -> Callable[..., nn.Module]:
    def mlp_layer(*, in_features: int, hidden_features: int, **_: object) -> nn.Module:
        return make_ffn(in_features, hidden_features)

    return mlp_layer
