"""SAM as a move of the weights around the second gradient; the optimizer does not know of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType

import torch
from torch import Tensor, nn

_EPS = 1e-12  # added to the norm, as in the public PyTorch implementation (recipes E.1)


class SamPerturbation:
    """Inside ``with``, the weights stand at ``w + rho * g / |g|``; outside, at ``w``, bit for bit.

    ``g`` are the gradients that the parameters hold on entry and ``|g|`` their common L2 norm, so a
    loss scale cancels. The gradients are not changed; weights are also restored after an exception.
    A norm that is not finite moves nothing, decided on the device.

    Args:
        params: all parameters of the model; those without a gradient do not move.
        rho: radius of the move (recipes E.2); not adaptive.

    Attributes:
        finite: whether the norm of the last entry was finite; a bool scalar on the device.
    Source: recipes E.1.
    """

    def __init__(self, params: Iterable[nn.Parameter], rho: float) -> None:
        self.params = list(params)
        self.rho = rho
        self.finite: Tensor = torch.ones((), dtype=torch.bool)
        self._moved: list[nn.Parameter] = []
        self._spare: dict[nn.Parameter, Tensor] = {}  # their copies, in the same room every time

    @torch.no_grad()
    def __enter__(self) -> SamPerturbation:
        if self._moved:
            raise RuntimeError("The weights are already perturbed; leave the first block first.")
        moved = [p for p in self.params if p.grad is not None]
        if not moved:
            return self
        torch._foreach_copy_([self._room_for(p) for p in moved], moved)
        grads = [p.grad for p in moved]
        norm = torch.nn.utils.get_total_norm(grads)
        self.finite = torch.isfinite(norm)
        self._moved = moved
        if self.finite.device.type != "cpu":
            climb_unread(moved, grads, self.rho / (norm + _EPS), self.finite)
        elif self.finite:  # reading the flag costs nothing here
            torch._foreach_add_(moved, torch._foreach_mul(grads, self.rho / (norm + _EPS)))
        return self

    def _room_for(self, parameter: nn.Parameter) -> Tensor:
        if parameter not in self._spare:
            self._spare[parameter] = torch.empty_like(parameter)
        return self._spare[parameter]

    @torch.no_grad()
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._moved:
            torch._foreach_copy_(self._moved, [self._spare[p] for p in self._moved])
        self._moved = []


def climb_unread(
    params: Sequence[Tensor], grads: Sequence[Tensor], factor: Tensor, flag: Tensor
) -> None:
    """Add ``factor`` times the gradients where the flag is set, without reading it; one kernel.

    It is the step of a fused SGD, whose mask leaves weights alone; to multiply by zero would not
    do, 0 * inf is NaN.

    Args:
        params: float32 weights, changed in place.
        grads: their gradients.
        factor: float32 scalar on their device.
        flag: bool scalar on their device.
    """
    plain = {"weight_decay": 0.0, "momentum": 0.0, "dampening": 0.0, "nesterov": False}
    torch._fused_sgd_(
        params, grads, [], **plain, lr=-factor, maximize=False, is_first_step=False,
        grad_scale=None, found_inf=(~flag).float(),
    )  # fmt: skip
