"""Which of the processes of a run this one is, known without torch.

Ranks come from torchrun's variables, then from a SLURM *step* with several tasks (the batch shell
already sets ``SLURM_PROCID``, so it alone proves nothing), else there is one process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from scaledrelu.errors import RunError


@dataclass(frozen=True, slots=True)
class Ranks:
    """Position among the processes of one run."""

    rank: int
    size: int
    local_rank: int


def find_ranks(environment: Mapping[str, str] = os.environ) -> Ranks | None:
    """Return the ranks that torchrun or a SLURM step gave this process, or None.

    Raises:
        RunError: if torchrun's variables are incomplete.
    """
    if "RANK" in environment or "WORLD_SIZE" in environment:
        try:
            return Ranks(*(int(environment[key]) for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
        except KeyError as error:
            raise RunError(
                f"{error.args[0]} is not set although RANK or WORLD_SIZE is; start the run with "
                "torchrun, srun or launch.nproc=N"
            ) from error
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        rank, size, local_rank = (
            int(environment[key])
            for key in ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
        )
        # With --gpus-per-task a task sees its own GPUs only, and the first of them is its device.
        return Ranks(rank, size, 0 if "SLURM_GPUS_PER_TASK" in environment else local_rank)
    return None
