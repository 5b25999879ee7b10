"""How long runs take: measured on this machine where a similar one has finished, else a guess."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaledrelu.errors import ScaledReluError
from scaledrelu.runs.damage import UNREADABLE
from scaledrelu.runs.record import Outcome, Result, Saved, read_config, read_result, runs_root
from scaledrelu.tables.plan import PlannedRun
from scaledrelu.text import duration

# Seconds of a one-thread mini run by method, rounded up; SAM takes two gradients.
MINI_S = {"deit": 22.0, "volo": 35.0, "dino": 220.0, "linear_probe": 8.0, "reid": 35.0}
SAM_FACTOR = 2.0

Kind = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected seconds of one run; None where unknown."""

    seconds: float | None
    measured: bool


class Estimator:
    """Medians of the finished runs under one results folder, by what makes runs alike.

    If no similar run has finished, one with another stem or optimizer is used as a guess.

    Args:
        results: results folder.
        planned: runs of it by id; the results that they hold are not read again.
    """

    def __init__(self, results: Path, planned: Mapping[str, PlannedRun]) -> None:
        seen = {name: run for name, run in planned.items() if run.result is not None}
        found = [_finished(run.science, run.result) for run in seen.values()]
        found += [_read(f) for f in runs_root(results).glob("[!.]*") if f.name not in seen]
        finished = [item for item in found if item is not None]
        # A crash may have ended its run early: it counts only where nothing else is known.
        self._seconds = _medians(item for item in finished if not item.crashed)
        for kind, seconds in _medians(finished).items():
            self._seconds.setdefault(kind, seconds)

    def __call__(self, run: PlannedRun) -> Estimate:
        """Return how long the whole of a run may take."""
        work = _work(run.science)
        for relation, kind in enumerate(_kinds(run.science)):
            if kind in self._seconds:
                return Estimate(self._seconds[kind] * work, measured=relation == 0)
        base = MINI_S.get(run.config.method)
        if run.config.profile.name != "mini" or base is None:
            return Estimate(None, measured=False)
        return Estimate(base * work * run.config.data.fraction, measured=False)


def time_left(expected: Estimate, saved: Saved | None) -> Estimate:
    """Return what is left of a run that continues from a checkpoint.

    Args:
        expected: duration of the whole run.
        saved: its checkpoint; None without one.
    """
    if expected.seconds is None or saved is None:
        return expected
    return replace(expected, seconds=expected.seconds * (1 - saved.share))


def total_text(estimates: Iterable[Estimate], n_jobs: int) -> str:
    """Return e.g. ``about 3m 24s with 2 jobs``; a guess is called ``roughly``.

    Args:
        estimates: durations of the runs.
        n_jobs: runs at a time.
    """
    parts = list(estimates)
    known = [part.seconds for part in parts if part.seconds is not None]
    if not known:
        return "no similar run has finished here, so the time is unknown"
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


def _medians(finished: Iterable[_Finished]) -> dict[Kind, float]:
    seconds: dict[Kind, list[float]] = {}
    for item in finished:
        for kind in item.kinds:
            seconds.setdefault(kind, []).append(item.seconds)
    return {kind: statistics.median(values) for kind, values in seconds.items()}


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
