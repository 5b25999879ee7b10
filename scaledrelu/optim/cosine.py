"""Half cosines laid out in steps, as DINO moves its rate and its weight decay (recipes C.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CosineSchedule:
    """From ``start`` towards ``end`` by half a cosine over all steps, without a warm-up.

    ``end`` would be the value of the step after the last.

    Source: the weight decay of DINO main_dino.py; recipes C.1.
    """

    start: float
    end: float
    total_steps: int

    def at(self, step: int) -> float:
        """Return the value of one update (0-based)."""
        fall = 0.5 * (1.0 + math.cos(math.pi * step / self.total_steps))
        return self.end + fall * (self.start - self.end)


def rise_then_fall(
    step: int, *, rise_steps: int, total_steps: int, start: float, peak: float, floor: float
) -> float:
    """Return the value of one update: a line to the peak, then half a cosine towards the floor.

    The line includes its end point, so its last step and the first of the cosine both stand at the
    peak; the floor is never reached.

    Source: DINO utils.py ``cosine_scheduler``; recipes C.1.
    """
    if step < rise_steps:
        return start + (peak - start) * step / max(1, rise_steps - 1)
    return CosineSchedule(peak, floor, total_steps - rise_steps).at(step - rise_steps)
