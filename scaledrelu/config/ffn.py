"""The group ``ffn``: the feed-forward part of every block (Table 5, Algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scaledrelu.config.fields import build, word
from scaledrelu.config.group import Group


@dataclass(frozen=True, slots=True)
class FfnConfig(Group):
    """The feed-forward part of every block."""

    KEY: ClassVar[str] = "ffn"

    label: str
    build: dict[str, Any] = build()
    act: str = word("gelu", "relu")
    norm: bool  # keep the LayerNorm before the FFN
