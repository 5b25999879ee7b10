"""Exponential moving average of the weights: kept and saved, never evaluated (recipes A.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Average of a module's state, updated once per step.

    Args:
        module: what to average; its tensors are looked up once and must not be exchanged.
        decay: weight of the old average (DeiT: 0.99996).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        current = module.state_dict()
        self.state = {name: value.detach().clone() for name, value in current.items()}
        pairs = [(value, current[name]) for name, value in self.state.items()]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        others = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._floats, self._others = (list(zip(*some, strict=True)) for some in (floats, others))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the module's present state; whole numbers are copied."""
        torch._foreach_lerp_(*self._floats, 1 - self.decay)
        if self._others:
            torch._foreach_copy_(*self._others)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged state."""
        return self.state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved average."""
        for name, value in self.state.items():
            value.copy_(state[name])
