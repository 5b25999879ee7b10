"""Ranks come from torchrun, then from a SLURM step with several tasks, and from nothing else."""

from __future__ import annotations

import pytest

from scaledrelu.engine.ranks import Ranks, find_ranks
from scaledrelu.errors import RunError


def test_torchrun_comes_first() -> None:
    variables = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "SLURM_STEP_NUM_TASKS": "2"}
    assert find_ranks(variables) == Ranks(3, 8, 1)


def test_a_slurm_step_with_several_tasks_gives_ranks() -> None:
    variables = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}
    assert find_ranks(variables) == Ranks(5, 8, 1)


def test_a_task_that_sees_only_its_own_gpus_takes_the_first() -> None:
    variables = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}
    assert find_ranks({**variables, "SLURM_GPUS_PER_TASK": "1"}) == Ranks(5, 8, 0)


def test_the_batch_shell_of_slurm_is_one_process() -> None:
    assert find_ranks({"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}) is None


def test_nothing_set_is_one_process() -> None:
    assert find_ranks({}) is None


def test_half_of_torchruns_variables_is_an_error() -> None:
    with pytest.raises(RunError, match="WORLD_SIZE is not set"):
        find_ranks({"RANK": "0"})
