"""Attention as the code of 2021 computed it: scores first, scale afterwards.

Shapes: B images, N tokens, D width, h heads, d = D/h features per head, P = B * h products.
"""

from __future__ import annotations

from timm.layers import Attention
from torch import Tensor


class ScoresThenScale(Attention):
    """Self-attention whose product q k^T is taken before the scale, then softmax.

    Under fp16 autocast the unscaled product is a half-precision number: it overflows where a fused
    or pre-scaled attention would not, and that is one way the official code crashed. Parameters
    and their names are those of timm's class.
    Source: recipes section 2 (timm 0.3.2, DINO and VOLO ``Attention``).
    """

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
        q_PNd, v_PNd = q_BhNd.flatten(0, 1), v_BhNd.flatten(0, 1)
        scores_PNN = (q_PNd @ k_BhNd.transpose(-2, -1).flatten(0, 1)) * self.scale
        weights_PNN = self.attn_drop(scores_PNN.softmax(dim=-1))
        mixed_BhNd = (weights_PNN @ v_PNd).unflatten(0, (B, self.num_heads))
        mixed_BND = mixed_BhNd.transpose(1, 2).reshape(B, N, self.attn_dim)
        return self.proj_drop(self.proj(mixed_BND))
