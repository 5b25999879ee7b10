"""Two rows whose runs were judged on the same images: what seeds and images say of the difference.

The runs of one seed are compared image by image. McNemar's exact test tells whether two single runs
differ on these images; the interval of the mean difference holds the spread of both, seeds and
images. A record without its images, or with a file that cannot be read, is not an error: a
difference then rests on the seeds and on what so many images can resolve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaledrelu.reports.comparison import NO_SHARES
from scaledrelu.reports.statistics import NORMAL
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.evidence import read_arrays
from scaledrelu.runs.record import run_directory
from scaledrelu.tables.plan import PlannedRun

RIGHT = "val.correct"  # per image, of the last evaluation
FIRST_HIT = "val.first_hit"  # per query, place of its first match from 1; 0 without a match
RANK_1 = "val/rank1"
NEAR = 1e-3  # points; the metric that stands beside the images is rounded
SAME_IMAGES = ("name", "digest", "build", "image_size", "image_width")  # fields of data


@dataclass(frozen=True, slots=True)
class McNemar:
    """The images on which two runs of one seed differ.

    Attributes:
        seed: of both runs.
        only_one: images that the first run alone gets right.
        only_other: images that the other run alone gets right.
        p: two-sided p-value of the exact test.
    """

    seed: int
    only_one: int
    only_other: int
    p: float


def mcnemar(seed: int, one: np.ndarray, other: np.ndarray) -> McNemar:
    """Compare two runs image by image.

    Args:
        seed: the seed of both runs.
        one: whether the first run is right, image by image.
        other: the same of the other run.
    Source: McNemar, Psychometrika 12 (1947); the exact p-value is binomial, at any count.
    """
    from scipy.special import bdtr  # a third of a second, and only where images are compared

    better, worse = int((one & ~other).sum()), int((other & ~one).sum())
    tail = float(bdtr(min(better, worse), better + worse, 0.5))  # of a fair coin
    return McNemar(seed, better, worse, min(1.0, 2 * tail))


def over_images(differences_SN: np.ndarray) -> float:
    """Return half of the 95 % interval, in points, of a mean difference over images.

    Each image counts with its mean over the seeds, because all seeds are judged on the same images.
    Two images are added, one won and one lost, so that few images that differ do not look certain.

    Args:
        differences_SN: one minus other, in {-1, 0, 1}; S seeds, N images.
    Source: Bonett and Price, J. Educ. Behav. Statist. 37 (2012), for one seed.
    """
    mean_N = np.append(differences_SN.mean(axis=0), (1.0, -1.0))
    return 100 * NORMAL * float(mean_N.std()) / math.sqrt(len(mean_N))


def widened(over_seeds: float | None, images: float | None) -> float | None:
    """Return half of the interval over seeds and images, which are drawn independently.

    What is left of a run beside its seed and its images counts in both parts, so this errs on the
    careful side.

    Args:
        over_seeds: half of the t interval; None for one seed, which has no interval.
        images: half of the interval over images; None where only the seeds decide.
    """
    return None if over_seeds is None else math.hypot(over_seeds, images or 0.0)


def stacked(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return one minus other of every seed, image by image."""
    return np.stack([one.astype(np.int8) - other.astype(np.int8) for one, other in pairs])


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
        return (read_arrays(run_directory(results, run.run_id), [name]) or {}).get(name)
    except RecordError:
        return None
