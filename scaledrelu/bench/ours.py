"""Our side: the body of the training loop around the parts of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count

import torch

from scaledrelu.config.run import RunConfig
from scaledrelu.data.batch import Batch
from scaledrelu.data.datasets import Splits
from scaledrelu.engine.distributed import World
from scaledrelu.engine.loop import take_update
from scaledrelu.runs.build import build_update
from scaledrelu.runs.dry import STEPS_PER_EPOCH, noise
from scaledrelu.runs.feed import train_loader
from scaledrelu.runs.optimisation import (
    build_ema,
    build_judge,
    build_optimizer,
    build_scaler,
    build_schedule,
    build_weight_decay,
)
from scaledrelu.runs.prepare import prepare_for
from scaledrelu.tasks.base import Progress, Task


class OurStep:
    """What ``engine.loop.train`` does with every update, without logs and checkpoints.

    Args:
        config: a run's configuration.
        task: the task, on its device; it is trained.
        world: one process.
        steps_per_epoch: updates per epoch, for the schedule; ImageNet's where no data are read.
    """

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        world: World,
        *,
        steps_per_epoch: int = STEPS_PER_EPOCH,
    ) -> None:
        self.task, self.steps_per_epoch = task.train(), steps_per_epoch
        self.schedule = build_schedule(config, steps_per_epoch)
        self.weight_decay = build_weight_decay(config, self.schedule.total_steps)
        self.optimizer = build_optimizer(config.optimizer, task, lr=config.lr.base)
        self.ema = build_ema(config, task)
        self.judge = build_judge(config, task, self.schedule, world.device)
        scaler = build_scaler(config.precision, world.device)
        self.update = build_update(config, task, self.optimizer, scaler, world)
        self.world = world
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=world.device)
        self.count = 0

    @property
    def now(self) -> Progress:
        """Where training stands; stays inside the schedule however long it is timed."""
        step = self.count % self.schedule.total_steps
        return Progress(
            step, self.schedule.total_steps, step // self.steps_per_epoch, self.steps_per_epoch
        )

    def __call__(self, batches: Sequence[Batch]) -> torch.Tensor:
        """Train on one update's groups and return the loss."""
        t = self.now
        taken = take_update(self, batches, t, wants_stop=lambda: False)
        self.loss_sum += taken.loss
        if self.judge.due(t.step + 1):
            self.judge.read(t.step + 1)
        self.count += 1
        return taken.report.loss


def noise_batches(
    config: RunConfig, num_classes: int, world: World, task: Task, t: Progress
) -> list[Batch]:
    """Return an update's groups as the task gets them, on the device, of noise images and crops.

    Noise, not zeros: arithmetic on zeros is faster.

    Args:
        config: a run's configuration.
        num_classes: C.
        world: this process's place and device.
        task: the task that the batch is for.
        t: the step, which keys the noise.
    """
    prepare = prepare_for(config, task, num_classes, world.device)
    groups = prepare([noise(config, num_classes, group) for group in range(config.num_groups)], t)
    torch.manual_seed(0)
    return [_noisy(batch) for batch in groups]


def _noisy(batch: Batch) -> Batch:
    images = {"images": batch.images, "local": batch.local}  # augmentation may have flattened it
    return replace(batch, **{k: torch.randn_like(x) for k, x in images.items() if x is not None})


class OurFeed:
    """Our loader and everything that happens to a batch before the task sees it.

    Args:
        config: a run's configuration.
        splits: the images.
        world: one process.
        task: the task that the batches are for.
    """

    def __init__(self, config: RunConfig, splits: Splits, world: World, task: Task) -> None:
        self.source, self.num_classes = splits.train, splits.num_classes
        self.loader = train_loader(config, splits, range(1), world)
        self.prepare = prepare_for(config, task, splits.num_classes, world.device)
        self._steps = chain.from_iterable(map(self.loader.epoch, count()))

    def __call__(self, t: Progress) -> list[Batch]:
        """Return the groups of the next update."""
        return self.prepare(next(self._steps), t)
