"""Runs of every method whose networks can be compiled, and a few updates of one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scaledrelu.config.run import RunConfig
from scaledrelu.engine.distributed import World, take_device
from scaledrelu.runs import build
from scaledrelu.runs.dry import noise
from scaledrelu.runs.optimisation import build_optimizer, build_scaler
from scaledrelu.runs.prepare import prepare_for
from scaledrelu.tasks.base import Progress

BUCKET_BYTES = 2**17
STEPS = 4  # replayed graphs: a first step to warm up, one to record, two replays
COMMON = ["profile=smoke", "batch.total=16", "batch.group=8", "profile.batch_scale=1.0"]
COMMON += ["launch.channels_last=true", "launch.fp16_on_cpu=true", "model.drop_path=0.2"]
VIT = ["model=vit_small", "model.depth=2", "stem=conv", "stem.hidden=4"]
DEIT = ["recipe=deit", *VIT]
ROWS = {
    "groups in turn": DEIT,
    "groups in turn, fp16 as in 2021": [*DEIT, "precision=fp16_2021"],
    "groups at once": [*DEIT, "launch.groups_at_once=true"],
    "SAM, each group by itself": [*DEIT, "optimizer=sam"],
    "SAM, all groups together": [*DEIT, "optimizer=sam", "optimizer.sam.per_group=false"],
    "convolutional FFNs": [*DEIT, "ffn=conv1d_bn"],
    "volo": ["recipe=volo", "model=volo_d1", "data.token_labels=none"],
    "dino": ["recipe=dino", *VIT],
}


@dataclass(frozen=True, slots=True)
class Trained:
    """What a few updates left: losses and norms of each, the last gradient, the generator."""

    seen: list[Tensor]
    grads: list[Tensor]
    drawn: Tensor


def train_steps(
    config: RunConfig, device: torch.device, *, rank: int = 0, size: int = 1
) -> Trained:
    """Make a few updates, none of which is skipped, with the flag of the training loop."""
    take_device(device)
    torch.manual_seed(0)
    task = build.build_task(config, 10).to(device).to(memory_format=torch.channels_last).train()
    optimizer, world = build_optimizer(config.optimizer, task, lr=1e-3), World(rank, size, device)
    scaler = build_scaler(config.precision, device)
    update = build.build_update(config, task, optimizer, scaler, world)
    prepare, seen = prepare_for(config, task, 10, device), []
    for step in range(STEPS):
        t = Progress(step, 10, 0, 10)
        groups = [noise(config, 10, group) for group in build.local_groups(config, world)]
        report = update.gradients(prepare(groups, t), t)
        update.apply(torch.zeros((), dtype=torch.bool, device=device), t)
        seen += [report.loss.clone(), report.grad_norm.clone()]
    grads = [p.grad.clone() for p in task.parameters() if p.grad is not None]
    drawn = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    return Trained(seen, grads, drawn)


@contextmanager
def ddp_of_one(folder: Path, device: torch.device) -> Iterator[None]:
    """Join a group of one process, in which every task is wrapped as in a larger one.

    Its buckets are small.
    """
    backend, devices = ("nccl", [0]) if device.type == "cuda" else ("gloo", None)
    dist.init_process_group(backend, init_method=f"file://{folder}/meet", rank=0, world_size=1)
    wrap = build.wrap

    def wrapped(config: RunConfig, task: nn.Module, world: World) -> nn.Module:
        return build.DistributedDataParallel(
            wrap(config, task, world), device_ids=devices, gradient_as_bucket_view=True,
            **{build._SYNC_BUFFERS: False},
        )  # fmt: skip

    build.wrap = wrapped
    try:
        with small_buckets():
            yield
    finally:
        build.wrap = wrap
        dist.destroy_process_group()


@contextmanager
def small_buckets() -> Iterator[None]:
    """Exchange gradients in buckets so small that a tiny network has several, as a large one has.

    torch compiles a network piece by piece then, with a bucket for each piece.
    """
    ddp = partial(DistributedDataParallel, bucket_cap_mb=BUCKET_BYTES / 2**20)
    with (
        mock.patch.object(dist, "_DEFAULT_FIRST_BUCKET_BYTES", BUCKET_BYTES),
        mock.patch.object(build, "DistributedDataParallel", ddp),
    ):
        yield
