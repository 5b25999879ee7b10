"""One update of a run at mini, on noise, as the loop takes it: on a real or a pretended GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scaledrelu.bench.ours import OurStep, noise_batches
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.distributed import World
from scaledrelu.tasks.base import Task
from tests.helpers.configs import composed

CLASSES = 10
SCALED = ("precision=fp16_2021", "launch.fp16_on_cpu=true")
SGD_ROWS = [  # what the paper trains with SGD: with a loss scaler, with a flag alone, joined
    ("recipe=reid", *SCALED),
    ("recipe=reid", "precision=bf16"),
    ("recipe=linear_probe",),
    ("recipe=linear_probe", "batch.group=32", "launch.groups_at_once=true"),
]


def config_of(row: tuple[str, ...]) -> RunConfig:
    """Return the configuration of a row, with a shallow network."""
    return composed(
        "profile=mini", "launch=local", "stem=conv", "model.depth=4", "warmup=none", *row
    )


def update_of(
    config: RunConfig, task: Task, device: torch.device
) -> tuple[OurStep, Callable[[], Tensor]]:
    """Return the parts of an update and one update as a call.

    Args:
        config: the run's configuration.
        task: on the device.
        device: where it lies.
    """
    world = World(0, 1, device)
    parts = OurStep(config, task, world)
    groups = noise_batches(config, CLASSES, world, task, parts.now)
    return parts, lambda: parts(groups)
