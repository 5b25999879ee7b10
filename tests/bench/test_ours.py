from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scaledrelu.bench.ours import OurFeed, OurStep
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.distributed import World
from scaledrelu.randomness import derive_seed
from scaledrelu.runs.build import build, build_task
from scaledrelu.runs.feed import open_data
from tests.helpers.loop_toys import go

ALONE = World(0, 1, torch.device("cpu"))
SMALL = ("data.fraction=0.2", "model.depth=2", "model.width=16", "model.heads=2")


@pytest.mark.parametrize("recipe", ["deit", "dino"])
def test_our_step_trains_as_the_loop_does(
    smoke: Callable[..., RunConfig], tmp_path: Path, recipe: str
) -> None:
    config = smoke(f"recipe={recipe}", *SMALL)
    job = build(config, ALONE)
    go(job.training, tmp_path)
    job.close()
    ours = our_step_after(config, job.training.schedule.total_steps)
    expected = job.training.task.state_dict()
    assert all(torch.equal(v, expected[name]) for name, v in ours.task.state_dict().items())


def our_step_after(config: RunConfig, steps: int) -> OurStep:
    """Take all updates of a run by the step that is timed."""
    splits = open_data(config)
    torch.manual_seed(derive_seed(config.seed, "init"))
    task = build_task(config, splits.num_classes)
    feed = OurFeed(config, splits, ALONE, task)
    ours = OurStep(config, task, ALONE, steps_per_epoch=feed.loader.steps_per_epoch)
    for _ in range(steps):
        ours(feed(ours.now))
    return ours
