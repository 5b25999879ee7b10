"""From the numbers of a configuration to schedules, optimizer, loss scaler and crash rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from inspect import isclass
from typing import Any

import torch

from scaledrelu.config.divergence import DivergenceConfig
from scaledrelu.config.group import TARGET
from scaledrelu.config.optimizer import OptimizerConfig
from scaledrelu.config.precision import PrecisionConfig
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.divergence import Judge
from scaledrelu.engine.ema import Ema
from scaledrelu.engine.windows import Rule
from scaledrelu.errors import ConfigError
from scaledrelu.optim.params import parameter_groups
from scaledrelu.optim.schedule import CosineSchedule, Curve, Fall, LrSchedule, half_cosine
from scaledrelu.optim.state import start_momentum
from scaledrelu.runs.create import create, target_of
from scaledrelu.tasks.base import Task


def build_schedule(config: RunConfig, steps_per_epoch: int) -> LrSchedule:
    """Lay the recipe's curve over the steps of this profile.

    Args:
        config: the run's configuration.
        steps_per_epoch: updates per epoch of the run.

    Raises:
        ConfigError: a curve of one's own that is no class to call, or does not fall from 1 to 0.
    """
    curve = Curve(
        config.schedule,
        config.warmup,
        config.peak_lr,
        warmup_scale=config.profile.warmup_scale,
        fall=build_fall(config),
    )
    return LrSchedule(curve, run_epochs=config.run_epochs, steps_per_epoch=steps_per_epoch)


def build_fall(config: RunConfig) -> Fall:
    """Return the curve that ``lr.curve`` names, after a look at both of its ends; else a cosine.

    Raises:
        ConfigError: as :func:`build_schedule`.
    """
    if config.lr.curve is None:
        return half_cosine
    where, length = f"lr.curve._target_={config.lr.curve[TARGET]}", config.schedule.epochs
    wanted = "a class with __call__(done, length) that falls from 1 to 0"
    if not isclass(target := target_of(config.lr.curve)) or "__call__" not in dir(target):
        raise ConfigError(f"{where}: must be {wanted}")
    try:
        fall = create(config.lr.curve)
        ends = fall(0, length), fall(length, length)
        falls = all(math.isclose(*pair, abs_tol=1e-6) for pair in zip(ends, (1, 0), strict=True))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: must be {wanted} ({error})") from error
    if not falls:
        raise ConfigError(
            f"{where}: is {ends[0]:g} at the start and {ends[1]:g} at the end; must be {wanted}"
        )
    return fall


def build_weight_decay(config: RunConfig, total_steps: int) -> CosineSchedule | None:
    """Return how the weight decay changes over the steps (DINO), or None if it is constant.

    Args:
        config: the run's configuration.
        total_steps: updates in the run.
    """
    end = config.schedule.weight_decay_end
    start = config.optimizer.build["weight_decay"]
    return None if end is None else CosineSchedule(start, end, total_steps)


def build_optimizer(optimizer: OptimizerConfig, task: Task, *, lr: float) -> torch.optim.Optimizer:
    """Build the base optimizer over the official parameter groups.

    On a GPU torch's SGD takes its fused kernel, unless the configuration chooses: only that one can
    mask an update on the device, and for the others the host waits at every update.

    Args:
        optimizer: class, arguments and rules of decay.
        task: its trainable parameters are optimized, where they are.
        lr: first learning rate; the schedule sets it before every update.

    Raises:
        ConfigError: arguments that the class does not take, or a fused SGD with dampening.
    """
    build = dict(optimizer.build)
    groups = parameter_groups(
        task,
        build.pop("weight_decay"),
        decay_tokens=optimizer.decay_tokens,
        decay_all=optimizer.decay_all,
        bias_lr_factor=optimizer.bias_lr_factor,
    )
    if _can_be_fused_sgd(build) and all(p.is_cuda for group in groups for p in group["params"]):
        build["fused"] = True
    built = create(build, groups, lr=lr)
    start_momentum(built)
    return built


def _can_be_fused_sgd(build: Mapping[str, Any]) -> bool:
    """Whether it is torch's SGD, nobody chose its kernel and its fused one is safe to start."""
    chosen = build.keys() & {"fused", "foreach", "differentiable"}
    dampened = build.get("dampening") and build.get("momentum")
    return target_of(build) is torch.optim.SGD and not chosen and not dampened


def build_scaler(precision: PrecisionConfig, device: torch.device) -> torch.amp.GradScaler | None:
    """Build the loss scaler of fp16 (recipes A.3), or nothing.

    Args:
        precision: the run's precision.
        device: the model's device.
    """
    if not precision.loss_scaling:
        return None
    return torch.amp.GradScaler(
        device.type,
        init_scale=precision.initial_scale,
        growth_interval=precision.growth_interval,
    )


def build_ema(config: RunConfig, task: Task) -> Ema | None:
    """Build the moving average of the weights, if the recipe has one.

    Args:
        config: the run's configuration.
        task: the task, on its device.
    """
    return Ema(task, config.ema.decay) if config.ema else None


def build_judge(config: RunConfig, task: Task, schedule: LrSchedule, device: torch.device) -> Judge:
    """Build the judge of divergence.

    Args:
        config: the run's configuration.
        task: its chance loss is the reference.
        schedule: the run's learning-rate schedule.
        device: the task's device.
    """
    rule = judge_rule(config.divergence, task, schedule)
    return Judge(rule, device=device, read_every=config.launch.log_every_steps)


def judge_rule(divergence: DivergenceConfig, task: Task, schedule: LrSchedule) -> Rule:
    """Translate the divergence fields into steps.

    Args:
        divergence: the rule, in epochs of the paper or shares of the run.
        task: its chance loss is the reference.
        schedule: the run's learning-rate schedule.
    """
    if divergence.judge == "fraction":
        at = divergence.judge_at * schedule.total_steps
        window = divergence.window * schedule.total_steps
    else:
        at = schedule.warmup_steps + schedule.steps_in(divergence.judge_at)
        window = schedule.steps_in(divergence.window)
    return Rule(
        chance_loss=task.chance_loss,
        ratio=divergence.ratio,
        stop=divergence.stop,
        patience=divergence.patience,
        total_steps=schedule.total_steps,
        judge_step=min(math.ceil(at), schedule.total_steps),
        window_steps=max(1, round(window)),
    )
