"""What planning expects of a run's result is what evaluators really report."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from dataclasses import replace
from pathlib import Path

import pytest

import scaledrelu.evals
from scaledrelu.config.evaluation import REPORTED, is_percent
from scaledrelu.config.places import CONF_DIR
from tests.helpers.configs import composed, from_science

RECORDS = sorted((CONF_DIR.parent / "results" / "published").glob("*/runs/*/result.json"))


def test_every_evaluator_says_what_it_reports() -> None:
    found = set()
    for module in pkgutil.iter_modules(scaledrelu.evals.__path__, "scaledrelu.evals."):
        for name, item in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if hasattr(item, "headline") and item.__module__ == module.name:
                found.add(f"{module.name}.{name}")
    unsaid = sorted(found - set(REPORTED))
    assert not unsaid, (
        f"scaledrelu/config/evaluation.py: add {unsaid[0]} to REPORTED, with the names of its "
        "metrics, the headline first"
    )
    assert set(REPORTED) <= found


@pytest.mark.parametrize("method", ["deit", "dino", "linear_probe", "reid", "volo"])
def test_published_runs_reported_what_was_expected(method: str) -> None:
    results = [path for path in RECORDS if path.parent.name.startswith(f"{method}-")]
    assert results
    for path in results:
        result, config = (json.loads(read(path.with_name(n))) for n in (path.name, "config.json"))
        known = from_science(config, method=method).evaluation.reported_metrics()
        assert set(result["metrics"]) <= known
        assert result["crash"] or set(result["metrics"]) == known


def read(path: Path) -> str:
    return path.read_text()


def test_of_k_nn_only_the_headlines_best_value_is_kept() -> None:
    known = composed("recipe=dino").evaluation.reported_metrics()
    assert {"val/knn20_best", "val/knn10", "val/knn10_start"} <= known
    assert "val/knn10_best" not in known


def test_nobody_knows_what_a_foreign_evaluator_reports() -> None:
    own = composed("recipe=deit").evaluation
    more = (*own.build, {"_target_": "scaledrelu.evals.mine.Mine"})
    assert replace(own, build=more).reported_metrics() is None


@pytest.mark.parametrize(
    ("metric", "percent"),
    [("val/top1_best", True), ("val/knn20", True), ("val/loss", False), ("val/feature_rank", False),
     ("val/valid_queries", False), ("val/top1_best_epoch", False)],
)  # fmt: skip
def test_percentages_are_told_from_other_numbers(metric: str, percent: bool) -> None:
    assert is_percent(metric) is percent
