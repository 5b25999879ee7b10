"""The groups ``launch``, ``wandb`` and ``paths``: where and how a run happens, never what it is."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from scaledrelu.config.fields import number, word
from scaledrelu.config.group import Group
from scaledrelu.config.ranges import COUNT, FEW, WORKERS, Range

MOST_WORKERS = 16
# Methods that are not compiled unless asked: on an H200 a compiled VOLO had other gradients than
# one that is not (docs/gpu.md).
UNPROVEN = ("volo",)


@dataclass(frozen=True, slots=True)
class LaunchConfig(Group):
    """Processes, devices and files."""

    KEY: ClassVar[str] = "launch"

    nproc: int = number(FEW)
    device: str = word("auto", "cpu", "cuda")
    threads: int = number(Range("[0, 1024]", whole=True))  # per process; 0 = leave torch's choice
    workers: int | None = number(WORKERS)  # loader processes per device; None: one for each core
    cache_val: bool  # keep the crops of validation images where memory allows it
    compile: bool | None  # None: on a GPU, unless UNPROVEN; where it fails the run goes on
    # of torch.compile; reduce-overhead and max-autotune record CUDA graphs and replay them
    compile_mode: str = word(
        "default", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune"
    )
    channels_last: bool
    groups_at_once: bool  # one forward pass for all groups of a device, each normalised by itself
    timeout_s: int = number(Range("[1, 604800]", whole=True))  # collectives: ends a dead rank's run
    checkpoint_every_steps: int = number(COUNT)
    log_every_steps: int = number(COUNT)
    progress: bool
    fp16_on_cpu: bool  # let fp16 train on a CPU, which only emulates it
    requeue: bool  # a SLURM job that saved before its time limit queues itself again

    @property
    def loader_processes(self) -> int:
        """How many loader processes feed a device: those asked for, or one for each of its cores.

        The processes of this machine share its cores; more than 16 were not measured.
        """
        if self.workers is not None:
            return self.workers
        beside = int(os.environ.get("LOCAL_WORLD_SIZE", self.nproc))  # set by torchrun
        cores = visible_cores() // beside
        if beside == 1:  # a task of a SLURM step may see the cores of the others
            cores = int(os.environ.get("SLURM_CPUS_PER_TASK", cores))
        return min(MOST_WORKERS, max(1, cores))

    def compiles(self, device: str, method: str) -> bool:
        """Whether networks are compiled.

        Args:
            device: kind of device, cpu or cuda.
            method: how the run trains, such as volo.
        """
        if self.compile is not None:
            return self.compile
        return device == "cuda" and method not in UNPROVEN

    @property
    def takes_gpu(self) -> bool:
        """Whether a run on this machine would take a GPU."""
        return self.device == "cuda" or (self.device == "auto" and bool(visible_gpus()))


@dataclass(frozen=True, slots=True)
class WandbConfig(Group):
    """The W&B mirror: never read by tables."""

    KEY: ClassVar[str] = "wandb"

    mode: str = word("disabled", "offline", "online")
    project: str | None  # None: WANDB_PROJECT, else scaledrelu
    entity: str | None  # None: WANDB_ENTITY, else that of the key
    tags: tuple[str, ...]
    paper: tuple[str, ...]  # what tables print for the run, table/column=value: for its summary


@dataclass(frozen=True, slots=True)
class PathsConfig(Group):
    """Where this checkout writes."""

    KEY: ClassVar[str] = "paths"

    results: str


def visible_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Return the NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

    Asks the files of the driver: torch need not be loaded for it.
    """
    present = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    if not present and not Path("/dev/dxg").exists():  # dxg: Windows' subsystem for Linux
        return []
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return [str(number) for number in range(max(1, len(present)))]
    chosen = [name.strip() for name in asked.split(",")]
    return list(itertools.takewhile(lambda name: name not in ("", "-1"), chosen))  # as CUDA does
