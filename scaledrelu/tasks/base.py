"""What the engine trains: modules plus a loss behind one forward. The loop does not know which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands; counted in global updates, the same on every rank."""

    step: int
    total_steps: int
    epoch: int
    steps_per_epoch: int


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """Loss of one group of images, and detached scalars worth logging."""

    loss: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)


class Task(nn.Module):
    """A method: ``forward`` gives the loss of one group; two hooks surround the update.

    Attributes:
        backbone: the model that evaluators use and later runs load.
        chance_loss: loss of a model that knows nothing; the divergence judge compares with it.
        judged: name in ``logs`` of the part of the loss that is compared; None = the whole loss.
        headless: whether the task wants its backbone without a classifier.
        joins: whether the loss of several groups in one batch is the mean of their losses.
    """

    headless: bool = False
    joins: bool = False
    judged: str | None = None

    backbone: nn.Module
    chance_loss: float

    def networks(self) -> tuple[nn.Module, ...]:
        """Return the bare backbones that the weights of an earlier training go into."""
        return (self.backbone,)

    def forward(self, batch: Any, t: Progress) -> TaskOutput:
        """Return the loss of one group of images (mean over its images).

        Args:
            batch: a ``Batch`` of the kind the task trains on, on the device.
            t: where training stands; keys the randomness.
        """
        raise NotImplementedError

    def after_backward(self, t: Progress) -> None:
        """Change gradients before the update; default: nothing."""

    def after_update(self, t: Progress) -> None:
        """Change state after the update; default: nothing."""


def at_least_float32(values: Tensor) -> Tensor:
    """Return values in float32, or unchanged if they are more precise, for losses."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
