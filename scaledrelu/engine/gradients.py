"""The gradient of a whole batch, group by group: accumulation, SAM's passes, autocast, ranks.

Ends with the (scaled) gradient of all groups of all ranks in the parameters. What becomes of it is
up to `engine/step.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scaledrelu.config.optimizer import SamConfig
from scaledrelu.engine.autocast import autocast_context
from scaledrelu.engine.statistics import RunningStatistics
from scaledrelu.optim.sam import SamPerturbation
from scaledrelu.randomness import derive_seed
from scaledrelu.tasks.base import Progress, Task, TaskOutput


@dataclass(frozen=True, slots=True)
class Passes:
    """Detached outputs of this rank's groups (one for all if joined); without SAM no ``second``."""

    first: list[TaskOutput]
    second: list[TaskOutput]


class BatchGradient:
    """Computes the gradient of one update's batch.

    BatchNorm sees one group at a time and its running statistics follow group 0 alone: ranks
    without it hold stale ones until `sync_buffers`. Everything random in a forward is keyed by
    (seed, step, group, pass).

    Args:
        task: the task, bare or wrapped in DDP with ``broadcast_buffers=False``.
        optimizer: the base optimizer; what it holds is what is trained, perturbed and clipped.
        autocast: none | fp16 | bf16.
        scaler: loss scaler, or None.
        sam: how SAM perturbs; None for one plain pass.
        seed: the run's seed.
        device: the task's device.
        groups_local: numbers of this process's groups, in the order of the batches.
        draw_joined: None for one pass per group. Otherwise there is one batch of all groups, and
            this draws what is random in the pass of one of them, given its place in the batch.
        compiled: whether the task's networks are compiled.

    Attributes:
        module: the task without DDP.
        params: what the optimizer holds, in its order.
        statistics: running statistics of the task's BatchNorm layers.
    """

    def __init__(
        self,
        task: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        autocast: str,
        scaler: torch.amp.GradScaler | None,
        sam: SamConfig | None,
        seed: int,
        device: torch.device,
        groups_local: Sequence[int],
        draw_joined: Callable[[int], None] | None,
        compiled: bool,
    ) -> None:
        self.draw_joined = draw_joined
        self.compiled = compiled
        self.task = task
        self.module: Task = task.module if isinstance(task, DistributedDataParallel) else task
        self.optimizer = optimizer
        self.params = [p for group in optimizer.param_groups for p in group["params"]]
        self.statistics = RunningStatistics(self.module)
        self.autocast = autocast
        self.scaler = scaler
        self.sam = sam
        self.seed = seed
        self.device = device
        self.groups_local = tuple(groups_local)
        self.perturbation = SamPerturbation(self.params, sam.rho) if sam else None

    def __call__(self, batches: Sequence[Any], t: Progress) -> Passes:
        """Fill ``.grad``; every pass sees the same batches.

        Args:
            batches: one per local group, on the device.
            t: where training stands; keys the randomness.
        """
        self._clear()
        if self.compiled:
            # CUDA graphs put their results, gradients too, where those of the last step were. By
            # itself torch begins a step at every call of a network, unless a backward pass is due.
            torch.compiler.cudagraph_mark_step_begin()
        if self.sam is None:
            return Passes(self._accumulate(batches, t, pass_index=0), [])
        return self._per_group(batches, t) if self.sam.per_group else self._together(batches, t)

    def _together(self, batches: Sequence[Any], t: Progress) -> Passes:
        """SAM on the whole batch: all ranks move by the synchronised gradient."""
        first = self._accumulate(batches, t, pass_index=0)
        with self.perturbation:
            self._clear()
            second = self._accumulate(batches, t, pass_index=1)
        make_gradient_infinite(self.params, ~self.perturbation.finite)
        return Passes(first, second)

    def _per_group(self, batches: Sequence[Any], t: Progress) -> Passes:
        """SAM per worker: each group moves by its own gradient; only second gradients meet."""
        passes = Passes([], [])
        total: dict[nn.Parameter, Tensor] = {}
        for group, batch in zip(self.groups_local, batches, strict=True):
            self._clear()
            with self._no_sync():  # around the forward, too: DDP decides there (recipes E.3)
                passes.first.append(self._backward(batch, group, t, pass_index=0))
                with self.perturbation:
                    self._clear()
                    passes.second.append(self._backward(batch, group, t, pass_index=1))
            # Before the sum, so that every rank sees it and skips alike.
            make_gradient_infinite(self.params, ~self.perturbation.finite)
            add_gradients(total, self.params)
        for p in self.params:
            p.grad = total.get(p)
        self._average_over_ranks()
        return passes

    def _accumulate(
        self, batches: Sequence[Any], t: Progress, *, pass_index: int
    ) -> list[TaskOutput]:
        """Sum the gradients of all local groups; the last backward synchronises the ranks."""
        if self.draw_joined is not None:
            return [self._backward_joined(batches, t, pass_index=pass_index)]
        outputs: list[TaskOutput] = []
        for group, batch in zip(self.groups_local, batches, strict=True):
            is_last = len(outputs) == len(self.groups_local) - 1
            with nullcontext() if is_last else self._no_sync():
                outputs.append(self._backward(batch, group, t, pass_index=pass_index))
        return outputs

    def _backward(self, batch: Any, group: int, t: Progress, *, pass_index: int) -> TaskOutput:
        """Forward and backward of one group's share of the loss; returns its detached output."""
        self._seed(group, t, pass_index)
        return self._pass(batch, group, t, pass_index=pass_index, parts=len(self.groups_local))

    def _backward_joined(
        self, batches: Sequence[Any], t: Progress, *, pass_index: int
    ) -> TaskOutput:
        """Forward and backward of all groups at once; returns the detached output."""
        (batch,) = batches
        for position, group in enumerate(self.groups_local):
            self._seed(group, t, pass_index)
            self.draw_joined(position)
        return self._pass(batch, self.groups_local[0], t, pass_index=pass_index, parts=1)

    def _seed(self, group: int, t: Progress, pass_index: int) -> None:
        replays = self.sam is not None and self.sam.same_masks
        draw = 0 if replays else pass_index
        seed_draws(derive_seed(self.seed, "forward", t.step, group, draw), self.device)

    def _pass(
        self, batch: Any, group: int, t: Progress, *, pass_index: int, parts: int
    ) -> TaskOutput:
        """Forward and backward of one of equal parts of the loss; statistics follow group 0."""
        follows = group == 0 and (pass_index == 0 or self.sam.stats_in_second_pass)
        with self.statistics.frozen(not follows), self._autocast():
            output = self.task(batch, t)
        loss = output.loss / parts
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        logs = {name: value.detach() for name, value in output.logs.items()}
        return TaskOutput(loss=output.loss.detach(), logs=logs)

    def _clear(self) -> None:
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def _average_over_ranks(self) -> None:
        """Average gradients that DDP has not seen, in one collective."""
        if not isinstance(self.task, DistributedDataParallel):
            return
        grads = [p.grad for p in self.params if p.grad is not None]
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        rows = flat.split([grad.numel() for grad in grads])
        pairs = [(grad, row.view_as(grad)) for grad, row in zip(grads, rows, strict=True)]
        # Two calls: one pair with different strides makes _foreach_copy_ fall back to single
        # copies.
        for alike in (True, False):
            some = [pair for pair in pairs if pair[0].is_contiguous() is alike]
            if some:
                torch._foreach_copy_(*zip(*some, strict=True))

    def _autocast(self) -> AbstractContextManager[Any]:
        # Entered for each forward: its cache of cast weights must not outlive SAM's move.
        return autocast_context(self.autocast, self.device)

    def _no_sync(self) -> AbstractContextManager[Any]:
        is_ddp = isinstance(self.task, DistributedDataParallel)
        return self.task.no_sync() if is_ddp else nullcontext()


