"""Half cosines over steps, for DINO's learning rate and weight decay (recipes C.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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
class CosineSchedule:
    """From ``start`` towards ``end`` by half a cosine over all steps, without a warm-up.

    ``end`` would be the value of the step after the last.

    Attributes:
        start: value of step 0.
        end: value that the step after the last would have.
        total_steps: updates.
        fall: curve from 1 to 0; a half cosine by default.
    Source: the weight decay of DINO main_dino.py; recipes C.1.
    """

    start: float
    end: float
    total_steps: int
    fall: Fall = half_cosine

    def at(self, step: int) -> float:
        """Return the value of one update (0-based)."""
        return self.end + self.fall(step, self.total_steps) * (self.start - self.end)


def rise_then_fall(
    step: int,
    *,
    rise_steps: int,
    total_steps: int,
    start: float,
    peak: float,
    floor: float,
    fall: Fall,
) -> float:
    """Return the value of one update: a line to the peak, then half a cosine towards the floor.

    The line includes its end point, so its last step and the first of the cosine both stand at the
    peak; the floor is never reached.

    Args:
        step: 0-based.
        rise_steps: updates on the line.
        total_steps: updates in all.
        start: value of step 0.
        peak: value at the end of the line.
        floor: value that the cosine falls towards.
        fall: curve from 1 to 0.

    Source: DINO utils.py ``cosine_scheduler``; recipes C.1.
    """
    if step < rise_steps:
        return start + (peak - start) * step / max(1, rise_steps - 1)
    return CosineSchedule(peak, floor, total_steps - rise_steps, fall).at(step - rise_steps)
