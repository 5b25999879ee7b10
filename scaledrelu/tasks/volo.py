"""VOLO training: MixToken, soft labels for the image and for every token (recipes B.2, B.4).

Shapes: B images, N tokens, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from scaledrelu.models.mix_token import Box, mix_box
from scaledrelu.models.volo import DenseLogits
from scaledrelu.randomness import derive_seed
from scaledrelu.tasks.base import Progress, Task, TaskOutput, at_least_float32


@dataclass(frozen=True, slots=True)
class TokenLabelLoss:
    """The two parts, unweighted, and their weighted sum."""

    total: Tensor
    classes: Tensor
    tokens: Tensor


class Volo(Task):
    """A VOLO trained with MixToken on class targets and token targets.

    A batch brings ``targets`` (B x C, soft) and ``token_targets`` (B x N x C, soft), or None: then
    every token is trained on its image's class target.

    Args:
        backbone: a network with ``forward_dense(images, box)`` and ``token_grid``.
        num_classes: C; a uniform guess costs ln C in either part whatever the targets.
        seed: the run's seed; with step and group it decides the box, in every pass on any device.
        mix_token: parameter of MixToken's Beta(m, m); 0 = off.
        class_weight: factor on the class token's loss.
        token_weight: factor on the tokens' loss.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_classes: int,
        seed: int,
        mix_token: float,
        class_weight: float,
        token_weight: float,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.chance_loss = (class_weight + token_weight) * math.log(num_classes)
        self.seed = seed
        self.mix_token = mix_token
        self.class_weight = class_weight
        self.token_weight = token_weight

    def forward(self, batch: Any, t: Progress) -> TaskOutput:
        """Return the loss of one group, in float32 or better; logs hold its two parts.

        Args:
            batch: a ``Batch`` with ``targets`` (B x C) and ``token_targets`` (B x N x C, or None).
            t: where training stands; its step decides the box.
        """
        box = self.draw_box(t.step, batch.group)
        loss = token_label_loss(
            self.backbone.forward_dense(batch.images, box),
            batch.targets,
            batch.token_targets,
            own_share=self._own_share(box),
            class_weight=self.class_weight,
            token_weight=self.token_weight,
        )
        return TaskOutput(loss.total, {"loss/class": loss.classes, "loss/tokens": loss.tokens})

    def draw_box(self, step: int, group: int) -> Box | None:
        """Return the group's box at a step, the same on every call; None with MixToken off.

        Args:
            step: update of the run, 0-based.
            group: global number of the group.
        """
        if self.mix_token == 0:
            return None
        generator = np.random.default_rng(derive_seed(self.seed, "mix_token", step, group))
        lam = float(generator.beta(self.mix_token, self.mix_token))
        return mix_box(self.backbone.token_grid, lam=lam, generator=generator)

    def _own_share(self, box: Box | None) -> float:
        # Of the cells really swapped: rounding and clipping make the box smaller than 1 - lambda.
        return 1.0 if box is None else 1.0 - box.area / math.prod(self.backbone.token_grid)


def token_label_loss(
    logits: DenseLogits,
    targets_BC: Tensor,
    token_targets_BNC: Tensor | None,
    *,
    own_share: float,
    class_weight: float,
    token_weight: float,
) -> TokenLabelLoss:
    """Soft cross entropy of the class token and of all tokens, weighted and added.

    Args:
        logits: logits of a pass whose token logits are swapped back: token targets are never mixed.
        targets_BC: class targets, before mixing with those of the reversed batch.
        token_targets_BNC: token targets; None repeats the class target for every token.
        own_share: share of each image in its mixture, in [0, 1].
        class_weight: factor on the class part.
        token_weight: factor on the token part.

    Source: VOLO loss/cross_entropy.py ``TokenLabelCrossEntropy``; recipes B.4.
    """
    mixed_BC = own_share * targets_BC + (1 - own_share) * targets_BC.flip(0)
    if token_targets_BNC is None:
        token_targets_BNC = targets_BC[:, None]
    classes = _soft_cross_entropy(logits.class_BC, mixed_BC)
    tokens = _soft_cross_entropy(logits.tokens_BNC, token_targets_BNC)
    return TokenLabelLoss(class_weight * classes + token_weight * tokens, classes, tokens)


def _soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over all leading dimensions, in float32 or better; targets broadcast over tokens."""
    wide = at_least_float32(logits)
    return -(targets * F.log_softmax(wide, dim=-1)).sum(-1).mean()