def seed_draws(seed: int, device: torch.device) -> None:
    """Seed the generators that a forward pass draws from: the host's and its device's.

    The same numbers as after ``torch.manual_seed``, which seeds those of all back-ends and notes a
    stack trace for each that is not in use.

    Args:
        seed: whole number in [0, 2**63).
        device: where the forward pass runs.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)


@torch.no_grad()
def add_gradients(total: dict[nn.Parameter, Tensor], params: Sequence[nn.Parameter]) -> None:
    """Add the gradients that parameters hold to a sum, on a GPU in a few kernels for all.

    Args:
        total: the sum so far, changed in place; a first gradient becomes the sum itself.
        params: parameters; those without a gradient are skipped.
    """
    held = [p for p in params if p.grad is not None]
    known = [p for p in held if p in total]
    if known:
        torch._foreach_add_([total[p] for p in known], [p.grad for p in known])
    total.update({p: p.grad for p in held if p not in total})


@torch.no_grad()
def make_gradient_infinite(params: Sequence[nn.Parameter], flag: Tensor) -> None:
    """Make the gradient non-finite where the flag is set, without reading the flag.

    A loss scaler then skips the update, on every rank that holds or receives this gradient.

    Args:
        params: the first one with a gradient is changed.
        flag: bool scalar on the device.
    """
    for p in params:
        if p.grad is not None:
            p.grad.masked_fill_(flag, math.inf)
            return
