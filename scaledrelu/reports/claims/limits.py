"""Crashes by other limits of the training loss, from what records hold, and what then changes.

A run is a crash where its judged loss lies above a ratio of the loss of a uniform guess. Only runs
that are judged by the profile's usual ratio are counted anew: methods with one of their own have a
reason for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from scaledrelu.reports.cells import CellValue, SeedValue
from scaledrelu.reports.claims.decision import Count, all_crash, most_crash, none_crash, together
from scaledrelu.reports.claims.findings import Judged, Part
from scaledrelu.reports.claims.spec import Relation
from scaledrelu.runs.record import Status
from scaledrelu.runs.result import COLLAPSED
from scaledrelu.tables.plan import Plan

RULES = {
    Relation.CRASHES: all_crash,
    Relation.HOLDS: none_crash,
    Relation.MOSTLY_CRASH: most_crash,
}


def ratios_of(plan: Plan, others: Iterable[float]) -> list[float]:
    """Return the ratios that crashes are counted by, the one that most runs are judged by first.

    Args:
        plan: runs that are judged; no ratio without a run.
        others: ratios to count by as well.
    """
    ratios = Counter(run.config.divergence.ratio for run in plan.runs.values())
    return list(dict.fromkeys([ratios.most_common(1)[0][0], *others])) if ratios else []


def _crashes_at(seed: SeedValue, ratio: float, usual: float) -> bool:
    """Say whether a finished run is a crash by another ratio than the usual one.

    A loss that was not finite is a crash by any, and so is a run that could not start because the
    run that it starts from crashed. One that was stopped early counts by its loss at that point.
    """
    crashed, own = seed.status is Status.CRASH, seed.run.config.divergence.ratio
    if own != usual or seed.judged_loss is None or not seed.limit:
        return crashed
    if crashed and seed.why != COLLAPSED:
        return True
    return seed.judged_loss > seed.limit * (ratio / own)


def count_at(value: CellValue, ratio: float, usual: float) -> Count:
    """Return how many of a row's finished runs are crashes by another ratio.

    Args:
        value: the row; it has a finished run.
        ratio: the limit, as a share of the loss of a uniform guess.
        usual: the ratio that is replaced.
    """
    return Count(sum(_crashes_at(s, ratio, usual) for s in value.finished), len(value.finished))


def counts_of_runs(values: Iterable[CellValue], ratios: Sequence[float]) -> dict[float, Count]:
    """Return ratio -> crashes among the finished runs of some cells, each run once.

    Args:
        values: cells.
        ratios: the usual one first.
    """
    runs = {seed.run.run_id: seed for value in values for seed in value.finished}
    if not runs:
        return {}
    return {
        ratio: Count(sum(_crashes_at(s, ratio, ratios[0]) for s in runs.values()), len(runs))
        for ratio in ratios
    }


def limits_of(judged: Iterable[Judged]) -> list[float]:
    """Return the ratios that crashes were counted by, the profile's own first; may be empty."""
    found = (part.ours.counts_at for one in judged for part in one.parts)
    return list(next(filter(None, found), {}))


def at_limit(one: Judged, ratio: float) -> Judged:
    """Return a claim with its crashes counted by another ratio.

    Args:
        one: the claim.
        ratio: one of `limits_of`.
    """
    return replace(one, parts=tuple(_at_limit(part, ratio) for part in one.parts))


def _at_limit(part: Part, ratio: float) -> Part:
    said = part.ours
    if ratio not in said.counts_at:
        return part
    counts = said.counts_at[ratio]
    verdict = RULES[part.relation](counts)
    interval = together(counts).interval
    return replace(part, ours=replace(said, verdict=verdict, counts=counts, interval=interval))


def changed(judged: Iterable[Judged], ratio: float) -> list[tuple[Judged, Judged]]:
    """Return the claims that have another verdict by another ratio, as they are and as then.

    Args:
        judged: the claims.
        ratio: one of `limits_of`.
    """
    pairs = ((one, at_limit(one, ratio)) for one in judged)
    return [(one, other) for one, other in pairs if one.verdict is not other.verdict]
