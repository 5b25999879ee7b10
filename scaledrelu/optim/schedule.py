"""Learning rate and weight decay as pure functions of the step: epochs become steps here alone.

Lengths are written in epochs of the paper's schedule. A profile shortens the run, not the curve:
the run walks through the same paper epochs in fewer steps. Nothing here is state, so a resumed run
needs only its step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scaledrelu.config.schedule import AFTER_WARMUP, STEP, ScheduleConfig, WarmupConfig

Fall = Callable[[float, float], float]
"""``fall(done, length)``: the share that is left after ``done`` of ``length``; 1 at 0, then 0."""


def half_cosine(done: float, length: float) -> float:
    """Return the share that half a cosine leaves: 1 at the start, 0 at the end.

    Args:
        done: distance covered, in any unit.
        length: whole distance, in the same unit.
    """
    return 0.5 * (1.0 + math.cos(math.pi * done / length))


@dataclass(frozen=True, slots=True)
class Curve:
    """The official curve, in epochs of the paper.

    schedule: length, floor, unit and delay.
    warmup: shape and start of the rise.
    peak_lr: effective peak rate, as ``LrConfig.peak`` returns it.
    warmup_scale: the profile's factor on the printed length of the warm-up.
    fall: curve from the peak (1) to the floor (0) over the length of the schedule.
    """

    schedule: ScheduleConfig
    warmup: WarmupConfig
    peak_lr: float
    warmup_scale: float = 1.0
    fall: Fall = half_cosine

    @property
    def floor_lr(self) -> float:
        """Rate at the end of the curve."""
        return self.schedule.floor(self.peak_lr)

    @property
    def first_lr(self) -> float:
        """Rate at the start of the warm-up."""
        return self.warmup.start(self.peak_lr)

    @property
    def rise_epochs(self) -> float:
        """Paper epochs of warm-up; 0 with shape ``none``."""
        return self.warmup.length(self.warmup_scale)

    @property
    def is_after_warmup(self) -> bool:
        """Whether the curve begins where the warm-up ends (DINO), instead of behind it (DeiT)."""
        return self.schedule.cosine == AFTER_WARMUP

    def value(self, epoch: float, *, peak_factor: float = 1.0) -> float:
        """Rate of the curve at a paper epoch (>= 0), before any delay.

        Linear up to the warm-up's end, then the curve that started at epoch 0: the warm-up
        replaces its beginning and does not push it back.

        Args:
            epoch: epoch of the paper's schedule.
            peak_factor: multiplies the peak only; start of the warm-up and floor are not scaled,
                as in ReID's scheduler.

        Source: recipes A.4; D.1 for the factor.
        """
        peak_lr, epochs = self.peak_lr * peak_factor, self.schedule.epochs
        if epoch < self.rise_epochs:
            return self.first_lr + epoch * (peak_lr - self.first_lr) / self.rise_epochs
        if epoch >= epochs:
            return self.floor_lr
        return self.floor_lr + self.fall(epoch, epochs) * (peak_lr - self.floor_lr)


@dataclass(frozen=True, slots=True)
class LrSchedule:
    """A curve laid over the steps of one run.

    Attributes:
        curve: the rate by paper epoch.
        run_epochs: epochs this run trains, at least 1; they cover the whole curve.
        steps_per_epoch: updates in one epoch of this run, at least 1.
    """

    curve: Curve
    run_epochs: int
    steps_per_epoch: int

    @property
    def total_steps(self) -> int:
        """Updates in the whole run."""
        return self.run_epochs * self.steps_per_epoch

    @property
    def warmup_steps(self) -> int:
        """Updates made before the curve's warm-up has ended, delay included."""
        if self.curve.rise_epochs == 0:
            return 0
        if self.curve.is_after_warmup:
            return min(round(self.steps_in(self.curve.rise_epochs)), self.total_steps)
        end = max(0.0, self.curve.rise_epochs + self.curve.schedule.delay_epochs)
        if self.curve.schedule.unit == STEP:
            steps = math.ceil(self.steps_in(end))
        else:
            epochs = math.ceil(end * self.run_epochs / self.curve.schedule.total_epochs)
            steps = epochs * self.steps_per_epoch
        return min(steps, self.total_steps)

    def epoch_of(self, step: int) -> int:
        """Epoch of this run that an update belongs to, counted from 0."""
        return step // self.steps_per_epoch

    def paper_epoch(self, step: int) -> float:
        """How far training has come before this update, in paper epochs; the same in both units."""
        return step * self.curve.schedule.total_epochs / self.total_steps

    def steps_in(self, paper_epochs: float) -> float:
        """Return how many updates of this run a length in paper epochs takes; not rounded."""
        return paper_epochs * self.total_steps / self.curve.schedule.total_epochs

    def at(self, step: int, *, peak_factor: float = 1.0) -> float:
        """Return the learning rate of one update.

        Args:
            step: 0-based.
            peak_factor: multiplies the peak only, not the start of the warm-up or the floor.
        """
        if self.curve.is_after_warmup:
            return self._after_warmup(step, self.curve.peak_lr * peak_factor)
        if self.curve.schedule.unit != STEP:
            epoch = self.epoch_of(step) * self.curve.schedule.total_epochs / self.run_epochs
        else:
            epoch = self.paper_epoch(step)
        return self.curve.value(
            max(0.0, epoch - self.curve.schedule.delay_epochs), peak_factor=peak_factor
        )

    def _after_warmup(self, step: int, peak: float) -> float:
        """Return the rate of a line to the peak, then of a curve towards the floor.

        The line includes its end point, so its last step and the first of the curve both stand at
        the peak; the floor is never reached.

        Source: DINO utils.py ``cosine_scheduler``; recipes C.1.
        """
        rise, first, floor = self.warmup_steps, self.curve.first_lr, self.curve.floor_lr
        if step < rise:
            return first + (peak - first) * step / max(1, rise - 1)
        return floor + self.curve.fall(step - rise, self.total_steps - rise) * (peak - floor)


@dataclass(frozen=True, slots=True)
class CosineSchedule:
    """From ``start`` towards ``end`` by half a cosine over all steps, without a warm-up.

    Attributes:
        start: value of step 0.
        end: value that the step after the last would have.
        total_steps: updates.
    Source: the weight decay of DINO main_dino.py; recipes C.1.
    """

    start: float
    end: float
    total_steps: int

    def at(self, step: int) -> float:
        """Return the value of one update (0-based)."""
        return self.end + half_cosine(step, self.total_steps) * (self.start - self.end)
