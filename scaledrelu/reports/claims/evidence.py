"""Which validation images a run got right; None where its record does not say so.

A record without the file, or with one that cannot be read, is no error: a difference then rests on
the seeds and on what so many images can resolve.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scaledrelu.reports.comparison import NO_SHARES
from scaledrelu.reports.similarity import EVIDENCE, UNREADABLE
from scaledrelu.runs.record import run_directory
from scaledrelu.tables.plan import PlannedRun

RIGHT = "val.correct"  # per image, of the last evaluation
FIRST_HIT = "val.first_hit"  # per query, place of its first match from 1; 0 without a match
RANK_1 = "val/rank1"
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
    if metric in NO_SHARES:
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


def _array(results: Path, run: PlannedRun, name: str) -> np.ndarray | None:
    try:
        with np.load(run_directory(results, run.run_id) / EVIDENCE, allow_pickle=False) as stored:
            return stored[name]
    except (KeyError, *UNREADABLE):
        return None
