"""A whole training of a small net, built anew as often as a test asks, at any place and pace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.nn.parallel import DistributedDataParallel

from scaledrelu.engine.distributed import World
from scaledrelu.engine.divergence import Judge
from scaledrelu.engine.ema import Ema
from scaledrelu.engine.logbook import Logbook
from scaledrelu.engine.loop import Ending, Evaluation, Pace, Training, train
from scaledrelu.engine.windows import Rule
from tests.helpers.step_toys import Batch, Toy, adamw, conv_net, make_update, pictures

PER_EPOCH, EPOCHS = 6, 2
TOTAL = PER_EPOCH * EPOCHS
ALONE = World(0, 1, torch.device("cpu"))
PASSES = Rule(1e9, 1.0, 5, 3, stop=True, patience=3, total_steps=TOTAL)
DIES_EARLY = replace(PASSES, chance_loss=0.0)  # every loss lies above; stopped after 11 steps
DIES_LATE = replace(DIES_EARLY, stop=False)


class Pictures:
    """Two groups a step, shared among the ranks; images of ``bad`` (step, group) are NaN."""

    steps_per_epoch = PER_EPOCH

    def __init__(self, world: World, bad: set[tuple[int, int]]) -> None:
        self.groups, self.bad = range(2)[world.rank :: world.size], bad

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[list[Batch]]:
        for step in range(epoch * PER_EPOCH + start_step, (epoch + 1) * PER_EPOCH):
            yield [self._batch(step, group) for group in self.groups]

    def close(self) -> None:
        pass

    def _batch(self, step: int, group: int) -> Batch:
        batch = pictures(step, group)
        return (
            replace(batch, images=batch.images * float("nan"))
            if self._is_bad(step, group)
            else batch
        )

    def _is_bad(self, step: int, group: int) -> bool:
        return (step, group) in self.bad


def build(
    world: World = ALONE,
    *,
    bad: tuple[tuple[int, int], ...] = (),
    read_every: int = 1,
    rule: Rule | None = None,
    layout: torch.memory_format = torch.contiguous_format,
    fused: bool = False,
) -> Training:
    """Build a training with everything that has state.

    Args:
        world: this process's place.
        bad: (step, group) of the images that are NaN.
        read_every: how rarely the judge's flag is read, as on a GPU.
        rule: of the judge; None = one that no finite run breaks.
        layout: how the kernels of convolutions lie in memory.
        fused: whether AdamW is.
    """
    task = Toy(conv_net()).to(memory_format=layout)
    optimizer = adamw(task, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=5)
    wrapped = task if world.size == 1 else DistributedDataParallel(task, broadcast_buffers=False)
    judge = Judge(rule or PASSES, device=world.device, read_every=1)
    judge.read_every = read_every

    def evaluate(_t: object) -> Evaluation:
        mean = task.backbone[1].running_mean
        return Evaluation({"val/top1": float(mean.sum())}, {"mean": mean.clone()})

    return Training(
        run_id="toy",
        task=task,
        update=make_update(
            wrapped, optimizer, scaler=scaler, groups_local=range(2)[world.rank :: world.size]
        ),
        optimizer=optimizer,
        scaler=scaler,
        schedule=SimpleNamespace(at=lambda step: 0.02 - 0.001 * step, total_steps=TOTAL),
        loader=Pictures(world, set(bad)),
        prepare=lambda groups, _t: list(groups),
        evaluate=evaluate,
        headline="val/top1",
        judge=judge,
        ema=Ema(task, 0.8),
        world=world,
        pace=Pace(log_every=3, checkpoint_every=2, evaluate_every_epochs=1),
    )


def go(run: Training, folder: Path, stop_after: int | None = None) -> Ending:
    """Train in a folder; ask to stop in the step with this number, counted by this process."""
    steps = 0

    def wants_stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == stop_after

    folder.mkdir(parents=True, exist_ok=True)
    logbook = Logbook(folder if run.world.is_main else None, name="toy", images_per_step=12)
    try:
        return train(run, folder=folder, logbook=logbook, wants_stop=wants_stop)
    finally:
        logbook.close()


def flat(value: object, path: str = "") -> dict[str, object]:
    """Return the leaves of a checkpoint, tensors as bytes, the clock left out."""
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    else:
        return {path: value.numpy().tobytes() if torch.is_tensor(value) else value}
    return {
        k: v for key, item in pairs for k, v in flat(item, f"{path}/{key}").items()
        if not k.endswith("cursor/seconds")
    }  # fmt: skip
