"""From the numbers of a configuration to what moves the weights: schedules, optimizer, scaler."""

from __future__ import annotations

import math
from typing import Any

import torch

from scaledrelu.engine.distributed import World
from scaledrelu.engine.step import SamSpec
from scaledrelu.engine.windows import Rule
from scaledrelu.optim.cosine import CosineSchedule
from scaledrelu.optim.params import parameter_groups
from scaledrelu.optim.schedule import (
    LrSchedule,
    ScheduleSpec,
    effective_lr,
    run_epochs,
    warmup_length,
)
from scaledrelu.runs.create import create
from scaledrelu.tasks.base import Task


def build_schedule(config: dict[str, Any], steps_per_epoch: int) -> LrSchedule:
    """Lay the recipe's curve over the steps of this profile."""
    schedule, warmup, profile, lr = (config[key] for key in ("schedule", "warmup", "profile", "lr"))
    spec = ScheduleSpec(
        **{
            name: schedule[name]
            for name in (
                "epochs",
                "cooldown_epochs",
                "unit",
                "delay_epochs",
                "min_lr",
                "min_lr_fraction",
                "cosine",
            )
        },
        warmup_shape=warmup.shape,
        start_lr=warmup.start_lr,
        start_lr_fraction=warmup.start_lr_fraction,
        warmup_epochs=warmup_length(warmup.epochs, profile.warmup_scale),
        peak_lr=effective_lr(
            lr.base,
            total_batch=config.batch.total,
            reference_batch=lr.reference_batch,
            lr_scale=profile.lr_scale,
        ),
    )
    epochs = run_epochs(schedule.epochs + schedule.cooldown_epochs, profile.epoch_scale)
    return LrSchedule(spec, run_epochs=epochs, steps_per_epoch=steps_per_epoch)


def build_weight_decay(config: dict[str, Any], total_steps: int) -> CosineSchedule | None:
    """Return how the weight decay moves (DINO), or None where it stays."""
    end = config.schedule.weight_decay_end
    start = config.optimizer.build["weight_decay"]
    return None if end is None else CosineSchedule(start, end, total_steps)


def build_optimizer(config: dict[str, Any], task: Task) -> torch.optim.Optimizer:
    """Build the base optimizer over the official parameter groups."""
    build = dict(config.optimizer.build)
    rules = {n: config.optimizer[n] for n in ("decay_tokens", "decay_all", "bias_lr_factor")}
    groups = parameter_groups(task, build.pop("weight_decay"), **rules)
    return create(build, groups, lr=config.lr.base, _convert_="object")


def build_scaler(config: dict[str, Any], world: World) -> torch.amp.GradScaler | None:
    """Build the loss scaler of fp16 (recipes A.3), or nothing."""
    precision = config.precision
    if not precision.loss_scaling:
        return None
    return torch.amp.GradScaler(
        world.device.type,
        init_scale=precision.initial_scale,
        growth_interval=precision.growth_interval,
    )


def judge_rule(config: dict[str, Any], task: Task, schedule: LrSchedule) -> Rule:
    """Translate the divergence fields into steps."""
    rule = config.divergence
    if rule.judge == "fraction":
        at, window = rule.judge_at * schedule.total_steps, rule.window * schedule.total_steps
    else:
        at = schedule.warmup_steps + schedule.steps_in(rule.judge_at)
        window = schedule.steps_in(rule.window)
    return Rule(
        chance_loss=task.chance_loss,
        ratio=rule.ratio,
        stop=rule.stop,
        patience=rule.patience,
        total_steps=schedule.total_steps,
        judge_step=min(math.ceil(at), schedule.total_steps),
        window_steps=max(1, round(window)),
    )


def sam_spec(config: dict[str, Any]) -> SamSpec | None:
    """Return how SAM perturbs, or None for a plain update."""
    sam = config.optimizer.sam
    return SamSpec(**sam) if sam else None
