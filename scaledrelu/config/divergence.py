"""The group ``divergence``: when a finite run counts as collapsed (recipes, "Crash rule")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scaledrelu.config.fields import number, word
from scaledrelu.config.group import Group, require
from scaledrelu.config.ranges import COUNT, NOT_NEGATIVE, POSITIVE


@dataclass(frozen=True, slots=True)
class DivergenceConfig(Group):
    """When a finite run counts as collapsed."""

    KEY: ClassVar[str] = "divergence"

    ratio: float = number(POSITIVE)  # of the chance loss; a window with a higher mean is dead
    judge: str = word("after_warmup", "fraction")
    judge_at: float = number(NOT_NEGATIVE)  # end of the first window: paper epochs, or fraction
    window: float = number(POSITIVE)  # same unit as judge_at
    stop: bool  # dead windows in a row end the run; else only its end is judged
    patience: int = number(COUNT)  # how many, with stop

    def check(self) -> None:
        """Refuse fractions above 1."""
        for key in ("judge_at", "window"):
            value = getattr(self, key)
            require(
                self.judge != "fraction" or value <= 1,
                f"divergence.{key}={value:g}: must lie in [0, 1] with divergence.judge=fraction",
            )
