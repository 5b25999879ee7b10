"""Similarity between the tokens of a layer: Figure 1, section "Tokens Diversification"."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# B images, N tokens, D channels


@dataclass(frozen=True, slots=True)
class Similarity:
    """Mean over i != j and over images, of the absolute and of the signed cosine."""

    absolute: Tensor
    signed: Tensor


def layer_similarity(tokens_BND: Tensor) -> Similarity:
    """Mean off-diagonal cosine similarity between the tokens of one layer.

    Args:
        tokens_BND: tokens of one layer.

    Returns:
        Scalars in [0, 1] and [-1, 1]; 1 means that all tokens point the same way.

    Raises:
        ValueError: if N < 2.

    Source: section "Tokens Diversification", CosSim(B); absolute values as in Eq. 6 (assumption,
        recipes G.5); plotted in Figure 1.
    """
    count = tokens_BND.shape[1]
    if count < 2:
        raise ValueError(f"similarity needs at least 2 tokens, got {count}")
    unit_BND = F.normalize(tokens_BND.float(), dim=-1)
    cosine_BNN = unit_BND @ unit_BND.transpose(1, 2)
    # In place and without a mask, which would copy all pairs and make the host wait for a GPU.
    cosine_BNN.diagonal(dim1=1, dim2=2).zero_()
    signed = _mean_of_pairs(cosine_BNN)
    return Similarity(_mean_of_pairs(cosine_BNN.abs_()), signed)


def _mean_of_pairs(values_BNN: Tensor) -> Tensor:
    """Return the mean over i != j and over images, where the diagonal is zero."""
    rows_BN = values_BNN.sum(dim=-1, dtype=torch.float32)
    return rows_BN.mean() / (values_BNN.shape[1] - 1)
