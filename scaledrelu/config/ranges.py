"""Ranges of numbers, in the usual notation: what they hold, and how messages describe them."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Range:
    """What a number, or each number of a list, may be.

    A range is wide: it stops plain mistakes (a negative probability, an infinite rate), not unusual
    experiments.

    Attributes:
        interval: in the usual notation, e.g. ``(0, 1]``; ``inf`` never belongs to it.
        count: length of the list; None: a number, or a list of any length.
        least: a list with at least this many numbers, where the field's type does not say so.
        rising: the numbers of the list must not fall.
        whole: whole numbers only; needed in open dictionaries, whose values have no type.
    """

    interval: str
    count: int | None = None
    least: int = 0
    rising: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Say whether one number lies within."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not math.isfinite(value) or (self.whole and value != int(value)):
            return False
        low, high = _ends(self.interval)
        above = value > low if self.interval[0] == "(" else value >= low
        below = value < high if self.interval[-1] == ")" else value <= high
        return above and below

    def accepts(self, value: Any) -> bool:
        """Say whether a number, or a list of numbers, is allowed."""
        if not isinstance(value, list | tuple):
            return self.count is None and not self.least and self.holds(value)
        if len(value) < self.least:
            return False
        fits = self.count in (None, len(value)) and all(map(self.holds, value))
        return fits and (not self.rising or list(value) == sorted(value))

    def __str__(self) -> str:
        kind = "whole numbers" if self.whole else "numbers"
        if self.count is not None:
            order = ", in ascending order" if self.rising else ""
            return f"must be {self.count} {kind} in {self.interval}{order}"
        if self.least:
            some = f"at least {self.least} " if self.least > 1 else ""
            return f"must be a list of {some}{kind} in {self.interval}"
        bound = BOUNDS.get(self.interval, f"must lie in {self.interval}")
        return bound + (", a whole number" if self.whole else "")


BOUNDS = {  # in words, where there is one bound only
    "(0, inf)": "must be greater than 0 and finite",
    "[0, inf)": "must be at least 0 and finite",
}
SHARE = Range("[0, 1]")
POSITIVE = Range("(0, inf)")
NOT_NEGATIVE = Range("[0, inf)")
COUNT = Range("[1, 1000000000]", whole=True)
FEW = Range("[1, 1024]", whole=True)
PIXELS = Range("[1, 16384]", whole=True)
CHANNELS = Range("[1, 65536]", whole=True)
EPOCHS = Range("[0, 1000000]", whole=True)
SEED = Range("[0, 4294967295]", whole=True)
SHARE_OF_AN_IMAGE = Range("(0, 1]")
WORKERS = Range("[0, 1024]", whole=True)
AREAS = Range("(0, 1]", count=2, rising=True)


def within(allowed: Range) -> Callable[[str], int | float]:
    """Return what argparse calls (``type=``) to read a number that lies in a range."""

    def number(text: str) -> int | float:
        try:
            value = int(text) if allowed.whole else float(text)
        except ValueError:
            value = None
        if not allowed.holds(value):
            raise ArgumentTypeError(f"{text}: {allowed}")
        return value

    return number


@cache
def _ends(interval: str) -> tuple[float, float]:
    low, high = (float(end) for end in interval[1:-1].split(","))
    return low, high
