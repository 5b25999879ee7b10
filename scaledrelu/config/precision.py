"""The group ``precision``: autocast type and attention path (recipes section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scaledrelu.config.fields import number, word
from scaledrelu.config.group import Group
from scaledrelu.config.ranges import COUNT, POSITIVE


@dataclass(frozen=True, slots=True)
class PrecisionConfig(Group):
    """Autocast type and attention path."""

    KEY: ClassVar[str] = "precision"

    label: str
    autocast: str = word("none", "fp16", "bf16")
    attention: str = word("fused", "scores_then_scale")
    loss_scaling: bool
    initial_scale: float = number(POSITIVE)
    growth_interval: int = number(COUNT)
