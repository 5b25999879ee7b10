"""The group ``optimizer``: the base optimizer and, for SAM, its perturbation (recipes A.3, E)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scaledrelu.config.fields import build, number, word
from scaledrelu.config.group import Group
from scaledrelu.config.ranges import NOT_NEGATIVE, POSITIVE, SHARE, Range


@dataclass(frozen=True, slots=True)
class SamConfig(Group):
    """Sharpness-aware minimisation (recipes E)."""

    KEY: ClassVar[str] = "optimizer.sam"

    rho: float = number(NOT_NEGATIVE)
    per_group: bool  # perturb with each group's own gradient (per worker)
    stats_in_second_pass: bool  # let pass two update BatchNorm running statistics
    same_masks: bool  # pass two repeats the drop-path masks of pass one


@dataclass(frozen=True, slots=True)
class OptimizerConfig(Group):
    """The base optimizer and what it is applied to."""

    KEY: ClassVar[str] = "optimizer"

    label: str  # what reports print
    build: dict[str, Any] = build(  # torch or timm optimizer without parameters and lr
        weight_decay=NOT_NEGATIVE,
        betas=Range("[0, 1)", least=2),
        eps=POSITIVE,
        momentum=Range("[0, 1)"),
        dampening=SHARE,
    )
    sam: SamConfig | None
    clip_grad: float | None = number(POSITIVE)  # largest L2 norm of the gradient
    clip: str = word("global", "per_tensor")  # what that norm is taken of
    decay_tokens: bool  # position embedding and class token decay too (DINO)
    decay_all: bool  # no exemptions at all (ReID)
    bias_lr_factor: float = number(POSITIVE)  # on the peak rate of biases (ReID)
