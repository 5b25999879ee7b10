"""DINO: a student learns from crops to match its moving average on whole images (recipes C.1).

Shapes: B images, L local crops of each, V = 2 + L views, K prototypes, D features.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from timm.layers import DropPath
from torch import Tensor, nn

from scaledrelu.models.heads import DinoHead
from scaledrelu.tasks.base import Progress, Task, TaskOutput
from scaledrelu.tasks.dino_loss import collapse_signs, pair_loss, teacher_log_probs


@dataclass(frozen=True, slots=True)
class DinoSettings:
    """The numbers of DINO, as ``task`` of a configuration names them (recipes C.1).

    Attributes:
        out_dim: K.
        head_hidden: hidden features of the heads.
        bottleneck: features that the heads normalise.
        head_layers: linear layers of a head before that.
        head_init_std: standard deviation of the truncated normal that these start from.
        student_temp: divides the student's scores.
        teacher_temp: divides the teacher's centred scores.
        warmup_teacher_temp: the temperature in epoch 0; it changes linearly to ``teacher_temp``.
        warmup_teacher_temp_epochs: epochs of the run on that line, both ends included.
        centre_momentum: share of the old centre in the new one.
        teacher_momentum: share of the old teacher in the new one; goes to 1 by half a cosine.
        freeze_last_layer_epochs: epochs of the run in which the student's last layer is frozen.
        norm_last_layer: whether the magnitudes of the last layer stay at 1.
    """

    out_dim: int
    head_hidden: int
    bottleneck: int
    head_layers: int
    head_init_std: float
    student_temp: float
    teacher_temp: float
    warmup_teacher_temp: float
    warmup_teacher_temp_epochs: int
    centre_momentum: float
    teacher_momentum: float
    freeze_last_layer_epochs: int
    norm_last_layer: bool

    def make_head(self, width: int) -> DinoHead:
        """Return a head for features of a width."""
        return DinoHead(
            width,
            hidden=self.head_hidden,
            bottleneck=self.bottleneck,
            out_dim=self.out_dim,
            num_layers=self.head_layers,
            norm_last_layer=self.norm_last_layer,
            init_std=self.head_init_std,
        )


class Dino(Task):
    """Student and teacher with their heads, the centre and the hooks that move the last two.

    A batch brings ``images`` (2B x 3 x H x W: the first global crop of all images, then the
    second), ``local`` (LB x 3 x h x w, crop by crop, or None) and ``group``.

    The teacher starts as a copy of the student without drop path. Both normalise every resolution
    with its own batch statistics; the teacher has its own running statistics, from global crops
    only.

    Args:
        backbone: the student's; (B, 3, H, W) -> (B, D) for more than one resolution.
        settings: the numbers of DINO.

    Source: DINO main_dino.py; recipes C.1.
    """

    headless = True  # the backbone has no classifier

    Settings = DinoSettings

    def __init__(self, backbone: nn.Module, settings: DinoSettings) -> None:
        super().__init__()
        self.settings = settings
        self.chance_loss = math.log(settings.out_dim)
        self.student = backbone
        self.student_head = settings.make_head(backbone.num_features)
        self.teacher = without_drop_path(copy.deepcopy(backbone)).requires_grad_(False)
        self.teacher_head = copy.deepcopy(self.student_head).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(settings.out_dim))
        # Empty between updates, so no part of the state. Keyed by group: SAM's second pass, which
        # has the same teacher, writes the same values again.
        self._sums: dict[int, Tensor] = {}

    @property
    def backbone(self) -> nn.Module:
        """The teacher's backbone: it is the better one throughout training."""
        return self.teacher

    def networks(self) -> tuple[nn.Module, ...]:
        """Return student and teacher: both start from the weights of an earlier training."""
        return self.student, self.teacher

    def forward(self, batch: Any, t: Progress) -> TaskOutput:
        """Return the loss of one group; logs show whether the teacher collapses.

        Args:
            batch: ``images`` (2B x 3 x H x W), ``local`` (LB x 3 x h x w, or None) and ``group``.
            t: where training stands; gives the teacher's temperature.
        """
        with torch.no_grad():
            features_BD = self.teacher(batch.images)
            scores_MK = self.teacher_head(features_BD)
        self._sums[batch.group] = _sum_and_count(scores_MK)
        images = len(scores_MK) // 2
        scores_VBK = self._student_scores(batch).unflatten(0, (-1, images))
        with torch.autocast(scores_MK.device.type, enabled=False):
            log_probs_2BK = teacher_log_probs(
                scores_MK.unflatten(0, (2, images)), self.centre, temp=self.temperature(t.epoch)
            )
            probs_2BK = log_probs_2BK.exp()
            logs = collapse_signs(log_probs_2BK, probs_2BK, features_BD)
            return TaskOutput(pair_loss(scores_VBK, probs_2BK, self.settings.student_temp), logs)

    def after_backward(self, t: Progress) -> None:
        """Drop the gradient of the student's last layer while it is frozen."""
        if t.epoch < self.settings.freeze_last_layer_epochs:
            for parameter in self.student_head.last_layer.parameters():
                parameter.grad = None

    @torch.no_grad()
    def after_update(self, t: Progress) -> None:
        """Move the teacher towards the student and the centre towards this update's mean.

        As in the official code this also happens after a step that the loss scaler skipped.
        """
        torch._foreach_lerp_(*self._averaged, 1 - self.momentum(t))
        total = torch.stack(list(self._sums.values())).sum(0)
        self._sums.clear()
        if dist.is_initialized():
            dist.all_reduce(total)
        self.centre.lerp_(total[:-1] / total[-1], 1 - self.settings.centre_momentum)

    @cached_property
    def _averaged(self) -> tuple[list[Tensor], list[Tensor]]:
        """The teacher's parameters and the student's: to look them up takes as long as the move."""
        return (
            [*self.teacher.parameters(), *self.teacher_head.parameters()],
            [*self.student.parameters(), *self.student_head.parameters()],
        )

    def temperature(self, epoch: int) -> float:
        """Return the teacher's temperature in an epoch of the run."""
        first, last = self.settings.warmup_teacher_temp, self.settings.teacher_temp
        length = self.settings.warmup_teacher_temp_epochs
        if epoch >= length:
            return last
        return first + epoch / max(1, length - 1) * (last - first)

    def momentum(self, t: Progress) -> float:
        """Return the share of the old teacher after an update."""
        rise = 0.5 * (1 - math.cos(math.pi * t.step / t.total_steps))
        momentum = self.settings.teacher_momentum
        return momentum + rise * (1 - momentum)

    def _student_scores(self, batch: Any) -> Tensor:
        """Return the scores of all views, view by view; one backbone call per resolution."""
        crops = [batch.images] if batch.local is None else [batch.images, batch.local]
        return self.student_head(torch.cat([self.student(images) for images in crops]))


def without_drop_path(model: nn.Module) -> nn.Module:
    """Switch drop path off in a model, in place, and return it."""
    for module in model.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
    return model


def _sum_and_count(scores_MK: Tensor) -> Tensor:
    """Return the sum over rows, not in half precision, and at its end their number."""
    total_K = scores_MK.sum(0, dtype=torch.promote_types(scores_MK.dtype, torch.float32))
    return torch.cat((total_K, total_K.new_full((1,), len(scores_MK))))
