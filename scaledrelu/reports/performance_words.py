"""Names and numbers as docs/performance.md writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scaledrelu.cost.hours import Hours

NAMES = {  # (method, with SAM)
    ("deit", False): "DeiT-S, AdamW",
    ("deit", True): "DeiT-S, SAM",
    ("volo", False): "VOLO-D1",
    ("dino", False): "DINO, pre-training",
    ("linear_probe", False): "DINO, linear evaluation",
    ("reid", False): "ReID",
}


def amount(hours: Hours) -> str:
    """Return GPU-hours and, in brackets, their range where they have one."""
    if f"{hours.low:.0f}" == f"{hours.high:.0f}":
        return f"{hours.likely:,.0f}"
    return f"{hours.likely:,.0f} ({hours.low:,.0f} to {hours.high:,.0f})"


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
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
