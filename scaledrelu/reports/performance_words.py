"""Names and numbers as docs/performance.md writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scaledrelu.cost.hours import Hours
from scaledrelu.cost.speed import Rate
from scaledrelu.reports.grid import head_lines, line
from scaledrelu.text import ranged

NAMES = {  # (method, with SAM)
    ("deit", False): "DeiT-S, AdamW",
    ("deit", True): "DeiT-S, SAM",
    ("volo", False): "VOLO-D1",
    ("dino", False): "DINO, pre-training",
    ("linear_probe", False): "DINO, linear evaluation",
    ("reid", False): "ReID",
}


def spread(number: Hours | Rate) -> str:
    """Return the likely value and, in brackets, its range where it has one."""
    return ranged(number.low, number.likely, number.high)


def days(hours: Hours, gpus: int) -> str:
    """Return how many days so many GPUs work.

    Args:
        hours: GPU-hours.
        gpus: number of GPUs that share them.
    """
    return f"{hours.likely / gpus / 24:.1f}"


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table in markdown.

    Args:
        head: names of the columns.
        rows: cells.
    """
    return [*head_lines(head), *map(line, rows)]
