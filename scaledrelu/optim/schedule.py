"""The learning rate as a pure function of the step; epochs become steps here and nowhere else.

Lengths are written in epochs of the paper's schedule. A profile shortens the run, not the curve:
the run walks through the same paper epochs in fewer steps. Nothing here is state, so a resumed run
needs only its step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scaledrelu.errors import ConfigError
from scaledrelu.optim.choices import CosineSpan, ScheduleUnit, WarmupShape, check_choice
from scaledrelu.optim.cosine import rise_then_fall


def effective_lr(
    base: float, *, total_batch: int, reference_batch: int | None, lr_scale: float = 1.0
) -> float:
    """Return the peak rate: ``base * total_batch / reference_batch * lr_scale``.

    Args:
        base: the rate as a table prints it (the official flag, before scaling).
        total_batch: nominal images per update of the recipe, whatever a profile trains with.
        reference_batch: batch at which ``base`` holds as written; None = no scaling.
        lr_scale: the profile's factor.

    Raises:
        ConfigError: if a factor is not positive or the rate is negative.
    Source: recipes section 1 (DeiT 512, DINO 256, VOLO and ReID unscaled).
    """
    for name, value in (("batch.total", total_batch), ("lr.reference_batch", reference_batch)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1.")
    if base < 0 or lr_scale <= 0:
        raise ConfigError(
            f"lr.base is {base} and profile.lr_scale is {lr_scale}; "
            "the rate must not be negative and its scale must be positive."
        )
    factor = 1.0 if reference_batch is None else total_batch / reference_batch
    return base * factor * lr_scale


def run_epochs(paper_epochs: int, epoch_scale: float) -> int:
    """Return how many epochs a run has: the paper's, cool-down included, times the scale; >= 1.

    Raises:
        ConfigError: if either is not positive.
    """
    if paper_epochs < 1 or epoch_scale <= 0:
        raise ConfigError(
            f"schedule.epochs + schedule.cooldown_epochs is {paper_epochs} and "
            f"profile.epoch_scale is {epoch_scale}; both must be positive."
        )
    return max(1, round(paper_epochs * epoch_scale))


def warmup_length(warmup_epochs: float, warmup_scale: float) -> float:
    """Return the warm-up in paper epochs: the printed length times the profile's scale.

    Zero stays zero.

    Raises:
        ConfigError: if the length is negative or the scale is not positive.
    """
    if warmup_epochs < 0 or warmup_scale <= 0:
        raise ConfigError(
            f"warmup.epochs is {warmup_epochs} and profile.warmup_scale is {warmup_scale}; "
            "the length must not be negative and its scale must be positive."
        )
    return warmup_epochs * warmup_scale


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """The official curve, in epochs of the paper.

    Attributes:
        epochs: length of the cosine; from there on the rate stays at its floor.
        cooldown_epochs: epochs trained at the floor after that.
        unit: ``epoch`` or ``step``, see `ScheduleUnit`.
        delay_epochs: epoch e runs at value(e - delay); 1 in DeiT (recipes A.4), -1 in ReID, whose
            epochs count from 1 (recipes D.1).
        min_lr: absolute floor, not scaled; exactly one of the two floors is set.
        min_lr_fraction: floor as a fraction of the peak.
        warmup_shape: ``linear`` or ``none``, see `WarmupShape`.
        warmup_epochs: already scaled, see `warmup_length`; 0 starts at the peak.
        start_lr: where the warm-up starts; absolute; exactly one of the two starts is set.
        peak_lr: effective rate, see `effective_lr`.
        cosine: ``whole`` or ``after_warmup``, see `CosineSpan`; the latter is laid out in steps.
        start_lr_fraction: where the warm-up starts, as a fraction of the peak.
    """

    epochs: int
    cooldown_epochs: int
    unit: str
    delay_epochs: int
    min_lr: float | None
    min_lr_fraction: float | None
    warmup_shape: str
    warmup_epochs: float
    start_lr: float | None
    peak_lr: float
    cosine: str = CosineSpan.WHOLE
    start_lr_fraction: float | None = None

    def __post_init__(self) -> None:
        check_choice("schedule.unit", self.unit, ScheduleUnit)
        check_choice("warmup.shape", self.warmup_shape, WarmupShape)
        check_choice("schedule.cosine", self.cosine, CosineSpan)
        if self.epochs < 1:
            raise ConfigError(f"schedule.epochs is {self.epochs}; it must be at least 1.")
        for key, value in (
            ("schedule.cooldown_epochs", self.cooldown_epochs),
            ("schedule.min_lr", self.min_lr or 0.0),
            ("schedule.min_lr_fraction", self.min_lr_fraction or 0.0),
            ("warmup.epochs", self.warmup_epochs),
            ("warmup.start_lr", self.start_lr or 0.0),
            ("warmup.start_lr_fraction", self.start_lr_fraction or 0.0),
        ):
            if value < 0:
                raise ConfigError(f"{key} is {value}; it must not be negative.")
        if self.delay_epochs < -1:
            raise ConfigError(f"schedule.delay_epochs is {self.delay_epochs}; it must be >= -1.")
        for key, value, fraction in (
            ("schedule.min_lr", self.min_lr, self.min_lr_fraction),
            ("warmup.start_lr", self.start_lr, self.start_lr_fraction),
        ):
            if (value is None) == (fraction is None):
                raise ConfigError(
                    f"{key} is {value} and {key}_fraction is {fraction}; "
                    "set exactly one and leave the other null."
                )
        moved = self.unit == ScheduleUnit.EPOCH or self.delay_epochs or self.cooldown_epochs
        if self.cosine == CosineSpan.AFTER_WARMUP and moved:
            raise ConfigError(
                "schedule.cosine is 'after_warmup', which needs schedule.unit=step, "
                "schedule.delay_epochs=0 and schedule.cooldown_epochs=0."
            )

    @property
    def floor_lr(self) -> float:
        """Rate at the end of the cosine."""
        return self.peak_lr * self.min_lr_fraction if self.min_lr is None else self.min_lr

    @property
    def first_lr(self) -> float:
        """Rate at the start of the warm-up."""
        return self.peak_lr * self.start_lr_fraction if self.start_lr is None else self.start_lr

    @property
    def total_epochs(self) -> int:
        """Paper epochs trained, cool-down included."""
        return self.epochs + self.cooldown_epochs

    @property
    def rise_epochs(self) -> float:
        """Paper epochs of warm-up; 0 with shape ``none``."""
        return 0.0 if self.warmup_shape == WarmupShape.NONE else self.warmup_epochs

    def value(self, epoch: float, *, peak_factor: float = 1.0) -> float:
        """Rate of the curve at a paper epoch (>= 0), before any delay.

        Linear up to the warm-up's end, then the cosine that started at epoch 0: the warm-up
        replaces its beginning and does not push it back. ``peak_factor`` multiplies the peak alone:
        where the warm-up starts and the floor stay, scalars as in ReID's scheduler.

        Source: recipes A.4; D.1 for the factor.
        """
        peak_lr = self.peak_lr * peak_factor
        if epoch < self.rise_epochs:
            return self.first_lr + epoch * (peak_lr - self.first_lr) / self.rise_epochs
        if epoch >= self.epochs:
            return self.floor_lr
        fall = 0.5 * (1.0 + math.cos(math.pi * epoch / self.epochs))
        return self.floor_lr + fall * (peak_lr - self.floor_lr)


class LrSchedule:
    """A curve laid over the steps of one run.

    Args:
        spec: the curve, in paper epochs.
        run_epochs: epochs this run trains, see `run_epochs`; they cover the whole curve.
        steps_per_epoch: updates in one epoch of this run.

    Raises:
        ConfigError: if the run has no step.
    """

    def __init__(self, spec: ScheduleSpec, *, run_epochs: int, steps_per_epoch: int) -> None:
        if run_epochs < 1 or steps_per_epoch < 1:
            raise ConfigError(
                f"The run has {run_epochs} epochs of {steps_per_epoch} steps; it needs at least "
                "one step: raise profile.epoch_scale, or use more images or a smaller batch.total."
            )
        self.spec = spec
        self.run_epochs = run_epochs
        self.steps_per_epoch = steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Updates in the whole run."""
        return self.run_epochs * self.steps_per_epoch

    @property
    def warmup_steps(self) -> int:
        """Updates made before the curve's warm-up has ended, delay included."""
        if self.spec.rise_epochs == 0:
            return 0
        if self.spec.cosine == CosineSpan.AFTER_WARMUP:
            return min(round(self.steps_in(self.spec.rise_epochs)), self.total_steps)
        end = max(0.0, self.spec.rise_epochs + self.spec.delay_epochs)
        if self.spec.unit == ScheduleUnit.STEP:
            steps = math.ceil(self.steps_in(end))
        else:
            epochs = math.ceil(end * self.run_epochs / self.spec.total_epochs)
            steps = epochs * self.steps_per_epoch
        return min(steps, self.total_steps)

    def epoch_of(self, step: int) -> int:
        """Epoch of this run that an update belongs to, counted from 0."""
        return step // self.steps_per_epoch

    def paper_epoch(self, step: int) -> float:
        """How far training has come before this update, in paper epochs; the same in both units."""
        return step * self.spec.total_epochs / self.total_steps

    def steps_in(self, paper_epochs: float) -> float:
        """Return how many updates of this run a length in paper epochs takes; not rounded."""
        return paper_epochs * self.total_steps / self.spec.total_epochs

    def at(self, step: int, *, peak_factor: float = 1.0) -> float:
        """Return the learning rate of one update (0-based), see `ScheduleSpec.value`."""
        if self.spec.cosine == CosineSpan.AFTER_WARMUP:
            return rise_then_fall(
                step,
                rise_steps=self.warmup_steps,
                total_steps=self.total_steps,
                start=self.spec.first_lr,
                peak=self.spec.peak_lr * peak_factor,
                floor=self.spec.floor_lr,
            )
        if self.spec.unit == ScheduleUnit.EPOCH:
            epoch = self.epoch_of(step) * self.spec.total_epochs / self.run_epochs
        else:
            epoch = self.paper_epoch(step)
        return self.spec.value(max(0.0, epoch - self.spec.delay_epochs), peak_factor=peak_factor)
