"""Which metrics a run will report, told from its configuration before it is trained.

The evaluators themselves need torch; what they return is written down here for those who plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

USUALLY_BEST = 20  # neighbours (recipes C.3)
TOP1 = ("val/top1", "val/loss")
# Of every evaluator in ``scaledrelu.evals``: the first is its headline, whose best value is kept.
# ``{k}`` stands for every number of neighbours.
REPORTED: dict[str, tuple[str, ...]] = {
    "scaledrelu.evals.classification.Top1": TOP1,
    "scaledrelu.evals.classification.FrozenTop1": TOP1,
    "scaledrelu.evals.knn.Knn": ("val/knn{k}", "val/feature_std", "val/feature_rank"),
    "scaledrelu.evals.retrieval.RetrievalMap": (
        "val/map",
        "val/rank1",
        "val/rank5",
        "val/rank10",
        "val/valid_queries",
    ),
}
PERCENT = ("val/top1", "val/knn", "val/map", "val/rank")


def reported_metrics(config: Mapping[str, Any]) -> set[str] | None:
    """Return the names of every metric in the result of a run; None if an evaluator is foreign.

    Args:
        config: resolved.
    """
    evaluators = config["evaluation"]["build"]
    if any(build["_target_"] not in REPORTED for build in evaluators):
        return None
    found = {name for build in evaluators for name in _names(build)}
    best = {f"{_headline(evaluators[0])}{suffix}" for suffix in ("_best", "_best_epoch")}
    start = {f"{name}_start" for name in found} if config["evaluation"]["at_start"] else set()
    return found | best | start


def knn_headline(neighbours: Sequence[int]) -> str:
    """Return which metric of k-NN stands for the others: that of k = 20, or of the first k."""
    return f"val/knn{USUALLY_BEST if USUALLY_BEST in neighbours else neighbours[0]}"


def is_percent(metric: str) -> bool:
    """Say whether a metric cannot be larger than 100."""
    return metric.startswith(PERCENT) and not metric.endswith("_best_epoch")


def _headline(build: Mapping[str, Any]) -> str:
    if "neighbours" in build:
        return knn_headline(build["neighbours"])
    return REPORTED[build["_target_"]][0]


def _names(build: Mapping[str, Any]) -> Sequence[str]:
    ks = build.get("neighbours", [None])
    return [
        name
        for pattern in REPORTED[build["_target_"]]
        for name in ([pattern.format(k=k) for k in ks] if "{k}" in pattern else [pattern])
    ]
