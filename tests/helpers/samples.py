"""Whether two samples come from one distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def same_distribution(first: Sequence[float], second: Sequence[float]) -> bool:
    """Say whether the two-sample Kolmogorov-Smirnov distance is below its 0.1 % point."""
    grid = np.unique(np.concatenate([first, second]))
    below = [np.searchsorted(np.sort(x), grid, side="right") / len(x) for x in (first, second)]
    limit = 1.95 * math.sqrt(1 / len(first) + 1 / len(second))
    return float(np.abs(below[0] - below[1]).max()) < limit


def same_counts(first: Sequence[int], second: Sequence[int]) -> bool:
    """Say whether two rows of counts, of equal totals, differ by less than 4 standard deviations.

    The chi-square statistic has as many degrees of freedom as there are counts.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    statistic = ((a - b) ** 2 / (a + b)).sum()
    return bool(statistic < len(a) + 4 * math.sqrt(2 * len(a)))
