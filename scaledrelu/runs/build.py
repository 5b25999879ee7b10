"""The composition root: from one resolved configuration to everything a run trains with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from scaledrelu.config.devices import refuse_fp16_on_cpu
from scaledrelu.config.groups import groups_per_process, trained_groups
from scaledrelu.data.datasets import Splits
from scaledrelu.engine.distributed import World
from scaledrelu.engine.divergence import Judge
from scaledrelu.engine.ema import Ema
from scaledrelu.engine.loop import Pace, Training
from scaledrelu.engine.step import Update
from scaledrelu.models.sync_batchnorm import sync_batchnorm
from scaledrelu.randomness import derive_seed
from scaledrelu.runs.create import create, parameters_of, target_of
from scaledrelu.runs.features import embed_training_images
from scaledrelu.runs.feed import Validation, image_size, layout, open_data, train_loader
from scaledrelu.runs.initial import load_initial
from scaledrelu.runs.observe import build_evaluation
from scaledrelu.runs.optimisation import (
    build_optimizer,
    build_scaler,
    build_schedule,
    build_weight_decay,
    judge_rule,
    sam_spec,
)
from scaledrelu.runs.prepare import batch_groups, prepare_for
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
    refuse_fp16_on_cpu(config, on_cpu=world.device.type == "cpu")
    if config.launch.threads:
        torch.set_num_threads(config.launch.threads)
    splits = open_data(config)
    groups = local_groups(config, world)
    torch.manual_seed(derive_seed(config.seed, "init"))
    task = build_task(config, splits.num_classes)
    load_initial(config, task)
    task = task.to(world.device)
    if config.launch.channels_last:
        task = task.to(memory_format=layout(config))
    validation = Validation(config, splits.val, world)
    evaluate = build_evaluation(config, task, validation, world, splits)
    splits = embed_training_images(config, task, splits)
    loader = train_loader(config, splits, groups, world)
    schedule = build_schedule(config, loader.steps_per_epoch)
    optimizer = build_optimizer(config, task)
    scaler = build_scaler(config, world)
    training = Training(
        task=task,
        update=Update(
            wrap(config, task, world),
            optimizer,
            scaler=scaler,
            autocast=config.precision.autocast,
            sam=sam_spec(config),
            clip_grad=config.optimizer.clip_grad,
            clip=config.optimizer.clip,
            seed=config.seed,
            device=world.device,
            groups_local=batch_groups(config, groups),
        ),
        optimizer=optimizer,
        scaler=scaler,
        schedule=schedule,
        loader=loader,
        prepare=prepare_for(config, task, splits.num_classes, world.device),
        evaluate=evaluate,
        headline=evaluate.headline,
        judge=Judge(
            judge_rule(config, task, schedule),
            device=world.device,
            read_every=config.launch.log_every_steps,
        ),
        ema=Ema(task, config.ema.decay) if config.ema else None,
        world=world,
        pace=Pace(
            schedule.run_epochs,
            config.launch.log_every_steps,
            config.launch.checkpoint_every_steps,
            config.evaluation.every_epochs,
            config.evaluation.at_start,
        ),
        weight_decay=build_weight_decay(config, schedule.total_steps),
    )
    return Job(training, splits, validation, schedule.spec.peak_lr, len(groups))


def local_groups(config: dict[str, Any], world: World) -> range:
    """Return the global numbers of the groups that this process holds.

    Raises:
        ConfigError: if the groups do not divide over the processes.
    """
    count = trained_groups(
        total=config.batch.total,
        group=config.batch.group,
        batch_scale=config.profile.batch_scale,
    )
    share = groups_per_process(count, processes=world.size, group=config.batch.group)
    return range(world.rank * share, (world.rank + 1) * share)


def build_task(config: dict[str, Any], num_classes: int) -> Task:
    """Build the model with its stem, FFNs and attention, and the task around it."""
    model, stem, ffn = config.model, config.stem, config.ffn
    fields = ("strides", "kernels", "hidden", "norm", "act", "tail", "proj_kernel", "shrink")
    headless = getattr(target_of(config.task), "headless", False)
    backbone = create(
        model.build,
        image_size=image_size(config),
        num_classes=0 if headless else num_classes,
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
        make_stem=create(stem.build, _partial_=True, **{name: stem[name] for name in fields}),
        make_ffn=create(ffn["build"], _partial_=True, act=ffn["act"]),
        ffn_norm=ffn["norm"],
        attention=config.precision.attention,
    )
    offered = {"num_classes": num_classes, "seed": config.seed}
    wanted = {name: offered[name] for name in offered if name in parameters_of(config.task)}
    return create(config.task, backbone=backbone, **wanted)


def wrap(config: dict[str, Any], task: Task, world: World) -> nn.Module:
    """Compile the backbones if asked, and wrap the whole task for several processes."""
    if config.launch.compile:
        for network in task.networks():
            network.compile()
    if world.size == 1:
        return task
    if config.batch.sync_bn:
        task = sync_batchnorm(task, world.device)
    devices = [world.device.index] if world.device.type == "cuda" else None
    # Running statistics follow group 0 and are sent out before they are read (sync_buffers).
    return DistributedDataParallel(
        task, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
    )
