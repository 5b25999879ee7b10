"""The only judge of divergence: sees reduced losses, returns a verdict, never raises.

A sticky flag on the device goes up at the first non-finite loss, or gradient that no loss scaler
skips, and masks every later update; the mean losses of windows are taken on the device, too. The
host reads both at fixed steps, so that no step of a GPU waits for it. When a finite run is dead is
decided in ``engine/windows.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from scaledrelu.engine.windows import Finding, Rule, judge_windows
from scaledrelu.errors import CheckpointError

HISTORY = 20  # observations kept for the report of a crash
OBSERVED = ("step", "loss", "grad_norm", "lr")  # what each of them holds
NAN = float("nan")
STATE = {  # name in a checkpoint -> attribute
    "flag": "flag",
    "first": "_first",
    "recent": "_recent",
    "means": "_means",
    "history": "_history",
}


class Kind(StrEnum):
    """Why a run counts as crashed."""

    NON_FINITE = "non_finite"  # the rule of the official DeiT and DINO code (recipes section 2)
    COLLAPSED = "collapsed"  # finite but dead: the training loss lies at chance


@dataclass(frozen=True, slots=True)
class Verdict:
    """A crash: its kind, the true step (0-based) at which it showed, and a sentence.

    A collapse shows at the last step of the window that decides it.
    """

    kind: Kind
    step: int
    reason: str


def not_finite_reason(observed: Mapping[str, Any]) -> str:
    """Say in one sentence what was not finite in the step at which a run crashed.

    Args:
        observed: what was recorded of that step, by the names of ``OBSERVED``.
    """
    step, loss, norm = (float(observed[name]) for name in OBSERVED[:3])
    if not math.isfinite(loss):
        return f"the loss was not finite at step {step:.0f}"
    if not math.isfinite(norm):
        return f"the gradient norm was {norm} at step {step:.0f}, the judged loss {loss:.4g}"
    return f"a loss or gradient was not finite at step {step:.0f}"  # not the part that is judged


class Judge:
    """Collects losses on the device and gives a verdict when asked.

    Args:
        rule: when a finite run is dead.
        device: the losses' device; on the CPU reading is free and happens at every step.
        read_every: steps between two reads on a GPU.
    """

    def __init__(self, rule: Rule, *, device: torch.device, read_every: int) -> None:
        self.rule = rule
        self.read_every = 1 if device.type == "cpu" else read_every
        self.flag = torch.zeros((), dtype=torch.bool, device=device)
        self._first = torch.full((), -1, dtype=torch.int64, device=device)
        self._recent = torch.zeros(rule.window_steps, dtype=torch.float64, device=device)
        self._means = torch.full((rule.num_windows,), NAN, dtype=torch.float64, device=device)
        self._history = torch.full((HISTORY, 4), NAN, dtype=torch.float64, device=device)
        # The row of the first bad step, which later ones overwrite before a GPU is read. It is no
        # part of the state: what follows such a step is not saved.
        self._bad_row = torch.full_like(self._history[0], NAN)
        self._known: list[float] = []  # what the host has read of the means
        self.verdict: Verdict | None = None

    @property
    def means(self) -> tuple[float, ...]:
        """Mean loss of every window that had ended at the last reading."""
        return tuple(self._known)

    @property
    def finding(self) -> Finding:
        """What these windows say."""
        return judge_windows(self._known, self.rule)

    def see_losses(self, step: int, loss: Tensor, finite: Tensor) -> None:
        """Take in one step's reduced loss and whether every rank found it finite.

        Args:
            step: 0-based.
            loss: the judged loss, mean over all ranks; a scalar on the device.
            finite: bool scalar on the device; see ``StepReport``.
        """
        bad = ~finite
        self._first = self._first.masked_fill((self._first < 0) & bad, step)
        self.flag |= bad
        self._recent[step % self.rule.window_steps] = loss.double()
        if self.rule.ends_window(step + 1):
            window = self.rule.windows_until(step + 1) - 1
            self._means[window] = self._recent[: step + 1].mean()
        row = self._history[step % HISTORY]
        row[0].fill_(step)  # on a GPU, row[0] = step would copy from the host and wait
        row[1] = loss.double()

    def see_update(self, step: int, grad_norm: Tensor, lr: float) -> None:
        """Take in the gradient norm and rate of the same step, for the report of a crash.

        Args:
            step: the same as for :meth:`see_losses`.
            grad_norm: L2 norm before clipping; a scalar on the device.
            lr: rate of the parameter groups without factors.
        """
        row = self._history[step % HISTORY]
        row[2] = grad_norm.double()
        row[3].fill_(lr)
        self._bad_row = torch.where(self._first == step, row, self._bad_row)

    def due(self, step: int) -> bool:
        """Whether the host should read the device after this many finished steps."""
        return step % self.read_every == 0 or self.rule.ends_window(step)

    def read(self, step: int) -> Verdict | None:
        """Look at the device and return the verdict, once there is one.

        Args:
            step: number of finished steps.
        """
        if self.verdict is None and bool(self.flag):
            first, observed = int(self._first), _observation(self._bad_row.tolist())
            self.verdict = Verdict(Kind.NON_FINITE, first, not_finite_reason(observed))
        ended = self.rule.windows_until(step)
        if ended > len(self._known):
            self._known += self._means[len(self._known) : ended].tolist()
            if self.verdict is None and self._known[-1] > self.rule.limit:
                self.verdict = self._collapse()
        return self.verdict

    def must_stop(self) -> bool:
        """Whether the verdict ends the run early: non-finite always, collapsed by rule.

        A run that is found dead at its last step has nothing left to stop: it is evaluated.
        """
        if self.verdict is None:
            return False
        early = self.verdict.step + 1 < self.rule.total_steps
        return self.verdict.kind == Kind.NON_FINITE or (self.rule.stop and early)

    def last_observations(self) -> list[dict[str, float]]:
        """Return the last steps seen: step, loss, grad_norm, lr; oldest first."""
        rows = [row for row in self._history.tolist() if row[0] == row[0]]
        return [_observation(row) for row in sorted(rows)]

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to judge alike."""
        return {name: getattr(self, attribute) for name, attribute in STATE.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over :meth:`state_dict` of the interrupted run.

        Raises:
            CheckpointError: if it is the state of a judge with another rule.
        """
        for name, attribute in STATE.items():
            own, found = getattr(self, attribute), state.get(name)
            if not isinstance(found, Tensor) or found.shape != own.shape:
                raise CheckpointError(
                    f"the checkpoint was written under another crash rule (judge.{name} is missing "
                    "or has another size); delete last.pt and previous.pt to train this run from "
                    "the start"
                )
            setattr(self, attribute, found.to(own))

    def _collapse(self) -> Verdict | None:
        rule, finding = self.rule, self.finding
        window = finding.collapsed
        if window is None:
            return None
        end, steps = rule.end_of(window), rule.end_of(window) - rule.start_of(window)
        where = f"the last {steps} steps" if end == rule.total_steps else f"{steps} steps"
        row = f", the last of {finding.in_a_row} such windows in a row" if rule.stop else ""
        reason = (
            f"mean training loss {self._known[window]:.3f} over {where} above {rule.limit:.3f} = "
            f"{rule.ratio:g} x {rule.chance_loss:.3f} (a uniform guess){row}"
        )
        return Verdict(Kind.COLLAPSED, end - 1, reason)


def _observation(row: Sequence[float]) -> dict[str, float]:
    return dict(zip(OBSERVED, row, strict=True))
