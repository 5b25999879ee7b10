"""Supervised classification: soft cross entropy on the class logits (recipes A.3)."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import nn

from scaledrelu.tasks.base import Progress, Task, TaskOutput


class Classification(Task):
    """A backbone with a classifier, trained on (mixed, smoothed) targets.

    Args:
        backbone: (B, 3, H, W) -> (B, C) logits.
        num_classes: C; a uniform guess costs ln C whatever the targets.
    """

    joins = True

    def __init__(self, backbone: nn.Module, *, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.chance_loss = math.log(num_classes)

    def forward(self, batch: Any, t: Progress) -> TaskOutput:
        """Return the mean over images of -sum(target x log softmax(logits)), in float32.

        Args:
            batch: a ``Batch`` with soft targets B x C, on the device.
            t: where training stands; not used.
        """
        logits_BC = self.backbone(batch.images)
        return TaskOutput(F.cross_entropy(logits_BC.float(), batch.targets))
