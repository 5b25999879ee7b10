"""Two sides in turns: A B B A, one ratio per round, so that slow drift of the machine cancels."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MIN_STEPS = 2  # per turn, unless the caller knows better


@dataclass(frozen=True, slots=True)
class Pairing:
    """Times of some rounds of A B B A.

    Attributes:
        seconds_a: seconds per step of A, one entry per round.
        seconds_b: seconds per step of B, one entry per round.
    """

    seconds_a: list[float]
    seconds_b: list[float]

    @property
    def ratios(self) -> list[float]:
        """Speed of A over speed of B, per round; above 1 means that A is faster."""
        return [b / a for a, b in zip(self.seconds_a, self.seconds_b, strict=True)]

    @property
    def rate_a(self) -> float:
        """Steps of A per second, median round."""
        return 1 / statistics.median(self.seconds_a)

    @property
    def rate_b(self) -> float:
        """Steps of B per second, median round."""
        return 1 / statistics.median(self.seconds_b)


def join(blocks: Sequence[Pairing]) -> Pairing:
    """Return a pairing with one entry per block: the mean of the block's rounds."""
    return Pairing(
        [statistics.fmean(block.seconds_a) for block in blocks],
        [statistics.fmean(block.seconds_b) for block in blocks],
    )


def alternate(
    a: Callable[[], object],
    b: Callable[[], object],
    *,
    rounds: int,
    turn_seconds: float,
    synchronize: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
    min_steps: int = MIN_STEPS,
) -> Pairing:
    """Time two sides in rounds of A B B A.

    Args:
        a: one step of A; already warm.
        b: one step of B; already warm.
        rounds: number of rounds, of four turns each.
        turn_seconds: desired length of one turn; the slower side sets the number of steps.
        synchronize: waits for the device; called around turns, never inside.
        clock: returns seconds.
        min_steps: fewest steps of a turn.
    """

    def turn(step: Callable[[], object], steps: int) -> float:
        synchronize()
        start = clock()
        for _ in range(steps):
            step()
        synchronize()
        return (clock() - start) / steps

    slower = max(turn(a, min_steps), turn(b, min_steps), 1e-9)
    steps = max(min_steps, math.ceil(turn_seconds / slower))
    seconds_a, seconds_b = [], []
    for _ in range(rounds):
        first_a, first_b = turn(a, steps), turn(b, steps)
        second_b, second_a = turn(b, steps), turn(a, steps)
        seconds_a.append((first_a + second_a) / 2)
        seconds_b.append((first_b + second_b) / 2)
    return Pairing(seconds_a, seconds_b)
