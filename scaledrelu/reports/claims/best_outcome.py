"""Whether the best outcome that runs could have would support a relation: seeds and images decide.

Asks the rule itself, so that a relation which no outcome can support is known as such.
"""

from __future__ import annotations

import numpy as np

from scaledrelu.reports.claims.decision import (
    OPPOSITE,
    Count,
    Interval,
    Verdict,
    is_above,
    is_within,
)
from scaledrelu.reports.claims.findings import Said
from scaledrelu.reports.claims.limits import RULES
from scaledrelu.reports.claims.per_image import over_images
from scaledrelu.reports.claims.spec import Check, Relation
from scaledrelu.reports.statistics import resolvable

BEST = {  # shares of right images of the two rows that bear a relation out most
    Relation.HIGHER: (1.0, 0.0),
    Relation.GAIN: (1.0, 0.0),
    Relation.AHEAD: (1.0, 0.0),
    Relation.NOT_HIGHER: (0.0, 1.0),
    Relation.ABOUT: (1.0, 1.0),
}


def verdict_of(relation: Relation, found: Interval, limit: float) -> Verdict:
    """Judge a difference by what a relation says about it.

    Args:
        relation: one of `BEST`.
        found: one minus other, in points.
        limit: points that the relation leaves room for.
    """
    if relation is Relation.NOT_HIGHER:
        return OPPOSITE[is_above(found, limit)]
    return is_within(found, limit) if relation is Relation.ABOUT else is_above(found, 0)


def turns_at(relation: Relation, limit: float) -> tuple[float, ...]:
    """Return the differences, in points, at which `verdict_of` turns.

    Args:
        relation: one of `BEST`.
        limit: points that the relation leaves room for.
    """
    if relation is Relation.NOT_HIGHER:
        return (limit,)
    return (-limit, limit) if relation is Relation.ABOUT else (0.0,)


def can_be_supported(check: Check, said: Said) -> bool:
    """Say whether the best outcome with the same seeds and images would be supported.

    Args:
        check: the relation.
        said: what our runs say; without a number the answer is yes, as nothing says otherwise.
    """
    if check.relation in RULES:
        return not said.counts or _of_crashes(check.relation, said)
    if said.interval is None:
        return True
    if said.seeds < 2:
        return False
    if check.relation not in BEST:
        return True
    one, other = BEST[check.relation]
    best = Interval.around(100 * (one - other), _half(said, one, other))
    return verdict_of(check.relation, best, check.limit) is Verdict.SUPPORTED


def _of_crashes(relation: Relation, said: Said) -> bool:
    crash = relation is not Relation.HOLDS
    best = [Count(crash * count.total, count.total) for count in said.counts]
    return RULES[relation](best) is Verdict.SUPPORTED


def _half(said: Said, one: float, other: float) -> float:
    """Return half of the interval over images where all seeds come out alike."""
    if said.images is None:
        return 0.0
    if said.tests:  # both runs' images are known
        return over_images(np.full((1, said.images), one - other))
    return 100 * resolvable(one, other, said.images)
