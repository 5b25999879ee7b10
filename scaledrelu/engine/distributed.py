"""Device and collectives of one process among those of a run; ``ranks.py`` says which it is."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from scaledrelu.engine.ranks import Ranks, find_ranks
from scaledrelu.errors import RunError


@dataclass(frozen=True, slots=True)
class World:
    """A process's place, its device and its collectives; one process needs none."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes shared files."""
        return self.rank == 0

    def reduce_mean(self, values: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes."""
        return self.reduce_sum(values) / self.size

    def reduce_sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; of one process, the tensor itself."""
        if self.size == 1:
            return values
        values = values.clone()
        dist.all_reduce(values)
        return values

    def gather(self, value: object) -> list[object]:
        """Return every process's picklable value, in rank order."""
        if self.size == 1:
            return [value]
        values: list[object] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_world(*, device: str, timeout_s: int) -> Iterator[World]:
    """Join the process group of this run, if it has one, and leave it at the end.

    Args:
        device: auto, cpu or cuda.
        timeout_s: seconds after which a waiting collective ends the process with an error, so that
            a dead rank cannot leave the others waiting.
    """
    ranks = find_ranks() or Ranks(0, 1, 0)
    place = pick_device(device, ranks.local_rank)
    take_device(place)
    if ranks.size == 1:
        yield World(0, 1, place)
        return
    _slurm_rendezvous()
    dist.init_process_group(
        "nccl" if place.type == "cuda" else "gloo",
        rank=ranks.rank,
        world_size=ranks.size,
        timeout=timedelta(seconds=timeout_s),
        device_id=place if place.type == "cuda" else None,
    )
    try:
        yield World(ranks.rank, ranks.size, place)
    finally:
        dist.destroy_process_group()


def pick_device(device: str, local_rank: int) -> torch.device:
    """Return the device of one process.

    Args:
        device: auto | cpu | cuda.
        local_rank: number of this process on its host.

    Raises:
        RunError: if a GPU is asked for and there is none for this process.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not available):
        return torch.device("cpu")
    if local_rank >= available:
        raise RunError(
            f"process {local_rank} of this host needs a GPU of its own, but only {available} are "
            "visible; set launch.device=cpu or lower launch.nproc"
        )
    return torch.device("cuda", local_rank)


def take_device(device: torch.device) -> None:
    """Make a GPU the one of this process, and say how cuDNN computes convolutions on it.

    cuDNN times its algorithms: images keep their size over a run. The official DeiT, DINO,
    TransReID and timm scripts set this as well; two runs on a GPU may differ in the last bits for
    it. In fp32 it keeps all bits of its operands.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
        # By default torch rounds operands of convolutions to 10 bits (TF32) from Ampere on, while
        # linear layers keep 23. Under autocast convolutions are in half precision anyway. Not
        # cudnn.conv.fp32_precision: after it cudnn.flags() raises (torch 2.11 to 2.15).
        torch.backends.cudnn.allow_tf32 = False


def _slurm_rendezvous() -> None:
    """Set MASTER_ADDR and MASTER_PORT from SLURM where torchrun did not."""
    if "MASTER_ADDR" in os.environ or "SLURM_STEP_NODELIST" not in os.environ:
        return
    nodes = os.environ["SLURM_STEP_NODELIST"]
    names = subprocess.run(
        ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True
    )
    os.environ["MASTER_ADDR"] = names.stdout.split()[0]
    job = int(os.environ["SLURM_JOB_ID"]) * 64 + int(os.environ.get("SLURM_STEP_ID", "0"))
    os.environ["MASTER_PORT"] = str(20000 + job % 20000)


def free_port() -> int:
    """Return a TCP port that is free on this host now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
