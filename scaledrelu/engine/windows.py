"""When a finite run is dead: a pure function of its windows' mean losses and the rule.

A window is dead if its mean training loss lies above ``ratio x chance``. Nothing here uses tensors
or devices, and nothing changes: a resumed run asks again and gets the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a run is watched and what counts as a crash.

    Attributes:
        chance_loss: loss of a model that knows nothing.
        ratio: factor on that loss; a window whose mean lies above the product is dead.
        judge_step: finished steps after which the first window ends.
        window_steps: steps of a window; the next one starts where one ends.
        stop: True: ``patience`` dead windows in a row end the run. In any case a run that is dead
            at its last step has crashed.
        patience: dead windows in a row that end a run with ``stop``.
        total_steps: steps of the run; its last window ends there and overlaps the one before it if
            the steps do not divide.
    """

    chance_loss: float
    ratio: float
    judge_step: int
    window_steps: int
    stop: bool
    patience: int
    total_steps: int

    @property
    def limit(self) -> float:
        """Mean loss above which a window is dead."""
        return self.ratio * self.chance_loss

    @property
    def first_end(self) -> int:
        """Finished steps after which the first window ends; at the latest the end of the run."""
        return min(self.judge_step or self.window_steps, self.total_steps)

    @property
    def num_windows(self) -> int:
        """Windows of a whole run."""
        return self.windows_until(self.total_steps)

    def windows_until(self, step: int) -> int:
        """Return how many windows have ended after so many finished steps."""
        if step < self.first_end:
            return 0
        whole, rest = divmod(step - self.first_end, self.window_steps)
        return whole + 1 + (step == self.total_steps and rest > 0)

    def ends_window(self, step: int) -> bool:
        """Whether a window ends after so many finished steps."""
        return self.windows_until(step) > self.windows_until(step - 1)

    def end_of(self, window: int) -> int:
        """Return the finished steps after which a window (0-based) ends."""
        return min(self.first_end + window * self.window_steps, self.total_steps)

    def start_of(self, window: int) -> int:
        """Return the first step (0-based) of a window; windows at the start may be shorter."""
        return max(0, self.end_of(window) - self.window_steps)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Dead windows in a row.

    Attributes:
        first_step: first step (0-based) of the first of them.
        last_step: last step of the last of them.
        windows: how many.
        left: whether a window that is not dead follows.
    """

    first_step: int
    last_step: int
    windows: int
    left: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What the windows so far say.

    Attributes:
        stretches: dead stretches in order.
        collapsed: the window (0-based) that made the run a crash; None if it is not one yet.
        in_a_row: dead windows in a row up to that one; 0 if there is none.
    """

    stretches: tuple[Stretch, ...]
    collapsed: int | None
    in_a_row: int

    @property
    def dead_windows(self) -> int:
        """Number of dead windows."""
        return sum(stretch.windows for stretch in self.stretches)


def judge_windows(means: Sequence[float], rule: Rule) -> Finding:
    """Find the dead stretches of a run and whether it has crashed.

    Args:
        means: mean loss of every window that has ended, in order; NaN is not dead (a loss that is
            not finite is judged elsewhere, at once).
        rule: what is dead.
    """
    stretches: list[Stretch] = []
    start, collapsed, in_a_row = None, None, 0
    for window, mean in enumerate(means):
        dead = mean > rule.limit
        if not dead:
            start = None
            continue
        if start is None:
            start = window
        else:
            stretches.pop()
        stretches.append(_stretch(rule, start, window, len(means)))
        enough = rule.stop and window - start + 1 >= rule.patience
        if collapsed is None and (enough or rule.end_of(window) == rule.total_steps):
            collapsed, in_a_row = window, window - start + 1
    return Finding(tuple(stretches), collapsed, in_a_row)


def _stretch(rule: Rule, first: int, last: int, count: int) -> Stretch:
    steps = rule.start_of(first), rule.end_of(last) - 1
    return Stretch(*steps, windows=last - first + 1, left=last + 1 < count)
