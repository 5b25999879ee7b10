"""What some numbers can say: intervals over seeds, the likeness of two orders, what images resolve.

Plain arithmetic on plain numbers; knows no tables and no runs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from scaledrelu.text import plus_minus

LEVEL = 0.95  # of every interval
MOST_DIGITS = 6  # behind the point that a number is ever printed with
NORMAL = statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)  # 1.96


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of some values and how far it can be trusted.

    Attributes:
        mean: arithmetic mean.
        half: half of the 95 % t interval of the mean; None for one value.
        sd: sample standard deviation (n - 1); None for one value.
        n: number of values.
    """

    mean: float
    half: float | None
    sd: float | None
    n: int

    @property
    def leaves_out_zero(self) -> bool:
        """Whether zero lies outside the interval; a single value has none."""
        return self.half is not None and abs(self.mean) > self.half

    def text(self, digits: int) -> str:
        """Return ``59.44 +/- 45.30``; a single value has no interval.

        Args:
            digits: digits after the decimal point.
        """
        return f"{self.mean:.{digits}f}{plus_minus(self.half, digits)}"


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return mean and 95 % t interval of some values; None for none."""
    n = len(values)
    if n == 0:
        return None
    mean = statistics.fmean(values)
    if n == 1:
        return Estimate(mean, None, None, 1)
    sd = statistics.stdev(values)
    return Estimate(mean, t_quantile(n - 1) * sd / math.sqrt(n), sd, n)


def paired(values: Mapping[int, float], base: Mapping[int, float]) -> Estimate | None:
    """Return the mean difference over the seeds that both have, with its interval.

    Args:
        values: seed -> value.
        base: seed -> value that it is compared with.
    """
    return estimate([value - base[seed] for seed, value in values.items() if seed in base])


@cache
def t_quantile(freedom: int) -> float:
    """Return how many standard errors half of a 95 % t interval spans, e.g. 4.303 for 2."""
    from scipy.special import stdtrit  # a third of a second, and only where seeds are repeated

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def kendall_tau_b(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Kendall's tau-b: 1 for the same order, -1 for the reverse, ties accounted for.

    Where one side is constant it orders nothing: 0.

    Args:
        one: a value of each thing.
        other: another value of each, in the same order.
    """
    signs = [
        (_sign(a - b), _sign(c - d))
        for (a, c), (b, d) in combinations(zip(one, other, strict=True), 2)
    ]
    ordered = sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs)
    return sum(x * y for x, y in signs) / math.sqrt(ordered) if ordered else 0.0


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share of n things.

    Args:
        share: observed, in [0, 1].
        n: number of things.
    """
    z2 = NORMAL**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return centre - half, centre + half


def resolvable(one: float, other: float, n: int) -> float:
    """Return the difference of two shares of n things each that chance explains up to (95 %).

    Both shares are taken as independent; runs that are judged on the same images differ a little
    less by chance, so this errs on the careful side.

    Args:
        one: a share in [0, 1].
        other: another.
        n: things behind each.
    Source: Newcombe, Statistics in Medicine 17 (1998), method 10: Wilson intervals combined.
    """
    low, high = sorted((one, other))
    return math.hypot(high - wilson(high, n)[0], wilson(low, n)[1] - low)


def telling_digits(pairs: Iterable[tuple[float, float]], least: int) -> int:
    """Return how many digits behind the point it takes until the numbers of no pair read alike.

    A verdict follows from which of two numbers is larger, so both are printed with these; numbers
    that are equal may read alike.

    Args:
        pairs: numbers that a reader compares, such as the end of an interval and a limit.
        least: digits that it has at least; it never has more than `MOST_DIGITS`.
    """
    unlike = [(one, other) for one, other in pairs if one != other]
    enough = (
        digits
        for digits in range(least, MOST_DIGITS)
        if all(round(one, digits) != round(other, digits) for one, other in unlike)
    )
    return next(enough, MOST_DIGITS)


def is_decided(difference: Estimate, one: float, other: float, n: int | None) -> bool:
    """Say whether seeds and images suffice to call a difference one.

    Args:
        difference: difference over paired seeds.
        one: a mean in percent.
        other: what it is compared with.
        n: things that both are shares of; None: only the seeds decide.

    Returns:
        Whether its interval excludes zero (a single seed has none) and, for shares, it is no
        smaller than what the things can resolve.
    """
    if not difference.leaves_out_zero:
        return False
    return n is None or abs(difference.mean) >= 100 * resolvable(one / 100, other / 100, n)


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
