"""Folders of runs as runs leave them, with fabricated results: no second is spent on training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scaledrelu.config.identity import canonical, run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.runs.planned import PlanWriter
from scaledrelu.runs.record import run_directory, write_result
from scaledrelu.runs.result import Outcome, Result
from tests.helpers.configs import composed, with_values

CRASHED = {"kind": "collapsed", "step": 7}


def run_of(stem: str = "patchify", **changes: Any) -> RunConfig:
    """A run at smoke; ``lr__base=1e-3`` changes ``lr.base``."""
    config = composed("profile=smoke", f"stem={stem}")
    return with_values(config, {key.replace("__", "."): v for key, v in changes.items()})


def plan_in(results: Path, config: RunConfig, *, planned_as: str = "") -> Path:
    """Leave the file of a run that nobody has trained."""
    folder = run_directory(results, run_id(config))
    PlanWriter().write(config, folder, planned_as=planned_as)
    return folder


def leave(
    results: Path,
    config: RunConfig,
    value: float | None,
    *,
    best: float | None = None,
    crash: dict[str, Any] | None = None,
    metric: str = "val/top1",
    slim: bool = False,
) -> Path:
    """Leave a finished run; slim records are published ones, without ``config.yaml``."""
    folder = run_directory(results, run_id(config)) if slim else plan_in(results, config)
    metrics = {} if value is None else {metric: value, "val/loss": 2.0}
    metrics |= {} if value is None else {f"{metric}_best": best or value, f"{metric}_best_epoch": 1}
    result = Result(
        run_id=run_id(config),
        outcome=Outcome.CRASH if crash else Outcome.OK,
        metrics=metrics,
        crash=crash,
        seconds=1.5,
        provenance={"device": "a CPU", "commit": "0123abc"},
    )
    write_result(folder, result, canonical(config))
    return folder
