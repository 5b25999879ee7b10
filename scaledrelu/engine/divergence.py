"""The only judge of divergence: sees reduced losses, returns a verdict, never raises.

A sticky flag on the device goes up at the first non-finite loss and masks every later update; the
host reads it at fixed steps, so that no step of a GPU waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

HISTORY = 20  # observations kept for the report of a crash


class Kind(StrEnum):
    """Why a run counts as crashed."""

    NON_FINITE = "non_finite"  # the rule of the official DeiT and DINO code (recipes section 2)
    COLLAPSED = "collapsed"  # finite but dead: the training loss stays at chance


@dataclass(frozen=True, slots=True)
class Verdict:
    """A crash: its kind, the true step (0-based) at which it showed, and a sentence."""

    kind: Kind
    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A finite run is dead if its mean loss over the window before judge_step is near chance."""

    chance_loss: float
    ratio: float
    judge_step: int
    window_steps: int
    stop: bool


class Judge:
    """Collects losses on the device and gives a verdict when asked.

    Args:
        rule: when a finite run is dead.
        device: where losses live; on the CPU reading is free and happens at every step.
        read_every: steps between two reads on a GPU.
    """

    def __init__(self, rule: Rule, *, device: torch.device, read_every: int) -> None:
        self.rule = rule
        self.read_every = 1 if device.type == "cpu" else read_every
        self.flag = torch.zeros((), dtype=torch.bool, device=device)
        self._first = torch.full((), -1, dtype=torch.int64, device=device)
        self._window = torch.zeros((), dtype=torch.float64, device=device)
        self._history = torch.full((HISTORY, 4), float("nan"), dtype=torch.float64, device=device)
        self.verdict: Verdict | None = None

    def see_losses(self, step: int, loss: Tensor, finite: Tensor) -> None:
        """Take in one step's reduced loss and whether every rank's losses were finite."""
        bad = ~finite
        self._first = self._first.masked_fill((self._first < 0) & bad, step)
        self.flag |= bad
        start = self.rule.judge_step - self.rule.window_steps
        if start <= step < self.rule.judge_step:
            self._window += loss.double() / self.rule.window_steps
        self._history[step % HISTORY, 0] = step
        self._history[step % HISTORY, 1] = loss.double()

    def see_update(self, step: int, grad_norm: Tensor, lr: float) -> None:
        """Take in the gradient norm and rate of the same step, for the report of a crash."""
        self._history[step % HISTORY, 2] = grad_norm.double()
        self._history[step % HISTORY, 3] = lr

    def due(self, step: int) -> bool:
        """Whether the host should read the flag after this many finished steps."""
        return step % self.read_every == 0 or step == self.rule.judge_step

    def read(self, step: int) -> Verdict | None:
        """Look at the device and return the verdict, once there is one.

        Args:
            step: number of finished steps.
        """
        if self.verdict is None and bool(self.flag):
            first = int(self._first)
            self.verdict = Verdict(
                Kind.NON_FINITE, first, f"the loss was not finite at step {first}"
            )
        if self.verdict is None and step >= self.rule.judge_step > 0:
            mean, limit = float(self._window), self.rule.ratio * self.rule.chance_loss
            if mean > limit:
                reason = (
                    f"mean training loss {mean:.3f} over {self.rule.window_steps} steps stayed "
                    f"above {self.rule.ratio:g} x {self.rule.chance_loss:.3f} (a uniform guess)"
                )
                self.verdict = Verdict(Kind.COLLAPSED, self.rule.judge_step, reason)
        return self.verdict

    def must_stop(self) -> bool:
        """Whether the verdict ends the run: always for non-finite, by rule for collapsed."""
        return self.verdict is not None and (self.verdict.kind == Kind.NON_FINITE or self.rule.stop)

    def last_observations(self) -> list[dict[str, float]]:
        """Return the last steps seen: step, loss, grad_norm, lr; oldest first."""
        rows = [row for row in self._history.tolist() if row[0] == row[0]]
        names = ("step", "loss", "grad_norm", "lr")
        return [dict(zip(names, row, strict=True)) for row in sorted(rows)]

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to judge alike."""
        return {
            "flag": self.flag,
            "first": self._first,
            "window": self._window,
            "history": self._history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over :meth:`state_dict` of the interrupted run."""
        device = self.flag.device
        self.flag, self._first = state["flag"].to(device), state["first"].to(device)
        self._window, self._history = state["window"].to(device), state["history"].to(device)
