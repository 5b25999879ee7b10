"""Names and numbers as docs/performance.md writes them."""

from __future__ import annotations

from scaledrelu.cost.hours import Hours
from scaledrelu.cost.speed import Rate
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
