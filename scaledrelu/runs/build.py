"""The composition root: from one resolved configuration to everything a run trains with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from scaledrelu.config.identity import run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.config.stem import StemConfig
from scaledrelu.data.datasets import Splits
from scaledrelu.engine.distributed import World
from scaledrelu.engine.gradients import BatchGradient
from scaledrelu.engine.loop import Pace, Training
from scaledrelu.engine.step import Update
from scaledrelu.errors import ConfigError
from scaledrelu.models.joined_groups import JoinedGroups
from scaledrelu.models.parts import Parts
from scaledrelu.models.stem import check_map
from scaledrelu.models.sync_batchnorm import leave_uncompiled, sync_batchnorm
from scaledrelu.randomness import derive_seed
from scaledrelu.runs.checkout import git_commit, other_code
from scaledrelu.runs.create import create, create_layer, parameters_of, target_of
from scaledrelu.runs.features import embed_training_images
from scaledrelu.runs.feed import Validation, layout, open_data, train_loader
from scaledrelu.runs.initial import load_initial
from scaledrelu.runs.observe import build_evaluation
from scaledrelu.runs.optimisation import (
    build_ema,
    build_judge,
    build_optimizer,
    build_scaler,
    build_schedule,
    build_weight_decay,
)
from scaledrelu.runs.prepare import batch_groups, prepare_for
from scaledrelu.tasks.base import Task

# torch 2.15 has a new name for the switch that broadcasts buffers, and warns of the old one.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in signature(DistributedDataParallel).parameters
)


@dataclass(frozen=True, slots=True)
class Job:
    """A built run: what the loop trains, and the parts that the evidence comes from."""

    training: Training
    splits: Splits
    validation: Validation
    groups_per_device: int

    def close(self) -> None:
        """End the loader processes."""
        self.training.loader.close()
        self.validation.close()


def build(config: RunConfig, world: World) -> Job:
    """Build everything a run needs on this process.

    Args:
        config: the run's configuration.
        world: this process's place and device.

    Raises:
        ScaledReluError: anything that a user can fix.
    """
    config.refuse_fp16_on_cpu(on_cpu=world.device.type == "cpu")
    if config.launch.threads:
        torch.set_num_threads(config.launch.threads)
    splits = open_data(config)
    groups = local_groups(config, world)
    task = _first_task(config, splits.num_classes, world.device)
    validation = Validation(config, splits.val, world, keep=True)
    evaluate = build_evaluation(config, task, validation, world, splits)
    splits = embed_training_images(config, task, splits)
    loader = train_loader(config, splits, groups, world)
    schedule = build_schedule(config, loader.steps_per_epoch)
    optimizer = build_optimizer(config.optimizer, task, lr=config.lr.base)
    scaler = build_scaler(config.precision, world.device)
    training = Training(
        run_id=run_id(config),
        task=task,
        update=build_update(config, task, optimizer, scaler, world),
        optimizer=optimizer,
        scaler=scaler,
        schedule=schedule,
        loader=loader,
        prepare=prepare_for(config, task, splits.num_classes, world.device),
        evaluate=evaluate,
        headline=evaluate.headline,
        judge=build_judge(config, task, schedule, world.device),
        ema=build_ema(config, task),
        world=world,
        pace=_pace(config),
        weight_decay=build_weight_decay(config, schedule.total_steps),
        commit=(here := git_commit()),
        other_code=partial(other_code, here=here),
    )
    return Job(training, splits, validation, len(groups))


def _first_task(config: RunConfig, num_classes: int, device: torch.device) -> Task:
    """Return the task with its first weights, on its device."""
    torch.manual_seed(derive_seed(config.seed, "init"))
    task = build_task(config, num_classes)
    load_initial(config, task)
    task = task.to(device)
    return task.to(memory_format=layout(config.launch)) if config.launch.channels_last else task


def _pace(config: RunConfig) -> Pace:
    return Pace(
        log_every=config.launch.log_every_steps,
        checkpoint_every=config.launch.checkpoint_every_steps,
        evaluate_every_epochs=config.evaluation.every_epochs,
        evaluate_at_start=config.evaluation.at_start,
    )


def local_groups(config: RunConfig, world: World) -> range:
    """Return the global numbers of the groups that this process holds.

    Args:
        config: the run's configuration.
        world: this process's place among the run's processes.

    Raises:
        ConfigError: if the groups do not divide over the processes.
    """
    share = config.batch.groups_per_process(config.profile.batch_scale, processes=world.size)
    return range(world.rank * share, (world.rank + 1) * share)


def build_task(config: RunConfig, num_classes: int) -> Task:
    """Build the model with its stem, FFNs and attention, and the task around it.

    Args:
        config: the run's configuration.
        num_classes: classes of the data set.
    """
    headless = getattr(target_of(config.task), "headless", False)
    backbone = _backbone(
        config, partial(_make_stem, config.stem), num_classes=0 if headless else num_classes
    )
    offered = {"num_classes": num_classes, "seed": config.seed}
    wanted = {name: offered[name] for name in offered if name in parameters_of(config.task)}
    return create(config.task, backbone=backbone, **wanted)


def _backbone(
    config: RunConfig, make_stem: Callable[..., nn.Module], *, num_classes: int
) -> nn.Module:
    ffn = config.ffn
    parts = Parts(
        make_stem=make_stem,
        make_ffn=partial(create, ffn.build, act=ffn.act),
        ffn_norm=ffn.norm,
        attention=config.precision.attention,
    )
    return create(
        config.model.build,
        config.model,
        parts,
        image_size=config.data.size,
        num_classes=num_classes,
    )


class _StemIsMadeError(Exception):
    """Ends the making of a backbone of which only the stem was wanted."""


def try_stem(config: RunConfig) -> None:
    """Make the stem as the model will ask for it, and no more of the model.

    Raises:
        ConfigError: the stem returns another map than it promises, or cannot be made.
        Exception: what code of one's own raises.
    """

    def make(**sizes: Any) -> nn.Module:
        _make_stem(config.stem, **sizes)
        raise _StemIsMadeError

    with contextlib.suppress(_StemIsMadeError), torch.random.fork_rng(devices=[]):
        _backbone(config, make, num_classes=1)


def _make_stem(
    stem: StemConfig, *, width: int, patch_size: int, image_size: int | Sequence[int]
) -> nn.Module:
    """Make the stem; our own class with our own layers has the right shape for certain."""
    made = create(
        stem.build,
        stem,
        width=width,
        patch_size=patch_size,
        image_size=image_size,
        create=create_layer,
    )
    if stem.own_code:
        name = f"stem ({', '.join(stem.own_code)})"
        check_map(made, name=name, width=width, image_size=image_size)
    return made


def build_update(
    config: RunConfig,
    task: Task,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    world: World,
) -> Update:
    """Build the optimizer update; the task is compiled and wrapped as the configuration asks.

    Args:
        config: the run's configuration.
        task: the task, on its device.
        optimizer: the optimizer over its parameters.
        scaler: loss scaler; None without one.
        world: this process's place and device.

    Raises:
        ConfigError: all groups in one pass where the method does not allow it.
    """
    groups = batch_groups(config.batch, local_groups(config, world))
    joined = None
    if config.launch.groups_at_once and len(groups) > 1:
        joined = _see_groups_at_once(config, task, len(groups), world.device)
    gradient = BatchGradient(
        wrap(config, task, world),
        optimizer,
        scaler=scaler,
        autocast=config.precision.autocast,
        sam=config.optimizer.sam,
        seed=config.seed,
        device=world.device,
        groups_local=groups,
        draw_joined=joined.draw if joined else None,
        compiled=config.compiles(world.device.type),
    )
    return Update(gradient, clip_grad=config.optimizer.clip_grad, clip=config.optimizer.clip)


def _see_groups_at_once(
    config: RunConfig, task: Task, groups: int, device: torch.device
) -> JoinedGroups:
    """Let a task, which is changed in place, see all groups of this process in one pass.

    Raises:
        ConfigError: the method or SAM needs one pass per group.
    """
    sam, off = config.optimizer.sam, "set launch.groups_at_once=false"
    if not task.joins:
        raise ConfigError(
            f"launch.groups_at_once=true: {config.method} computes its loss group by group; {off}"
        )
    if sam is not None and sam.per_group:
        raise ConfigError(
            "launch.groups_at_once=true: optimizer.sam.per_group=true moves the weights group by "
            f"group; {off}"
        )
    return JoinedGroups(task, groups=groups, images=config.batch.group, device=device)


def compile_networks(task: Task, *, may_fail: bool = False, **options: Any) -> None:
    """Compile the backbones in place, one graph for every shape that they see.

    Args:
        task: its networks are compiled when they are first called.
        may_fail: go on uncompiled, with a warning, where torch cannot compile: without a C compiler
            on the node, say.
        options: keyword arguments of ``torch.compile``.
    """
    from torch._dynamo import config
    from torch._functorch import config as lowering

    config.suppress_errors = may_fail
    # Have the gradient's code written together with the network's, where an error may be passed
    # over. By itself torch writes it in the first backward pass, where one ends the run.
    lowering.force_non_lazy_backward_lowering = may_fail
    # A graph for each network, crop size and mode, with and without moving statistics: DINO has
    # more than the eight after which torch gives up and goes on uncompiled.
    config.recompile_limit = max(config.recompile_limit, 64)
    for network in task.networks():
        network.compile(dynamic=False, **options)


def _compiler_options(mode: str) -> dict[str, Any]:
    """Return what ``torch.compile`` takes as ``options`` for one of its modes.

    Drop path draws from torch's generator on a GPU, too, as in networks that are not compiled: so a
    compiled run differs by rounding only (VOLO's on a GPU: not yet explained). No product of
    matrices is fused with what follows it: scores in half precision would be scaled before they are
    rounded (torch 2.11), and would not overflow where those of 2021 do.
    """
    modes = torch._inductor.list_mode_options(mode)
    return {**modes, "fallback_random": True, "epilogue_fusion": False}


def wrap(config: RunConfig, task: Task, world: World) -> nn.Module:
    """Compile the backbones if asked, and wrap the whole task for several processes.

    Args:
        config: the run's configuration.
        task: the task, on its device.
        world: this process's place among the run's processes.
    """
    launch = config.launch
    compiles = config.compiles(world.device.type)
    if compiles:
        options = _compiler_options(launch.compile_mode)
        compile_networks(task, may_fail=launch.compile is None, options=options)
    if world.size == 1:
        return task
    if config.batch.sync_bn:
        task = sync_batchnorm(task, world.device)
        if compiles:
            leave_uncompiled(task)
    devices = [world.device.index] if world.device.type == "cuda" else None
    # Running statistics follow group 0 and are broadcast before they are read (sync_buffers).
    # Not static_graph: with it torch 2.15 loses the gradients that no_sync() accumulated.
    return DistributedDataParallel(
        task, device_ids=devices, gradient_as_bucket_view=True, **{_SYNC_BUFFERS: False}
    )
