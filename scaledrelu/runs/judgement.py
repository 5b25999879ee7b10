"""What a result says of the divergence judge, for every finished run, crashed or not."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from scaledrelu.engine.divergence import Verdict
from scaledrelu.engine.loop import Training
from scaledrelu.engine.windows import Rule, Stretch


def describe_judgement(training: Training) -> dict[str, Any]:
    """Return the rule, the values it was compared with, and the stretches of dead windows.

    ``last_mean`` is the mean loss of the last window that ended, None if the run ended before one
    did; steps and epochs count from 0. ``remark`` is a sentence if the run left a dead stretch
    again, which is not a crash.
    """
    judge, per_epoch = training.judge, training.loader.steps_per_epoch
    rule, finding = judge.rule, judge.finding
    return {
        "stop": rule.stop,
        "patience": rule.patience,
        "judge_step": rule.first_end,
        "window_steps": rule.window_steps,
        "chance": rule.chance_loss,
        "ratio": rule.ratio,
        "limit": rule.limit,
        "last_mean": judge.means[-1] if judge.means else None,
        "windows": len(judge.means),
        "dead_windows": finding.dead_windows,
        "dead_stretches": [_with_epochs(stretch, per_epoch) for stretch in finding.stretches],
        "remark": _remark(rule, finding.stretches, per_epoch),
    }


def _remark(rule: Rule, stretches: tuple[Stretch, ...], per_epoch: int) -> str | None:
    """Return one sentence about the dead stretches that the run left again, None without any."""
    left = [stretch for stretch in stretches if stretch.left]
    if not left:
        return None
    epochs = ", ".join(_in_epochs(stretch, per_epoch) for stretch in left)
    return (
        f"mean training loss above {rule.ratio:g} x {rule.chance_loss:.3f} = {rule.limit:.3f} in "
        f"epochs {epochs}, and below it afterwards: a stretch that a run leaves again is no crash"
    )


def describe_crash(training: Training, verdict: Verdict) -> dict[str, Any]:
    """Return kind, place and the last observations of a crash.

    Args:
        training: the training that ended.
        verdict: its judge's verdict.
    """
    per_epoch = training.loader.steps_per_epoch
    scaler = training.scaler
    return {
        "kind": verdict.kind.value,
        "reason": verdict.reason,
        "step": verdict.step,
        "epoch": verdict.step // per_epoch,
        "total_steps": training.schedule.total_steps,
        "last": training.judge.last_observations(),
        "loss_scale": float(scaler.get_scale()) if scaler is not None else None,
    }


def _with_epochs(stretch: Stretch, per_epoch: int) -> dict[str, Any]:
    first, last = stretch.first_step // per_epoch, stretch.last_step // per_epoch
    return {**asdict(stretch), "first_epoch": first, "last_epoch": last}


def _in_epochs(stretch: Stretch, per_epoch: int) -> str:
    first = stretch.first_step / per_epoch
    last = (stretch.last_step + 1) / per_epoch
    return f"{_short(first)} to {_short(last)}"


def _short(epochs: float) -> str:
    return f"{math.floor(10 * epochs + 0.5) / 10:g}"
