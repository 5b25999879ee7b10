"""What an optimizer takes over from a checkpoint, and what it keeps of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from scaledrelu.optim.state import MOMENTUM, load_state, start_momentum

LAYOUTS = [torch.contiguous_format, torch.channels_last]
Make = Callable[..., torch.optim.Optimizer]


def network(layout: torch.memory_format = torch.contiguous_format) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(8, 2))
    return net.double().to(memory_format=layout)


def adamw(net: nn.Module, **more: object) -> torch.optim.AdamW:
    return torch.optim.AdamW(net.parameters(), lr=0.1, **more)


def sgd(net: nn.Module, **more: object) -> torch.optim.SGD:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, **more)
    start_momentum(optimizer)
    return optimizer


def lion(net: nn.Module) -> torch.optim.Optimizer:
    from timm.optim import Lion

    return Lion(net.parameters(), lr=0.1)


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        images = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(step)).double()
        optimizer.zero_grad()
        net(images).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("layouts", [LAYOUTS, LAYOUTS[::-1]], ids=str)
@pytest.mark.parametrize(
    ("make", "more"),
    [(adamw, {"fused": True}), (adamw, {}), (sgd, {"fused": True}), (sgd, {}), (lion, {})],
    ids=lambda one: getattr(one, "__name__", str(one)),
)
def test_a_state_of_another_memory_layout_goes_on_as_its_own(
    make: Make, more: dict, layouts: list[torch.memory_format]
) -> None:
    first, second = (network(layout) for layout in layouts)
    before, after = make(first, **more), make(second, **more)
    train(first, before, range(2))
    second.load_state_dict(first.state_dict())
    load_state(after, copy.deepcopy(before.state_dict()))
    for p, state in after.state.items():
        same = [v for v in state.values() if isinstance(v, Tensor) and v.shape == p.shape]
        assert same
        assert all(value.stride() == p.stride() for value in same)
    for net, optimizer in ((first, before), (second, after)):
        train(net, optimizer, range(2, 4))
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fused", [(True, False), (False, True), (None, True), (True, None)])
def test_the_kernels_stay_those_that_the_optimizer_was_built_with(fused: tuple) -> None:
    there, here = fused
    first, second = network(), network()
    before, after = sgd(first, fused=there), sgd(second, fused=here)
    train(first, before, range(2))
    second.load_state_dict(first.state_dict())
    before.param_groups[0]["lr"] = 0.05
    load_state(after, copy.deepcopy(before.state_dict()))
    (group,) = after.param_groups
    assert (group["fused"], group["lr"]) == (here, 0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    scaler.scale(second(torch.ones(1, 3, 4, 4).double()).sum()).backward()
    scaler.step(after)  # it asks the optimizer, not its groups, whether it can mask itself


def test_momentum_that_a_checkpoint_does_not_have_starts_as_zeros() -> None:
    net = network()
    saved = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net[0].requires_grad_(False)  # a parameter without gradient gets no state
    train(net, saved, range(1))
    optimizer = sgd(network(), fused=True)
    load_state(optimizer, saved.state_dict())
    found = [optimizer.state[p][MOMENTUM] for p in optimizer.param_groups[0]["params"]]
    expected = [saved.state.get(p, {}).get(MOMENTUM) for p in net.parameters()]
    assert [value is None for value in expected] == [True] * 2 + [False] * 4
    for value, known in zip(found, expected, strict=True):
        assert torch.equal(value, torch.zeros_like(value) if known is None else known)


@pytest.mark.parametrize("make", [adamw, lion, sgd])
def test_only_a_fused_sgd_gets_a_state_before_its_first_step(make: Make) -> None:
    optimizer = make(network())
    start_momentum(optimizer)
    assert not optimizer.state


def test_another_number_of_groups_is_refused() -> None:
    net = network()
    two = torch.optim.SGD([{"params": net[0].parameters()}, {"params": net[3].parameters()}])
    with pytest.raises(ValueError, match="zip"):
        load_state(two, sgd(net).state_dict())
