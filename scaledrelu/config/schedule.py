"""The groups ``lr``, ``warmup`` and ``schedule``: how large the rate is, and over how long.

Everything is written in epochs of the paper and for the nominal batch of the recipe; a profile's
factors come in here and nowhere else. The curve itself is in ``optim/schedule.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scaledrelu.config.fields import build, number, word
from scaledrelu.config.group import Group, require
from scaledrelu.config.ranges import COUNT, EPOCHS, NOT_NEGATIVE, POSITIVE, SHARE, Range

STEP = "step"  # of schedule.unit
AFTER_WARMUP = "after_warmup"  # of schedule.cosine


@dataclass(frozen=True, slots=True)
class LrConfig(Group):
    """The peak learning rate and the curve down from it (recipes section 1)."""

    KEY: ClassVar[str] = "lr"

    label: str
    base: float = number(POSITIVE)
    reference_batch: int | None = number(COUNT)  # null: base is used as written
    curve: dict[str, Any] | None = build()  # null: half a cosine

    def peak(self, *, total_batch: int, lr_scale: float) -> float:
        """Return the effective peak rate: ``base * total_batch / reference_batch * lr_scale``.

        Args:
            total_batch: nominal images per update of the recipe, whatever a profile trains with.
            lr_scale: the profile's factor.

        Source: recipes section 1 (DeiT 512, DINO 256, VOLO and ReID unscaled).
        """
        factor = 1.0 if self.reference_batch is None else total_batch / self.reference_batch
        return self.base * factor * lr_scale


@dataclass(frozen=True, slots=True)
class WarmupConfig(Group):
    """Warm-up shape and its length in epochs of the paper's schedule (recipes A.4, H37)."""

    KEY: ClassVar[str] = "warmup"

    label: str
    shape: str = word("linear", "none")  # none starts at the peak
    epochs: float = number(NOT_NEGATIVE)
    start_lr: float | None = number(SHARE)  # absolute, not scaled; null: use the fraction
    start_lr_fraction: float | None = number(SHARE)  # of the peak

    def check(self) -> None:
        """Refuse two starts, or none."""
        _exactly_one("warmup", start_lr=self.start_lr, start_lr_fraction=self.start_lr_fraction)

    def length(self, warmup_scale: float) -> float:
        """Return the paper epochs of warm-up: the printed length times the profile's scale."""
        return 0.0 if self.shape == "none" else self.epochs * warmup_scale

    def start(self, peak: float) -> float:
        """Return the rate that the warm-up starts from."""
        return peak * self.start_lr_fraction if self.start_lr is None else self.start_lr


@dataclass(frozen=True, slots=True)
class ScheduleConfig(Group):
    """Length and decay of the learning rate, in epochs of the paper (recipes A.4)."""

    KEY: ClassVar[str] = "schedule"

    epochs: int = number(Range("[1, 1000000]", whole=True))
    cooldown_epochs: int = number(EPOCHS)  # at the floor, after the curve
    unit: str = word("epoch", STEP)  # how often the rate changes
    delay_epochs: int = number(Range("[-1, 1000000]", whole=True))  # epoch e runs at value(e - it)
    min_lr: float | None = number(SHARE)  # absolute floor; null = use min_lr_fraction
    min_lr_fraction: float | None = number(SHARE)  # floor as a fraction of the peak
    cosine: str = word("whole", AFTER_WARMUP)  # warm-up replaces its beginning, or comes before
    weight_decay_end: float | None = number(NOT_NEGATIVE)  # cosine from the optimizer's to it

    def check(self) -> None:
        """Refuse two floors, or none, and what a curve after the warm-up cannot have."""
        _exactly_one("schedule", min_lr=self.min_lr, min_lr_fraction=self.min_lr_fraction)
        moved = self.unit == "epoch" or self.delay_epochs or self.cooldown_epochs
        require(
            self.cosine == "whole" or not moved,
            "schedule.cosine=after_warmup needs schedule.unit=step, schedule.delay_epochs=0 and "
            "schedule.cooldown_epochs=0",
        )

    @property
    def total_epochs(self) -> int:
        """Paper epochs trained, cool-down included."""
        return self.epochs + self.cooldown_epochs

    def run_epochs(self, epoch_scale: float) -> int:
        """Return how many epochs a run has: the paper's times the profile's scale; at least 1."""
        return max(1, round(self.total_epochs * epoch_scale))

    def floor(self, peak: float) -> float:
        """Return the rate at the end of the curve."""
        return peak * self.min_lr_fraction if self.min_lr is None else self.min_lr


def _exactly_one(group: str, **fields: float | None) -> None:
    one, other = fields
    require(
        (fields[one] is None) != (fields[other] is None),
        f"{group}: set exactly one of {one} and {other}; the other must be null",
    )
