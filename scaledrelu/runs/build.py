"""The composition root: from one resolved configuration to everything a run trains with."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from scaledrelu.config.check import groups_per_process, trained_groups
from scaledrelu.data.datasets import Splits
from scaledrelu.engine.distributed import World
from scaledrelu.engine.divergence import Judge, Rule
from scaledrelu.engine.ema import Ema
from scaledrelu.engine.loop import Pace, Training
from scaledrelu.engine.step import SamSpec, Update
from scaledrelu.optim.params import parameter_groups
from scaledrelu.optim.schedule import (
    LrSchedule,
    ScheduleSpec,
    effective_lr,
    run_epochs,
    warmup_length,
)
from scaledrelu.randomness import derive_seed
from scaledrelu.runs.create import create
from scaledrelu.runs.feed import Prepare, Validation, layout, open_data, train_loader
from scaledrelu.runs.observe import build_evaluation
from scaledrelu.tasks.base import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A built run: what the loop trains, and the parts that evidence is taken from."""

    training: Training
    splits: Splits
    validation: Validation
    lr_effective: float
    groups_per_device: int

    def close(self) -> None:
        """End the loader processes."""
        self.training.loader.close()
        self.validation.close()


def build(config: dict[str, Any], world: World) -> Job:
    """Build everything a run needs on this process.

    Args:
        config: resolved and checked, see ``config.compose``.
        world: this process's place and device.

    Raises:
        ScaledReluError: for everything a user can fix.
    """
    if config["launch"]["threads"]:
        torch.set_num_threads(config["launch"]["threads"])
    splits = open_data(config)
    groups = local_groups(config, world)
    torch.manual_seed(derive_seed(config["seed"], "init"))
    task = build_task(config, splits.num_classes).to(world.device)
    if config["launch"]["channels_last"]:
        task = task.to(memory_format=layout(config))
    validation = Validation(config, splits.val, world)
    loader = train_loader(config, splits, groups, world)
    schedule = build_schedule(config, loader.steps_per_epoch)
    optimizer = build_optimizer(config, task)
    scaler = build_scaler(config, world)
    training = Training(
        task=task,
        update=Update(
            wrap(task, world, compiled=config["launch"]["compile"]),
            optimizer,
            scaler=scaler,
            autocast=config["precision"]["autocast"],
            sam=sam_spec(config),
            clip_grad=config["optimizer"]["clip_grad"],
            seed=config["seed"],
            device=world.device,
            groups_local=groups,
        ),
        optimizer=optimizer,
        scaler=scaler,
        schedule=schedule,
        loader=loader,
        prepare=Prepare(config, splits.num_classes, world.device),
        evaluate=build_evaluation(config, task, validation, world),
        headline="val/top1",
        judge=Judge(
            judge_rule(config, task, schedule),
            device=world.device,
            read_every=config["launch"]["log_every_steps"],
        ),
        ema=Ema(task, config["ema"]["decay"]) if config["ema"] else None,
        world=world,
        pace=Pace(
            schedule.run_epochs,
            config["launch"]["log_every_steps"],
            config["launch"]["checkpoint_every_steps"],
            config["evaluation"]["every_epochs"],
        ),
    )
    return Job(training, splits, validation, schedule.spec.peak_lr, len(groups))


def local_groups(config: dict[str, Any], world: World) -> range:
    """Return the global numbers of the groups that this process holds.

    Raises:
        ConfigError: if the groups do not divide over the processes.
    """
    count = trained_groups(
        total=config["batch"]["total"],
        group=config["batch"]["group"],
        batch_scale=config["profile"]["batch_scale"],
    )
    share = groups_per_process(count, processes=world.size, group=config["batch"]["group"])
    return range(world.rank * share, (world.rank + 1) * share)


def build_task(config: dict[str, Any], num_classes: int) -> Task:
    """Build the model with its stem, FFNs and attention, and the task around it."""
    model, stem, ffn = config["model"], config["stem"], config["ffn"]
    fields = ("strides", "kernels", "hidden", "norm", "act", "tail", "proj_kernel", "shrink")
    backbone = create(
        model["build"],
        image_size=config["data"]["image_size"],
        num_classes=num_classes,
        **{
            name: model[name]
            for name in (
                "width",
                "depth",
                "heads",
                "mlp_ratio",
                "patch_size",
                "norm_eps",
                "drop_path",
            )
        },
        make_stem=create(stem["build"], _partial_=True, **{name: stem[name] for name in fields}),
        make_ffn=create(ffn["build"], _partial_=True, act=ffn["act"]),
        ffn_norm=ffn["norm"],
        attention=config["precision"]["attention"],
    )
    return create(config["task"], backbone=backbone, num_classes=num_classes)


def wrap(task: Task, world: World, *, compiled: bool) -> nn.Module:
    """Compile the backbone if asked, and wrap the whole task for several processes."""
    if compiled:
        task.backbone.compile()
    if world.size == 1:
        return task
    devices = [world.device.index] if world.device.type == "cuda" else None
    # Running statistics follow group 0 and are sent out before they are read (sync_buffers).
    return DistributedDataParallel(
        task, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
    )


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
            )
        },
        warmup_shape=warmup["shape"],
        start_lr=warmup["start_lr"],
        warmup_epochs=warmup_length(warmup["epochs"], profile["warmup_scale"]),
        peak_lr=effective_lr(
            lr["base"],
            total_batch=config["batch"]["total"],
            reference_batch=lr["reference_batch"],
            lr_scale=profile["lr_scale"],
        ),
    )
    epochs = run_epochs(schedule["epochs"] + schedule["cooldown_epochs"], profile["epoch_scale"])
    return LrSchedule(spec, run_epochs=epochs, steps_per_epoch=steps_per_epoch)


def build_optimizer(config: dict[str, Any], task: Task) -> torch.optim.Optimizer:
    """Build the base optimizer over the official parameter groups."""
    build = dict(config["optimizer"]["build"])
    groups = parameter_groups(task, build.pop("weight_decay"))
    return create(build, groups, lr=config["lr"]["base"], _convert_="object")


def build_scaler(config: dict[str, Any], world: World) -> torch.amp.GradScaler | None:
    """Build the loss scaler of fp16 (recipes A.3), or nothing."""
    precision = config["precision"]
    if not precision["loss_scaling"]:
        return None
    return torch.amp.GradScaler(
        world.device.type,
        init_scale=precision["initial_scale"],
        growth_interval=precision["growth_interval"],
    )


def judge_rule(config: dict[str, Any], task: Task, schedule: LrSchedule) -> Rule:
    """Translate the divergence fields into steps."""
    rule = config["divergence"]
    if rule["judge"] == "fraction":
        at, window = rule["judge_at"] * schedule.total_steps, rule["window"] * schedule.total_steps
    else:
        at = schedule.warmup_steps + schedule.steps_in(rule["judge_at"])
        window = schedule.steps_in(rule["window"])
    return Rule(
        chance_loss=task.chance_loss,
        ratio=rule["ratio"],
        stop=rule["stop"],
        judge_step=min(math.ceil(at), schedule.total_steps),
        window_steps=max(1, round(window)),
    )


def sam_spec(config: dict[str, Any]) -> SamSpec | None:
    """Return how SAM perturbs, or None for a plain update."""
    sam = config["optimizer"]["sam"]
    return SamSpec(**sam) if sam else None
