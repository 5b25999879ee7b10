"""Attention as the code of 2021 computed it: scores first, scale afterwards.

Shapes: B images, N tokens, D width, h heads, d = D/h features per head, P = B * h products, M >= N
keys: one for each token, the others are zeros whose weights are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from timm.layers import Attention
from torch import Tensor
from torch.nn import functional as F

# Half-precision numbers in 16 bytes: a fast product wants the length of rows to be a multiple.
ALIGNED = 8


class ScoresThenScale(Attention):
    """Self-attention whose product q k^T is taken before the scale, then softmax.

    Under fp16 autocast the unscaled product is a half-precision number: it overflows where a fused
    or pre-scaled attention would not, and that is one way the official code crashed. Parameters
    and their names are those of timm's class.

    Attributes:
        aligns: whether keys are padded with zeros on a GPU, so that the rows of the scores are
            aligned: 197 tokens to 200. Products with rows of 197 half-precision numbers take three
            times as long (H200). The score of a padded key is -inf, its weight therefore 0.
    Source: recipes section 2 (timm 0.3.2, DINO and VOLO ``Attention``).
    """

    aligns = True

    def forward(
        self, tokens_BND: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Return attended tokens (B, N, D).

        Args:
            tokens_BND: B x N x D.
            attn_mask: not supported; only None.
            is_causal: not supported; only False.

        Raises:
            ValueError: if a mask is given; the official code has none.
        """
        if attn_mask is not None or is_causal:
            raise ValueError("ScoresThenScale supports no masks; the code of 2021 had none")
        B, N, _ = tokens_BND.shape
        qkv_BN3hd = self.qkv(tokens_BND).reshape(B, N, 3, self.num_heads, self.head_dim)
        q_BhNd, k_BhNd, v_BhNd = qkv_BN3hd.permute(2, 0, 3, 1, 4).unbind(0)
        # Three dimensions, the form that matmul gives them in any case: of four, torch.compile
        # makes fused attention where there are no gradients or B = 1 (torch 2.11 to 2.15).
        q_PNd, v_PMd = q_BhNd.flatten(0, 1), v_BhNd.flatten(0, 1)
        k_PdM = k_BhNd.transpose(-2, -1).flatten(0, 1)
        if tokens_BND.is_cuda and self.aligns:
            k_PdM, v_PMd = pad_keys(k_PdM, v_PMd, -N % ALIGNED)
        mixed_PNd = attend(q_PNd, k_PdM, v_PMd, scale=self.scale, drop=self.attn_drop, tokens=N)
        mixed_BhNd = mixed_PNd.unflatten(0, (B, self.num_heads))
        mixed_BND = mixed_BhNd.transpose(1, 2).reshape(B, N, self.attn_dim)
        return self.proj_drop(self.proj(mixed_BND))


def attend(
    q_PNd: Tensor,
    k_PdM: Tensor,
    v_PMd: Tensor,
    *,
    scale: float,
    drop: Callable[[Tensor], Tensor],
    tokens: int,
) -> Tensor:
    """Return softmax(q k^T scale) v, P x N x d; the product comes before the scale.

    Args:
        q_PNd: queries.
        k_PdM: keys.
        v_PMd: values.
        scale: factor of the scores.
        drop: dropout of the weights.
        tokens: N, how many of the keys belong to tokens.
    """
    scores_PNM = (q_PNd @ k_PdM) * scale
    if k_PdM.shape[-1] > tokens:
        is_padding_M = torch.arange(k_PdM.shape[-1], device=k_PdM.device) >= tokens
        scores_PNM = scores_PNM.masked_fill(is_padding_M, -math.inf)
    return drop(scores_PNM.softmax(dim=-1)) @ v_PMd


def pad_keys(k_PdN: Tensor, v_PNd: Tensor, extra: int) -> tuple[Tensor, Tensor]:
    """Return keys (P, d, N + extra) and values (P, N + extra, d), zeros after the tokens.

    Args:
        k_PdN: keys.
        v_PNd: values.
        extra: how many keys and values are added.
    """
    return F.pad(k_PdN, (0, extra)), F.pad(v_PNd, (0, 0, 0, extra))
