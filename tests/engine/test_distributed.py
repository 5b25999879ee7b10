"""Ranks come from torchrun, then from a SLURM step with several tasks, and from nothing else."""

from __future__ import annotations

import warnings

import pytest
import torch

from scaledrelu.engine.distributed import Ranks, find_ranks, pick_device, take_device
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_asking_for_a_gpu_that_is_not_there_is_one_line() -> None:
    with pytest.raises(RunError, match=r"only 0 are visible; set launch\.device=cpu"):
        pick_device("cuda", 0)
    assert pick_device("auto", 0) == torch.device("cpu")


def test_convolutions_on_a_gpu_keep_all_bits_of_fp32(monkeypatch) -> None:
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for flag, before in (("allow_tf32", True), ("benchmark", False)):
        monkeypatch.setattr(torch.backends.cudnn, flag, before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        take_device(torch.device("cpu"))
        assert torch.backends.cudnn.allow_tf32
        assert not torch.backends.cudnn.benchmark
        take_device(torch.device("cuda", 3))
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.benchmark
    assert taken == [torch.device("cuda", 3)]
