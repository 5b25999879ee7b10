"""One training and one evaluation step of a run on noise: tests everything but data and time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from scaledrelu.config.run import RunConfig
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.multicrop import NUM_GLOBAL
from scaledrelu.engine.autocast import autocast_context
from scaledrelu.engine.distributed import World
from scaledrelu.runs.build import build_task, build_update, local_groups
from scaledrelu.runs.observe import uncompiled
from scaledrelu.runs.optimisation import build_optimizer, build_scaler, build_schedule
from scaledrelu.runs.prepare import prepare_for
from scaledrelu.tasks.base import Progress

STEPS_PER_EPOCH = 1251  # ImageNet-1k at batch 1024 (recipes A.3)
MAP_SIDE, MAP_DEPTH = 18, 5  # shape of the published label maps (recipes B.4)


@dataclass(frozen=True, slots=True)
class DryReport:
    """What one step of a run showed."""

    parameters: int
    loss: float
    grad_norm: float
    logits: tuple[int, ...]


def dry_step(config: RunConfig, *, num_classes: int, device: str = "cpu") -> DryReport:
    """Take one training and one evaluation step of a run on random images.

    Args:
        config: the run's configuration; its batch should be small.
        num_classes: C, since no data set is opened.
        device: cpu or cuda.

    Raises:
        RuntimeError: if the loss is not finite, or the gradient without loss scaling.
    """
    world = World(0, 1, torch.device(device))
    torch.manual_seed(config.seed)
    task = build_task(config, num_classes).to(world.device).train()
    schedule = build_schedule(config, STEPS_PER_EPOCH)
    optimizer = build_optimizer(config.optimizer, task, lr=config.lr.base)
    scaler = build_scaler(config.precision, world.device)
    update = build_update(config, task, optimizer, scaler, world)
    t = Progress(0, schedule.total_steps, 0, STEPS_PER_EPOCH)
    groups = [noise(config, num_classes, group) for group in local_groups(config, world)]
    report = update.gradients(prepare_for(config, task, num_classes, world.device)(groups, t), t)
    update.apply(~report.finite, t)
    # A loss scaler may find its first scale too large and skip the step, which is not a failure.
    scaled = config.precision.loss_scaling
    if not (torch.isfinite(report.loss) and (scaled or torch.isfinite(report.grad_norm))):
        raise RuntimeError(f"loss {float(report.loss)}, gradient norm {float(report.grad_norm)}")
    task.eval()
    autocast = autocast_context(config.precision.autocast, world.device)
    with torch.no_grad(), autocast, uncompiled(config, world.device):
        images = groups[0].images[: config.batch.group]  # with multi-crop there are two views
        logits_BC = task.backbone(images.to(world.device))
    return DryReport(
        parameters=sum(p.numel() for p in task.backbone.parameters()),
        loss=float(report.loss),
        grad_norm=float(report.grad_norm),
        logits=tuple(logits_BC.shape),
    )


def noise(config: RunConfig, num_classes: int, group: int) -> RawBatch:
    """Return one group of normalised noise images (or crops), with random classes and maps.

    Args:
        config: the run's configuration.
        num_classes: C.
        group: number of the group, which seeds the noise.
    """
    count, height, width = config.batch.group, config.data.height, config.data.width
    crops = config.augment.multi_crop
    generator = torch.Generator().manual_seed(group)
    views = NUM_GLOBAL if crops else 1
    batch = RawBatch(
        images=torch.randn(views * count, 3, height, width, generator=generator),
        targets=torch.randint(num_classes, (count,), generator=generator),
        indices=torch.arange(count),
        views=torch.zeros(count, dtype=torch.int64),
        group=group,
    )
    if crops and crops.num_local:
        shape = (crops.num_local * count, 3, crops.local_size, crops.local_size)
        batch = replace(batch, local=torch.randn(shape, generator=generator))
    if not config.data.has_labels:
        return batch
    maps, boxes = _random_labels(count, num_classes, generator)
    return replace(batch, maps=maps, boxes=boxes)


def _random_labels(
    count: int, num_classes: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random label maps of the published shape (recipes B.4) and random crop boxes."""
    cells = torch.randn(count, num_classes, MAP_SIDE, MAP_SIDE, generator=generator)
    best = cells.topk(min(MAP_DEPTH, num_classes), 1)
    length = 0.3 + 0.7 * torch.rand(count, 2, generator=generator)
    corner = torch.rand(count, 2, generator=generator) * (1 - length)
    maps = torch.stack((best.values, best.indices.float()), 1).half()
    return maps, torch.cat((corner, length), 1)
