"""Between two readings no update of the loop asks a GPU for a value, here one that is not there.

Fake tensors have shapes and devices, but no values: what asks for one raises. Their backward pass
cannot run, so every trained parameter gets a gradient without it. ``test_on_gpu.py`` has the same
updates on a real GPU, where waiting for a copy is seen as well.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scaledrelu.bench import ours
from scaledrelu.bench.ours import OurStep
from scaledrelu.engine import gradients
from scaledrelu.runs.build import build_task
from tests.helpers.pretended_gpu import pretended_gpu
from tests.helpers.updates import CLASSES, SCALED, SGD_ROWS, config_of, update_of

GPU = torch.device("cuda", 0)
ROWS = [
    *SGD_ROWS,
    ("recipe=deit", "optimizer=sgd", "+optimizer.build.nesterov=true", *SCALED),
    ("recipe=deit", "optimizer=sgd", "optimizer.build.momentum=0.0"),
    ("recipe=deit", "optimizer=adamw", *SCALED),
    ("recipe=deit", "optimizer=sam"),
]
UNFUSED = [
    ("recipe=reid", "+optimizer.build.fused=false", *SCALED),
    ("recipe=linear_probe", "+optimizer.build.fused=false"),
    ("recipe=deit", "optimizer=lion"),
]
pytestmark = pytest.mark.filterwarnings("ignore:CUDA is not available")


def fused_sgd(
    params: list[Tensor], grads: list[Tensor], momenta: list[Tensor], **more: Any
) -> None:
    """Stand in for the kernel, which torch 2.15 cannot pretend: check what it is given."""
    tensors = [*params, *grads, *momenta, more["found_inf"]]
    assert {tensor.device for tensor in tensors} == {GPU}
    assert not (momenta and more["is_first_step"]), "its buffers would be no numbers"


@pytest.fixture
def without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Replace what torch cannot pretend; the modules in the list get their gradients."""
    trained: list[nn.Module] = []

    def backward(loss: Tensor) -> None:
        assert loss.requires_grad
        for p in trained[0].parameters():
            if p.requires_grad:
                p.grad = torch.ones_like(p)

    def scaler(precision: Any, device: torch.device) -> torch.amp.GradScaler | None:
        return torch.amp.GradScaler("cpu") if precision.loss_scaling else None

    monkeypatch.setattr(Tensor, "backward", backward)
    monkeypatch.setattr(torch, "_fused_sgd_", fused_sgd)
    monkeypatch.setattr(ours, "build_scaler", scaler)  # torch switches a GPU's off where none is
    monkeypatch.setattr(gradients, "seed_draws", lambda seed, device: None)
    return trained


def take_steps(row: tuple[str, ...], trained: list[nn.Module]) -> OurStep:
    """Take the first updates of a run on a GPU that is not there; return their parts."""
    config = config_of(row)
    task = build_task(config, CLASSES)
    with pretended_gpu():
        trained.append(task.to(GPU))
        parts, step = update_of(config, task, GPU)
        for _ in range(3):
            assert step().device == GPU
    return parts


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_an_update_asks_for_no_value(row: tuple[str, ...], without_a_gpu: list[nn.Module]) -> None:
    parts = take_steps(row, without_a_gpu)
    assert (parts.update.scaler is not None) == (SCALED[0] in row)
    for p in parts.update.params:
        state = parts.optimizer.state[p]
        assert all(v.device == GPU for v in state.values() if isinstance(v, Tensor))


@pytest.mark.parametrize("row", UNFUSED, ids=" ".join)
def test_an_optimizer_that_is_not_fused_does_ask(
    row: tuple[str, ...], without_a_gpu: list[nn.Module]
) -> None:
    with pytest.raises(Exception, match="_local_scalar_dense"):
        take_steps(row, without_a_gpu)
