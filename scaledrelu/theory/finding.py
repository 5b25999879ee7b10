"""What a section of the page hands to the table at its end, and how the page writes numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

ROUNDING = 1e-12  # of float64, over a whole network; its digits differ between machines


class Verdict(StrEnum):
    """What the numbers say of a step of the paper's argument."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the closing table.

    Attributes:
        claim: what the paper says, or leaves unsaid.
        verdict: what the numbers make of it.
        number: the numbers.
        where: how they were measured, and on what.
    """

    claim: str
    verdict: Verdict
    number: str
    where: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its paragraphs and tables, and what it adds to the closing table."""

    blocks: tuple[str, ...]
    findings: tuple[Finding, ...]


def judged(holds: bool) -> Verdict:
    """Return right where a step holds in every number measured, else wrong."""
    return Verdict.RIGHT if holds else Verdict.WRONG


def of_share(holds: int, total: int) -> Verdict:
    """Return right where a step holds in all cases, wrong where in none, else undecided.

    Args:
        holds: number of cases in which it does.
        total: number of cases; without any it was not run.
    """
    if total == 0:
        return Verdict.NOT_RUN
    return {0: Verdict.WRONG, total: Verdict.RIGHT}.get(holds, Verdict.UNDECIDED)


def picture(name: str, text: str) -> str:
    """Return the line that shows a picture.

    Args:
        name: file in ``docs/pictures``, without its ending.
        text: what it shows.
    """
    return f"![{text}](pictures/{name}.png)"


def size(value: float) -> str:
    """Return a number to three digits, a small one as a power of ten; rounding has no digits."""
    if 0 < abs(value) < ROUNDING:
        return "less than 1e-12"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) < 0.001:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.3g}"


def span(values: Iterable[float], form: Callable[[float], str] = size) -> str:
    """Return the smallest and the largest of some numbers; one where both are written alike.

    Args:
        values: the numbers.
        form: how one is written.
    """
    values = list(values)
    low, high = form(min(values)), form(max(values))
    return low if low == high else f"{low} to {high}"


def signed(value: float) -> str:
    """Return a number with its sign, to two digits behind the point."""
    return f"{value:+.2f}"
