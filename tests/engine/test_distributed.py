"""A process takes the device that is asked for, or says in one line that it is not there."""

from __future__ import annotations

import warnings

import pytest
import torch

from scaledrelu.engine.distributed import pick_device, take_device
from scaledrelu.errors import RunError


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
