"""The state of an optimizer: what it starts from, and how it takes over a checkpoint's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scaledrelu.errors import ConfigError

MOMENTUM = "momentum_buffer"  # torch's name of it in the state of SGD
KERNELS = ("fused", "foreach")  # of a parameter group: how it is computed, not what


def start_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give every parameter of a fused SGD with momentum a buffer of zeros, if it has none.

    torch's first fused step makes the buffers of memory that nobody has written, and relies on
    writing them at once (torch 2.15). A step that is masked does not, and the next one reads them.
    From zeros the first update is torch's own: momentum times zero, plus the gradient.

    Args:
        optimizer: any; only a fused SGD is changed.

    Raises:
        ConfigError: with dampening, which torch leaves out of the first update alone.
    """
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        if not (group["fused"] and group["momentum"]):
            continue
        if group["dampening"]:
            raise ConfigError(
                f"optimizer.build.dampening={group['dampening']:g}: with momentum, torch's fused "
                "SGD does not survive a first update that is skipped; set "
                "optimizer.build.fused=false"
            )
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if state.get(MOMENTUM) is None:
                state[MOMENTUM] = torch.zeros_like(parameter)


@torch.no_grad()
def load_state(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Load the state of an optimizer that computed in another way, or on another device.

    Its kernels stay those it was built with. A state of the shape of its parameter gets that one's
    memory layout: torch keeps the saved strides, fused kernels pair numbers by their place in
    memory, and on a CPU they do not look whether the strides agree (torch 2.15).

    Args:
        optimizer: built for this run; its state is replaced.
        saved: ``state_dict`` of an optimizer over the same parameters.

    Raises:
        ValueError: if it has other parameter groups.
    """
    groups = [
        {**theirs, **{name: own[name] for name in KERNELS if name in own}}
        for theirs, own in zip(saved["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**saved, "param_groups": groups})
    for parameter, state in optimizer.state.items():
        moved = {
            name: torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            for name, value in state.items()
            if _has_other_layout(value, parameter)
        }
        state.update(moved)
    start_momentum(optimizer)


def _has_other_layout(value: Any, parameter: Tensor) -> bool:
    """Whether it is a tensor of this shape whose numbers lie in another order."""
    is_alike = isinstance(value, Tensor) and value.shape == parameter.shape
    return is_alike and value.stride() != parameter.stride()
