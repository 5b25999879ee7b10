"""One update of the weights, in two halves; between them the judge of divergence may skip it.

    report = update.gradients(batches, t)
    update.apply(skip, t)  # skip: a device flag that all ranks share

Decides what is unscaled, clipped, applied or masked, and when. Leaves the gradient to
`engine/gradients.py`, the rate to the schedule, the verdict to the judge. Neither half waits for
the device, except `apply` of an optimizer that is not fused: there the host reads the flag, or the
loss scaler whether the gradient overflowed. AdamW is fused by its option, torch's SGD on a GPU by
`runs/optimisation.py`; Lion, which is timm's, has no fused kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from scaledrelu.engine.gradients import BatchGradient, Passes, make_gradient_infinite
from scaledrelu.tasks.base import Progress

_EPS = 1e-6  # added to every norm, as in DINO and in torch's own clipping


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one update showed: scalars on the device.

    Attributes:
        loss: mean over this rank's groups, first pass.
        judged: what the judge compares with chance: the loss, or the part of it the task names.
        finite: this rank's losses of all passes are finite and, where no scaler would skip the
            update, so is the gradient: applying it would make the next loss non-finite.
        grad_norm: L2 norm of the final gradient of all ranks, unscaled, before clipping.
        logs: the task's scalars, mean over this rank's groups, first pass.
    """

    loss: Tensor
    judged: Tensor
    finite: Tensor
    grad_norm: Tensor
    logs: dict[str, Tensor]


class Update:
    """One optimizer update over the groups that this process holds.

    Args:
        gradient: computes the gradient of the batch; names the optimizer and the loss scaler.
        clip_grad: largest L2 norm of the gradient that is applied, or None.
        clip: what the limit applies to: ``global``, all gradients together, or ``per_tensor``.
    """

    def __init__(self, gradient: BatchGradient, *, clip_grad: float | None, clip: str) -> None:
        self._gradient = gradient
        self.module = gradient.module
        self.optimizer, self.params = gradient.optimizer, gradient.params
        self.scaler = gradient.scaler
        self.statistics = gradient.statistics
        self.device = gradient.device
        self.clip_grad = clip_grad
        self._clip = CLIPS[clip]
        self._one = torch.ones((), device=self.device)
        self._has_gradient = False

    def gradients(self, batches: Sequence[Any], t: Progress) -> StepReport:
        """Leave the (scaled) gradient of the whole batch in the parameters; weights do not change.

        Args:
            batches: one per local group, on the device.
            t: where training stands; keys the randomness.
        """
        self.statistics.remember()
        report = self._report(self._gradient(batches, t))
        self._has_gradient = True
        return report

    def apply(self, skip: Tensor, t: Progress) -> None:
        """Let the optimizer use the gradient, unless ``skip`` is set.

        A skipped update leaves weights and optimizer state as they are and undoes what its forward
        passes did to running statistics. A scaler takes it for an overflow and lowers its scale.
        The task's hooks run in any case.

        Args:
            skip: bool scalar on the device, equal on all ranks.
            t: the same as for `gradients`.

        Raises:
            RuntimeError: without a call of `gradients` since the last one.
        """
        if not self._has_gradient:
            raise RuntimeError("apply() without gradients(): there is nothing to apply.")
        self._has_gradient = False
        self.statistics.restore_where(skip)
        if self.scaler is not None:
            make_gradient_infinite(self.params, skip)
            self.scaler.unscale_(self.optimizer)
        self.module.after_backward(t)
        if self.clip_grad is not None:
            self._clip(self.params, self.clip_grad)
        self._step(skip)
        self.module.after_update(t)

    def _report(self, passes: Passes) -> StepReport:
        scale = self._one if self.scaler is None else self.scaler.scale(self._one)
        norm = get_total_norm([p.grad for p in self.params if p.grad is not None]) / scale
        seen = [output.loss for output in passes.first + passes.second]
        if self.scaler is None:
            seen.append(norm)
        finite = torch.isfinite(torch.stack(seen)).all()
        logs = {
            name: _mean([output.logs[name] for output in passes.first])
            for name in passes.first[0].logs
        }
        loss, name = _mean([output.loss for output in passes.first]), self.module.judged
        return StepReport(
            loss=loss,
            judged=loss if name is None else logs[name],
            finite=finite,
            grad_norm=norm,
            logs=logs,
        )

    def _step(self, skip: Tensor) -> None:
        if self.scaler is not None:
            self.scaler.step(self.optimizer)  # it skips the update where the gradient is infinite
            self.scaler.update()
        elif self.device.type != "cpu" and _takes_found_inf(self.optimizer):
            with _found_inf(self.optimizer, skip):
                self.optimizer.step()
        elif not skip:
            self.optimizer.step()


def _mean(values: Sequence[Tensor]) -> Tensor:
    """Return the mean of scalars; of one it is that one, without a kernel."""
    return values[0] if len(values) == 1 else torch.stack(values).mean()


@torch.no_grad()
def clip_each(params: Sequence[nn.Parameter], limit: float) -> None:
    """Scale down every gradient whose own L2 norm exceeds the limit; the others do not change.

    A gradient that is not finite becomes NaN or stays non-finite.

    Args:
        params: parameters; those without a gradient are skipped.
        limit: largest norm of each gradient.

    Source: DINO utils.py ``clip_gradients``; recipes C.1.
    """
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return
    factors = torch._foreach_norm(grads)
    torch._foreach_add_(factors, _EPS)
    torch._foreach_reciprocal_(factors)
    torch._foreach_mul_(factors, limit)
    torch._foreach_clamp_max_(factors, 1.0)
    # One kernel for each gradient: torch joins them only where both lists have the same shapes, or
    # where the factors are numbers, which the host would have to wait for.
    torch._foreach_mul_(grads, factors)


CLIPS: dict[str, Callable[[Sequence[nn.Parameter], float], object]] = {
    "global": clip_grad_norm_,
    "per_tensor": clip_each,
}


def _takes_found_inf(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer masks its step by a ``found_inf`` tensor; torch's fused ones do."""
    return getattr(optimizer, "_step_supports_amp_scaling", False)


@contextmanager
def _found_inf(optimizer: torch.optim.Optimizer, skip: Tensor) -> Iterator[None]:
    """Mask one step of a fused optimizer, through the attributes that GradScaler uses for it."""
    optimizer.grad_scale, optimizer.found_inf = None, skip.float()
    try:
        yield
    finally:
        del optimizer.grad_scale, optimizer.found_inf
