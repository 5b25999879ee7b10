"""Exponential moving average of the weights: kept and saved, never evaluated (recipes A.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Average of a module's state, updated once per step.

    Args:
        module: what to average.
        decay: weight of the old average (DeiT: 0.99996).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present state; whole numbers are copied."""
        current = module.state_dict()
        floats = [name for name, value in self.state.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self.state[name] for name in floats],
            [current[name] for name in floats],
            1 - self.decay,
        )
        for name, value in self.state.items():
            if not value.is_floating_point():
                value.copy_(current[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged state."""
        return self.state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved average."""
        for name, value in self.state.items():
            value.copy_(state[name])
