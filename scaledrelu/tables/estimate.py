"""How long runs take: measured on this machine where one like it has finished, else a guess."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaledrelu.errors import ScaledReluError
from scaledrelu.runs.damage import UNREADABLE
from scaledrelu.runs.record import read_config, read_result, runs_root

# Seconds of a one-thread mini run by method, rounded up; SAM takes two gradients.
MINI_S = {"deit": 22.0, "volo": 35.0, "dino": 220.0, "linear_probe": 8.0, "reid": 35.0}
SAM_FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected seconds of one run; None where nothing is known."""

    seconds: float | None
    measured: bool


class Estimator:
    """Medians of the finished runs under one results folder, by what makes runs alike."""

    def __init__(self, results: Path) -> None:
        seconds: dict[tuple[Any, ...], list[float]] = {}
        for folder in sorted(runs_root(results).glob("[!.]*")):
            known = _measured(folder)
            if known is not None:
                seconds.setdefault(known[0], []).append(known[1])
        self._seconds = {kind: statistics.median(values) for kind, values in seconds.items()}

    def __call__(self, config: Mapping[str, Any]) -> Estimate:
        """Return the expected duration of a run with this (resolved) config."""
        kind = _kind(config)
        if kind in self._seconds:
            return Estimate(self._seconds[kind], measured=True)
        base = MINI_S.get(config["method"])
        if config["profile"].get("name") != "mini" or base is None:
            return Estimate(None, measured=False)
        factor = SAM_FACTOR if config["optimizer"]["sam"] else 1.0
        return Estimate(base * factor * config["data"]["fraction"], measured=False)


def total_text(estimates: Iterable[Estimate], n_jobs: int) -> str:
    """Return e.g. ``about 3m 24s with 2 jobs``; ``~`` marks a guess."""
    parts = list(estimates)
    known = [part.seconds for part in parts if part.seconds is not None]
    if not known:
        return "no run like these has finished here, so the time is not known"
    guess = "" if all(part.measured for part in parts) else "~"
    jobs = f" with {n_jobs} jobs" if n_jobs > 1 else ""
    more = len(parts) - len(known)
    rest = f", and {more} runs of unknown length" if more else ""
    share = max(sum(known) / n_jobs, max(known))
    return f"about {guess}{duration_text(share)}{jobs}{rest}"


def duration_text(seconds: float) -> str:
    """Return e.g. ``45s``, ``3m 24s`` or ``2h 05m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def _measured(folder: Path) -> tuple[tuple[Any, ...], float] | None:
    try:
        result, config = read_result(folder), read_config(folder)
        if result is None or config is None or result.seconds <= 0:
            return None
        kind = _kind(config)
        hash(kind)
        return kind, result.seconds
    except (ScaledReluError, *UNREADABLE):
        return None  # a damaged record costs an estimate, not the plan


def _kind(config: Mapping[str, Any]) -> tuple[Any, ...]:
    model, optimizer = config["model"], config["optimizer"]
    return (
        config["task"]["_target_"],
        config["data"]["name"],
        (model["width"], model["depth"], model["patch_size"]),
        bool(config["stem"]["strides"]),
        (optimizer["build"]["_target_"], bool(optimizer["sam"])),
        round(config["schedule"]["epochs"] * config["profile"]["epoch_scale"]),
        float(config["data"]["fraction"]),
    )
