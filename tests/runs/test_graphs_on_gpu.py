"""On a GPU: compiled networks train as those that are not compiled, CUDA graphs or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch._inductor import cudagraph_trees
from torch.nn.parallel import DistributedDataParallel

from scaledrelu.config.compose import compose
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.distributed import World, take_device
from scaledrelu.runs import build
from scaledrelu.runs.dry import noise
from scaledrelu.runs.optimisation import build_optimizer, build_scaler
from scaledrelu.runs.prepare import prepare_for
from scaledrelu.tasks.base import Progress

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
STEPS = 4
COMMON = ["profile=smoke", "launch.device=cuda", "batch.total=16", "batch.group=8"]
COMMON += ["profile.batch_scale=1.0", "launch.channels_last=true", "model.drop_path=0.2"]
VIT = ["model=vit_small", "model.depth=2", "stem=conv", "stem.hidden=4"]
DEIT = ["recipe=deit", *VIT]
ROWS = {
    "groups in turn": DEIT,
    "groups in turn, fp16 as in 2021": [*DEIT, "precision=fp16_2021"],
    "groups at once": [*DEIT, "launch.groups_at_once=true"],
    "SAM, each group by itself": [*DEIT, "optimizer=sam"],
    "convolutional FFNs": [*DEIT, "ffn=conv1d_bn"],
    "volo": ["recipe=volo", "model=volo_d1", "model.drop_path=0.2", "data.token_labels=none"],
    "dino": ["recipe=dino", *VIT],
}


def trained(config: RunConfig) -> tuple[list[Tensor], list[Tensor]]:
    """Return the losses of a few updates, and the last gradient."""
    device = torch.device("cuda", 0)
    take_device(device)
    torch.manual_seed(0)
    task = build.build_task(config, 10).to(device).to(memory_format=torch.channels_last).train()
    optimizer, world = build_optimizer(config.optimizer, task, lr=1e-3), World(0, 1, device)
    update = build.build_update(
        config, task, optimizer, build_scaler(config.precision, device), world
    )
    prepare, losses = prepare_for(config, task, 10, device), []
    for step in range(STEPS):
        t = Progress(step, 10, 0, 10)
        groups = [noise(config, 10, group) for group in build.local_groups(config, world)]
        losses.append(update(prepare(groups, t), t).loss.clone())
    grads = [p.grad.clone() for p in task.parameters() if p.grad is not None]
    torch.compiler.reset()
    return losses, grads


def compare(row: list[str]) -> None:
    plain, graphs = (
        compose([*COMMON, *row, f"launch.compile={word}"]) for word in ("false", "true")
    )
    expected, found = trained(plain), trained(graphs)
    half = plain.precision.autocast != "none"
    for a, b in zip(found[0], expected[0], strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2 if half else 1e-3, atol=0)
    for a, b in zip(found[1], expected[1], strict=True):
        assert (a - b).norm() <= (0.1 if half else 0.02) * b.norm() + 1e-6


@pytest.mark.parametrize("name", ROWS)
def test_replayed_graphs_train_as_networks_that_are_not_compiled(name: str) -> None:
    compare(ROWS[name])


def test_some_graphs_are_replayed() -> None:
    managers = []
    real = cudagraph_trees.get_manager
    cudagraph_trees.get_manager = lambda *args, **kw: managers.append(1) or real(*args, **kw)
    try:
        trained(compose([*COMMON, *DEIT, "launch.compile=true"]))
    finally:
        cudagraph_trees.get_manager = real
    assert managers


def _wrapped(wrap: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def both(config: RunConfig, task: nn.Module, world: World) -> nn.Module:
        return DistributedDataParallel(
            wrap(config, task, world), device_ids=[0], broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )  # fmt: skip

    return both


def _in_ddp(_: int, folder: Path, row: list[str]) -> None:
    meet = f"file://{folder}/meet"
    dist.init_process_group("nccl", init_method=meet, rank=0, world_size=1)
    build.wrap = _wrapped(build.wrap)
    compare(row)
    dist.destroy_process_group()


@pytest.mark.parametrize("name", ["groups in turn", "SAM, each group by itself", "dino"])
def test_graphs_and_ddp_train_together(tmp_path: Path, name: str) -> None:
    mp.start_processes(_in_ddp, args=(tmp_path, ROWS[name]), nprocs=1, start_method="spawn")
