"""The groups ``model`` and ``ffn``: a backbone family, its size, and one part of its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scaledrelu.config.fields import build, number, word
from scaledrelu.config.group import Group, require
from scaledrelu.config.ranges import CHANNELS, FEW, PIXELS, Range

# What a method may ask of a backbone beside one output per image (config/combinations.py):
BLOCK_TOKENS = "block_tokens"  # ``blocks`` with a class token each, as timm's VisionTransformer
IMAGE_SIZES = "image_sizes"  # takes images of other sizes than it was built for
TOKEN_LOGITS = "token_logits"  # ``forward_dense`` and ``token_grid``, as StemVOLO
OFFERS = (BLOCK_TOKENS, IMAGE_SIZES, TOKEN_LOGITS)


@dataclass(frozen=True, slots=True)
class ModelConfig(Group):
    """A backbone family and its size (recipes A.1)."""

    KEY: ClassVar[str] = "model"

    label: str  # what reports print, e.g. "DeiT-Small"
    build: dict[str, Any] = build(
        layers=Range("[1, 1024]", least=1, whole=True),
        outlook_width=CHANNELS,
        outlook_heads=FEW,
        post_blocks=Range("[0, 1024]", whole=True),
    )
    offers: tuple[str, ...] = word(*OFFERS)  # transient: what the code of ``build`` can do
    width: int = number(CHANNELS)
    depth: int | None = number(FEW)  # null: the build lists its stages (VOLO)
    heads: int = number(FEW)
    mlp_ratio: float = number(Range("(0, 1024]"))
    patch_size: int = number(PIXELS)
    norm_eps: float = number(Range("(0, 1)"))
    drop_path: float = number(Range("[0, 1)"))

    def check(self) -> None:
        """Refuse heads that do not divide the width."""
        require(
            self.width % self.heads == 0,
            f"model.width={self.width}: must be a multiple of model.heads={self.heads}",
        )


@dataclass(frozen=True, slots=True)
class FfnConfig(Group):
    """The feed-forward part of every block (Table 5, Algorithm 2)."""

    KEY: ClassVar[str] = "ffn"

    label: str
    build: dict[str, Any] = build()
    act: str = word("gelu", "relu")
    norm: bool  # keep the LayerNorm before the FFN
