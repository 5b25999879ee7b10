"""SAM as a move of the weights around the second gradient; the optimizer does not know of it."""

from __future__ import annotations

from collections.abc import Iterable
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
        self._saved: list[Tensor] = []

    @torch.no_grad()
    def __enter__(self) -> SamPerturbation:
        if self._moved:
            raise RuntimeError("The weights are already perturbed; leave the first block first.")
        moved = [p for p in self.params if p.grad is not None]
        if not moved:
            return self
        saved = [p.detach().clone() for p in moved]
        grads = [p.grad for p in moved]
        norm = torch.nn.utils.get_total_norm(grads)
        self.finite = torch.isfinite(norm)
        self._moved, self._saved = moved, saved
        moves = torch._foreach_mul(grads, self.rho / (norm + _EPS))
        torch._foreach_add_(moved, _zero_unless(self.finite, moves))
        return self

    @torch.no_grad()
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._moved:
            torch._foreach_copy_(self._moved, self._saved)
        self._moved, self._saved = [], []


def _zero_unless(finite: Tensor, moves: list[Tensor]) -> list[Tensor]:
    """Return the moves, or zeros; multiplying by zero would not do, 0 * inf is NaN."""
    if finite.device.type == "cpu" and finite:  # reading the flag costs nothing here
        return moves
    # Not torch.where: it would copy a Python scalar to the device, and wait for that.
    return [move.masked_fill_(~finite, 0.0) for move in moves]
