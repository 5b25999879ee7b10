"""What our networks have instead of timm's own: stem, FFNs and attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from scaledrelu.models.stem import Stem


@dataclass(frozen=True, slots=True)
class Parts:
    """What is put into a backbone.

    Attributes:
        make_stem: ``make_stem(width=, patch_size=, image_size=)`` gives the stem.
        make_ffn: ``make_ffn(in_features, hidden_features)`` gives one block's FFN.
        ffn_norm: keep the LayerNorm before the FFN (Table 5).
        attention: fused | scores_then_scale.
    """

    make_stem: Callable[..., Stem]
    make_ffn: Callable[[int, int], nn.Module]
    ffn_norm: bool
    attention: str
