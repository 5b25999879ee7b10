"""The groups ``launch``, ``wandb`` and ``paths``: where and how a run happens, never what it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from scaledrelu.config.fields import number, word
from scaledrelu.config.group import Group
from scaledrelu.config.ranges import COUNT, FEW, WORKERS, Range


@dataclass(frozen=True, slots=True)
class LaunchConfig(Group):
    """Processes, devices and files."""

    KEY: ClassVar[str] = "launch"

    nproc: int = number(FEW)
    device: str = word("auto", "cpu", "cuda")
    threads: int = number(Range("[0, 1024]", whole=True))  # per process; 0 = leave torch's choice
    workers: int = number(WORKERS)  # loader processes per device
    compile: bool
    channels_last: bool
    timeout_s: int = number(Range("[1, 604800]", whole=True))  # collectives: ends a dead rank's run
    checkpoint_every_steps: int = number(COUNT)
    log_every_steps: int = number(COUNT)
    progress: bool
    fp16_on_cpu: bool  # let fp16 train on a CPU, which only emulates it
    requeue: bool  # a SLURM job that saved before its time limit queues itself again

    @property
    def takes_gpu(self) -> bool:
        """Whether a run on this machine would take a GPU."""
        return self.device == "cuda" or (self.device == "auto" and gpu_visible())


@dataclass(frozen=True, slots=True)
class WandbConfig(Group):
    """The W&B mirror: never read by tables."""

    KEY: ClassVar[str] = "wandb"

    mode: str = word("disabled", "offline", "online")
    project: str
    entity: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PathsConfig(Group):
    """Where this checkout writes."""

    KEY: ClassVar[str] = "paths"

    results: str


def gpu_visible() -> bool:
    """Say whether this process may use an NVIDIA GPU, without loading torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
