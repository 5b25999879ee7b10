"""How long runs take: measured on this machine where a similar one has finished, else a guess."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaledrelu.config.places import ROOT, published_root, runs_root
from scaledrelu.errors import ScaledReluError
from scaledrelu.runs.damage import UNREADABLE
from scaledrelu.runs.record import read_config, read_result
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.tables.plan import PlannedRun
from scaledrelu.text import duration

PUBLISHED = published_root(ROOT / "results")  # holds a folder of each profile
SAM_FACTOR = 2.0  # two gradients
NONE_ALIKE = "no similar run has finished here"

Kind = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected seconds of one run; None where unknown."""

    seconds: float | None
    measured: bool


class Estimator:
    """Medians of the finished runs under one results folder, by what makes runs alike.

    If no similar run has finished, one with another stem or optimizer is used as a guess, and after
    that the published runs of the same profile, which other machines have trained.

    Args:
        results: results folder.
        planned: runs of it by id; the results that they hold are not read again.
    """

    def __init__(self, results: Path, planned: Mapping[str, PlannedRun]) -> None:
        seen = {name: run for name, run in planned.items() if run.result is not None}
        found = [_finished(run.science, run.result) for run in seen.values()]
        found += [_read(f) for f in runs_root(results).glob("[!.]*") if f.name not in seen]
        self._seconds = _medians(found)

    def __call__(self, run: PlannedRun) -> Estimate:
        """Return how long the whole of a run may take."""
        work, kinds = _work(run.science), _kinds(run.science)
        for relation, kind in enumerate(kinds):
            if kind in self._seconds:
                return Estimate(self._seconds[kind] * work, measured=relation == 0)
        elsewhere = _published(PUBLISHED / run.config.profile.name)
        guess = next((elsewhere[kind] for kind in kinds if kind in elsewhere), None)
        return Estimate(None if guess is None else guess * work, measured=False)


def time_left(run: PlannedRun, estimate: Callable[[PlannedRun], Estimate]) -> Estimate:
    """Return what is left of a run, which may continue from a checkpoint.

    Args:
        run: the run.
        estimate: expected duration of a whole run.
    """
    expected = estimate(run)
    if expected.seconds is None or run.saved is None:
        return expected
    return replace(expected, seconds=expected.seconds * (1 - run.saved.share))


def total_text(estimates: Iterable[Estimate], n_jobs: int, *, cost_follows: bool = False) -> str:
    """Return e.g. ``about 3m 24s with 2 jobs``; a guess is called ``roughly``.

    Args:
        estimates: durations of the runs.
        n_jobs: runs at a time.
        cost_follows: whether the next line says what the runs cost, or that nobody knows.
    """
    parts = list(estimates)
    known = [part.seconds for part in parts if part.seconds is not None]
    if not known:
        return NONE_ALIKE if cost_follows else f"{NONE_ALIKE}, so the time is unknown"
    how = "about" if all(part.measured for part in parts) else "roughly"
    jobs = f" with {n_jobs} jobs" if n_jobs > 1 else ""
    more = len(parts) - len(known)
    rest = f", and {more} runs of unknown length" if more else ""
    share = max(sum(known) / n_jobs, max(known))
    return f"{how} {duration(share)}{jobs}{rest}"


@dataclass(frozen=True, slots=True)
class _Finished:
    kinds: tuple[Kind, ...]
    seconds: float  # as if without SAM
    crashed: bool


def _finished(science: Mapping[str, Any], result: Result) -> _Finished | None:
    if result.seconds <= 0:
        return None
    kinds = _kinds(science)
    hash(kinds)  # a damaged config may hold lists where names belong
    return _Finished(kinds, result.seconds / _work(science), result.outcome is Outcome.CRASH)


def _read(folder: Path) -> _Finished | None:
    try:
        result, config = read_result(folder), read_config(folder)
        return None if result is None or config is None else _finished(config, result)
    except (ScaledReluError, *UNREADABLE):
        return None  # a damaged record costs an estimate, not the plan


@functools.cache
def _published(results: Path) -> dict[Kind, float]:
    return _medians(map(_read, runs_root(results).glob("[!.]*")))


def _medians(found: Iterable[_Finished | None]) -> dict[Kind, float]:
    """Return the median by kind; a crash, which may end a run early, counts where nothing held."""
    held: dict[Kind, list[float]] = {}
    crashed: dict[Kind, list[float]] = {}
    for item in found:
        for kind in item.kinds if item is not None else ():
            (crashed if item.crashed else held).setdefault(kind, []).append(item.seconds)
    return {kind: statistics.median(values) for kind, values in (crashed | held).items()}


def _work(config: Mapping[str, Any]) -> float:
    """Return the gradients of an update."""
    return SAM_FACTOR if config["optimizer"]["sam"] else 1.0


def _kinds(config: Mapping[str, Any]) -> tuple[Kind, ...]:
    """Return what a run is like, from all that matters to the least that must agree."""
    model, optimizer = config["model"], config["optimizer"]
    training = (
        config["task"]["_target_"],
        config["data"]["name"],
        (str(model["width"]), str(model["depth"]), model["patch_size"]),
        round(config["schedule"]["epochs"] * config["profile"]["epoch_scale"]),
        float(config["data"]["fraction"]),
    )
    update = (optimizer["build"]["_target_"], bool(optimizer["sam"]))
    return (
        ("like", *training, *update, bool(config["stem"]["strides"])),
        ("other stem", *training, *update),
        ("other optimizer", *training),
    )
