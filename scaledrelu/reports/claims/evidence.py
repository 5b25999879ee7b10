"""What runs left beside their result: per image, per layer and per epoch; None where nothing is.

A record that lacks a file, or has one that cannot be read, is not an error: the claim then rests on
the seeds alone, or is not run.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from scaledrelu.runs.record import run_directory
from scaledrelu.tables.plan import PlannedRun

EVIDENCE, LOG = "evidence.npz", "metrics.jsonl"
RIGHT = "val.correct"  # per image, of the last evaluation
FIRST_HIT = "val.first_hit"  # per query, place of its first match from 1; 0 without a match
RANK_1 = "val/rank1"
NO_SHARE_OF_IMAGES = ("val/map",)
SIMILARITY = "similarity.absolute"
NEAR = 1e-3  # points; the metric that stands beside the images is rounded
SAME_IMAGES = ("name", "digest", "build", "image_size", "image_width")  # fields of data


def right_images(results: Path, run: PlannedRun, metric: str, value: float) -> np.ndarray | None:
    """Return per image whether a run got it right; None where that is not what a value is made of.

    Args:
        results: results folder.
        run: a finished run.
        metric: name of the metric that is the share of these images.
        value: the metric, in percent; images of another epoch do not agree with it.
    """
    if metric in NO_SHARE_OF_IMAGES:
        return None
    found = _array(results, run, FIRST_HIT if metric == RANK_1 else RIGHT)
    if found is None or found.ndim != 1 or not len(found):
        return None
    right_N = found[found > 0] == 1 if metric == RANK_1 else found.astype(bool)
    agrees = len(right_N) and abs(100 * right_N.mean() - value) < NEAR
    return right_N if agrees else None


def share_images(one: PlannedRun, other: PlannedRun) -> bool:
    """Say whether two runs were judged on the same images.

    Args:
        one: a run.
        other: another.
    """
    first, second = (dict(run.science.get("data", {})) for run in (one, other))
    return all(first.get(name) == second.get(name) for name in SAME_IMAGES)


def layer_similarity(results: Path, run: PlannedRun) -> np.ndarray | None:
    """Return the mean absolute cosine between the tokens of each layer at the end (Figure 1).

    Args:
        results: results folder.
        run: a finished run.
    """
    found = _array(results, run, SIMILARITY)
    if found is None or found.ndim != 1 or not np.isfinite(found).all():
        return None
    return found.astype(float)


def value_after(results: Path, run: PlannedRun, metric: str, epochs: float) -> float | None:
    """Return a metric after some finished epochs: of the evaluation nearest to them.

    Args:
        results: results folder.
        run: a run.
        metric: name of the metric.
        epochs: finished epochs; an evaluation further away than half an epoch, or half of the
            distance between evaluations, does not count.
    """
    every = run.config.evaluation.every_epochs
    found = {}
    for line in _lines(run_directory(results, run.run_id) / LOG):
        value, epoch = line.get(metric), line.get("epoch")
        if isinstance(value, int | float) and isinstance(epoch, int):
            found[epoch + 1] = float(value)
    nearest = min(found, key=lambda finished: abs(finished - epochs), default=None)
    if nearest is None or abs(nearest - epochs) > every / 2:
        return None
    return found[nearest]


def _array(results: Path, run: PlannedRun, name: str) -> np.ndarray | None:
    try:
        with np.load(run_directory(results, run.run_id) / EVIDENCE, allow_pickle=False) as stored:
            return stored[name]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _lines(path: Path) -> list[dict]:
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return []
    return [line for line in found if isinstance(line, dict)]
