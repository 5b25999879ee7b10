"""The group ``evaluation``: how a run is judged, and which metrics it will report.

The evaluators themselves need torch; the names of their metrics stand here for the planner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from scaledrelu.config.fields import build, number, word
from scaledrelu.config.group import TARGET, Group, require
from scaledrelu.config.ranges import COUNT, POSITIVE, SHARE_OF_AN_IMAGE, Range

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
# Those of them that look people up in a gallery; the others compare the classes of images.
OF_PEOPLE = ("scaledrelu.evals.retrieval.RetrievalMap",)
OF_CLASSES = ("val/top1", "val/knn")  # what a single class makes perfect
PERCENT = (*OF_CLASSES, "val/map", "val/rank")
BEST_EPOCH = "_best_epoch"  # behind the name of the headline


@dataclass(frozen=True, slots=True)
class EvaluationConfig(Group):
    """How a run is judged."""

    KEY: ClassVar[str] = "evaluation"

    build: tuple[dict[str, Any], ...] = build(  # evaluators
        neighbours=Range("[1, 1000000000]", least=1, whole=True), temperature=POSITIVE
    )
    crop: float = number(SHARE_OF_AN_IMAGE)  # short side resized to image_size / crop
    every_epochs: int = number(COUNT)  # of the run's own epochs
    at_start: bool  # once before the first update, too: metrics named <metric>_start
    channels: bool  # record what Theorem 1 relates, channel by channel (docs/theory.md)
    batch: int = number(COUNT)
    report: str = word("last", "best")  # which top-1 tables print

    def check(self) -> None:
        """Refuse a run without evaluators."""
        require(bool(self.build), "evaluation.build=[]: at least one evaluator is needed")

    def reported_metrics(self) -> set[str] | None:
        """Return the names of every metric in the result; None if an evaluator is not ours."""
        if any(one[TARGET] not in REPORTED for one in self.build):
            return None
        found = {name for one in self.build for name in _names(one)}
        best = {f"{_headline(self.build[0])}{suffix}" for suffix in ("_best", BEST_EPOCH)}
        start = {f"{name}_start" for name in found} if self.at_start else set()
        return found | best | start

    @property
    def counts_right_classes(self) -> bool:
        """Whether a run is judged by its top-1, which a single class makes perfect."""
        return any(REPORTED.get(one[TARGET]) == TOP1 for one in self.build)

    @property
    def headline(self) -> str | None:
        """The metric whose best value a run keeps; None if its evaluator is not ours."""
        first = self.build[0]
        return _headline(first) if first[TARGET] in REPORTED else None


def knn_headline(neighbours: Sequence[int]) -> str:
    """Return which metric of k-NN stands for the others: that of k = 20, or of the first k."""
    return f"val/knn{USUALLY_BEST if USUALLY_BEST in neighbours else neighbours[0]}"


def is_percent(metric: str) -> bool:
    """Say whether a metric cannot be larger than 100."""
    return metric.startswith(PERCENT) and not is_epoch(metric)


def is_epoch(metric: str) -> bool:
    """Say whether a metric is the number of an epoch; what is stored counts from 0."""
    return metric.endswith(BEST_EPOCH)


def _headline(one: Mapping[str, Any]) -> str:
    if "neighbours" in one:
        return knn_headline(one["neighbours"])
    return REPORTED[one[TARGET]][0]


def _names(one: Mapping[str, Any]) -> Sequence[str]:
    ks = one.get("neighbours", [None])
    return [
        name
        for pattern in REPORTED[one[TARGET]]
        for name in ([pattern.format(k=k) for k in ks] if "{k}" in pattern else [pattern])
    ]
