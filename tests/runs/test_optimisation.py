"""What is built from an optimizer's configuration: how it computes, and what it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scaledrelu.errors import ConfigError
from scaledrelu.runs.optimisation import build_optimizer
from tests.helpers.configs import composed
from tests.helpers.pretended_gpu import pretended_gpu
from tests.helpers.step_toys import Toy, at, conv_net, make_update, pictures

FUSED, UNFUSED = "+optimizer.build.fused=true", "+optimizer.build.fused=false"
LR = 0.01


def build(task: nn.Module, *overrides: str) -> torch.optim.Optimizer:
    config = composed("recipe=deit", "optimizer=sgd", *overrides)
    return build_optimizer(config.optimizer, task, lr=LR)


def toy() -> Toy:
    return Toy(conv_net(dtype=torch.float32))


def on_gpu() -> Toy:
    """Return a small task on a GPU that is not there; call in fake mode."""
    with torch.device("cuda"):
        return Toy(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)))


def updated(task: Toy, optimizer: torch.optim.Optimizer, steps: Sequence[int]) -> dict[str, Tensor]:
    """Weights, statistics and momentum after some unmasked updates without a loss scaler."""
    update = make_update(task, optimizer)
    for step in steps:
        update([pictures(step, 0, torch.float32)], at(step))
    named = task.named_parameters()
    momentum = {f"{name} momentum": optimizer.state[p]["momentum_buffer"] for name, p in named}
    return {**task.state_dict(), **momentum}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_fused_sgd_that_starts_from_zeros_trains_as_torchs_own_to_the_bit(nesterov) -> None:
    more = [f"+optimizer.build.nesterov={nesterov}"]
    first, second = toy(), toy()
    own = build(second, FUSED, *more)
    own.state.clear()  # torch then makes the buffers in its first step
    found = updated(first, build(first, FUSED, *more), range(3))
    assert_equal(found, updated(second, own, range(3)))


def test_a_sgd_that_is_not_fused_trains_alike_from_zeros_and_from_nothing() -> None:
    first, second = toy(), toy()
    zeros = build(second, UNFUSED)
    for p in second.parameters():
        zeros.state[p]["momentum_buffer"] = torch.zeros_like(p)
    assert_equal(updated(first, build(first, UNFUSED), range(3)), updated(second, zeros, range(3)))


def test_fused_and_not_fused_differ_by_rounding() -> None:
    first, second = toy(), toy()
    found = updated(first, build(first, FUSED), range(3))
    expected = updated(second, build(second, UNFUSED), range(3))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7)


def poison_fresh_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``torch.empty_like`` return what fresh memory may hold."""
    real = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: real(*a, **k).fill_(float("nan")))


@pytest.mark.parametrize("by", ["flag", "scaler"])
def test_a_masked_first_update_changes_nothing_and_the_second_is_the_right_first(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_fresh_memory(monkeypatch)
    task = toy()
    optimizer = build(task, FUSED)
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    if by == "scaler":
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        task.trap = {(0, 0)}
        make_update(task, optimizer, scaler=scaler)([pictures(0, 0, torch.float32)], at(0))
        assert scaler.get_scale() == 512.0
    else:
        masked_by_a_flag(task, optimizer)
    assert_equal(dict(task.named_parameters()), before)
    task.backbone[1].reset_running_stats()
    other = toy()
    assert_equal(updated(task, optimizer, [1]), updated(other, build(other, FUSED), [1]))
    assert all(p.isfinite().all() for p in task.parameters())


def masked_by_a_flag(task: Toy, optimizer: torch.optim.Optimizer) -> None:
    """Take a step that is masked on the device, as on a GPU without a loss scaler."""
    from scaledrelu.engine.step import _found_inf

    for p in task.parameters():
        p.grad = torch.ones_like(p)
    with _found_inf(optimizer, torch.tensor(True)):
        optimizer.step()


@pytest.mark.gpu
@pytest.mark.parametrize("scaled", [False, True])
def test_on_a_gpu_too_a_masked_first_update_changes_nothing(
    scaled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    poison_fresh_memory(monkeypatch)
    device = torch.device("cuda", 0)
    task = toy().to(device)
    optimizer = build(task)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0) if scaled else None
    update = make_update(task, optimizer, scaler=scaler, device=device)
    batch = pictures(0, 0, torch.float32)
    batch = replace(batch, images=batch.images.to(device), targets=batch.targets.to(device))
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    for step, masked in enumerate((True, False)):
        update.gradients([batch], at(step))
        update.apply(torch.tensor(masked, device=device), at(step))
        same = [torch.equal(p, before[name]) for name, p in task.named_parameters()]
        assert all(same) is masked
    assert all(p.isfinite().all() for p in task.parameters())


def test_a_fused_sgd_with_dampening_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"dampening=0\.5.*fused=false") as caught:
        build(toy(), FUSED, "+optimizer.build.dampening=0.5")
    assert "\n" not in str(caught.value)
    assert build(toy(), FUSED, "+optimizer.build.dampening=0.5", "optimizer.build.momentum=0.0")


def is_fused(optimizer: torch.optim.Optimizer) -> list[Any]:
    return [group.get("fused") for group in optimizer.param_groups]


@pytest.mark.parametrize(
    ("overrides", "fused"),
    [
        ([], True),
        (["optimizer.build.momentum=0.0"], True),
        ([UNFUSED], False),
        (["+optimizer.build.fused=null"], None),
        (["+optimizer.build.foreach=true"], None),
        (["+optimizer.build.dampening=0.5"], None),
    ],
    ids=str,
)
def test_on_a_gpu_sgd_is_fused_unless_someone_chose_or_it_cannot_be(overrides, fused) -> None:
    with pretended_gpu():
        optimizer = build(on_gpu(), *overrides)
    assert is_fused(optimizer) == [fused] * 2


def test_on_a_cpu_sgd_is_what_torch_makes_of_it() -> None:
    optimizer = build(toy())
    assert is_fused(optimizer) == [None] * 2
    assert not optimizer.state
    assert not hasattr(optimizer, "_step_supports_amp_scaling")


def test_what_torch_has_no_fused_kernel_for_is_left_alone_on_a_gpu() -> None:
    with pretended_gpu():
        config = composed("recipe=deit", "optimizer=lion")
        optimizer = build_optimizer(config.optimizer, on_gpu(), lr=LR)
    assert is_fused(optimizer) == [None] * 2
