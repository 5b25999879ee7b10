"""The peers of VOLO and DINO: their losses and loops, written out.

Shapes: B images, N tokens, C classes, V views, K prototypes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import timm
import torch
from timm.loss import SoftTargetCrossEntropy
from timm.models.volo import VOLO
from torch import Tensor, nn
from torch.nn import functional as F

from scaledrelu.bench.plain import PlainStep, soft_target_loss
from scaledrelu.config.run import RunConfig
from scaledrelu.data.batch import Batch
from scaledrelu.engine.autocast import DTYPES
from scaledrelu.models.attention import ScoresThenScale
from scaledrelu.models.stem import Projection
from scaledrelu.models.volo import to_timm
from scaledrelu.tasks.base import Task
from scaledrelu.tasks.dino import Dino
from scaledrelu.tasks.volo import Volo

CLIP_EPS = 1e-6


def build_plain(config: RunConfig, task: Task, *, lr: float, defaults: bool) -> PlainStep:
    """Build the peer with the numbers of a run's configuration and the networks of a task.

    Args:
        config: the run's configuration.
        task: its networks are used.
        lr: learning rate.
        defaults: run as timm's training script does by default.
    """
    optimizer, sam = config.optimizer.build, config.optimizer.sam
    precision = config.precision
    common = {
        "optimizer": {
            "lr": lr,
            "betas": tuple(optimizer["betas"]),
            "eps": optimizer["eps"],
            "weight_decay": optimizer["weight_decay"],
            "fused": None if defaults else optimizer["fused"],
        },
        "dtype": None if precision.autocast == "none" else DTYPES[precision.autocast],
        "scaled": precision.loss_scaling,
        "rho": sam.rho if sam else None,
        "ema_decay": config.ema.decay if config.ema else None,
        "reads_loss": defaults,
    }
    task.train()
    if isinstance(task, Dino):
        return PlainDino(task, clip=config.optimizer.clip_grad, **common)
    if isinstance(task, Volo):
        own = _timms_own(task.backbone, config.model.drop_path) if defaults else task.backbone
        return PlainVolo(own.train(), token_weight=task.token_weight, **common)
    return PlainStep(task.backbone, loss=soft_target_loss, **common)


def write_plainly(model: nn.Module) -> None:
    """Take from our layers, in place, what makes them faster on a GPU than the scripts' own."""
    for layer in model.modules():
        if isinstance(layer, Projection):
            layer.__class__ = nn.Conv2d
        elif isinstance(layer, ScoresThenScale):
            layer.aligns = False


class PlainVolo(PlainStep):
    """timm's training pass of a VOLO, which mixes tokens, and the token-labelling loss.

    Args:
        model: timm's VOLO, or ours, which inherits that pass.
        token_weight: factor on the tokens' loss.
        common: arguments of ``PlainStep``.
    """

    def __init__(self, model: VOLO, *, token_weight: float, **common: Any) -> None:
        model.mix_token, model.beta = True, 1.0
        super().__init__(model, loss=partial(_volo_loss, token_weight=token_weight), **common)

    def _compile_networks(self, mode: str) -> None:
        self.model.forward_train = torch.compile(self.model.forward_train, mode=mode)


def _volo_loss(model: VOLO, batch: Batch, *, token_weight: float) -> Tensor:
    """Return the soft cross entropy of classes, mixed like the images, and of tokens."""
    first_BD, tokens_BNC, (top, left, bottom, right) = model.forward_train(batch.images)
    classes_BC = model.head(first_BD)  # which timm's pass leaves to its caller
    share = 1.0 - (bottom - top) * (right - left) / tokens_BNC.shape[1]
    mixed_BC = share * batch.targets + (1 - share) * batch.targets.flip(0)
    token_targets = batch.token_targets
    if token_targets is None:
        token_targets = batch.targets[:, None]
    soft = SoftTargetCrossEntropy()
    return soft(classes_BC, mixed_BC) + token_weight * soft(tokens_BNC, token_targets)


def _timms_own(model: nn.Module, drop_path: float) -> VOLO:
    """Return timm's VOLO-D1 with the weights of ours behind the full convolutional stem."""
    own = timm.create_model("volo_d1_224", drop_path_rate=drop_path)
    own.load_state_dict(to_timm(model.state_dict()))
    return own.to(next(model.parameters()).device)


class PlainDino(PlainStep):
    """DINO as its training script does it; it reads from the device only with ``reads_loss``.

    The loss goes pair by pair, clipping and moving average tensor by tensor.

    Args:
        task: its networks and numbers are used; it is trained.
        clip: largest norm of one tensor's gradient.
        common: arguments of ``PlainStep``.
    """

    def __init__(self, task: Dino, *, clip: float, **common: Any) -> None:
        trained = nn.ModuleDict({"body": task.student, "head": task.student_head})
        super().__init__(trained, loss=self._pairs, **common)
        self.task, self.clip, self.seen = task, clip, task.centre.clone()

    def _compile_networks(self, mode: str) -> None:
        self.task.student.compile(mode=mode)
        self.task.teacher.compile(mode=mode)

    def _pairs(self, model: nn.ModuleDict, batch: Batch) -> Tensor:
        task = self.task
        with torch.no_grad():
            scores_MK = task.teacher_head(task.teacher(batch.images))
            self.seen = scores_MK.mean(0, dtype=torch.float32)
            teacher = F.softmax((scores_MK - task.centre) / task.temperature(0), dim=-1).chunk(2)
        crops = [batch.images] if batch.local is None else [batch.images, batch.local]
        scores = model["head"](torch.cat([model["body"](images) for images in crops]))
        student = (scores / task.settings.student_temp).chunk(len(scores) // len(teacher[0]))
        losses = [
            -(teacher_BK * F.log_softmax(student_BK, dim=-1)).sum(-1).mean()
            for i, teacher_BK in enumerate(teacher)
            for j, student_BK in enumerate(student)
            if i != j
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def after_backward(self) -> None:
        """Clip every tensor by itself; the last layer is frozen, as in the first epoch."""
        self.scaler.unscale_(self.optimizer)
        for parameter in self.params:
            limit = self.clip / (parameter.grad.norm() + CLIP_EPS)
            if not self.reads_loss:
                parameter.grad.mul_(limit.clamp(max=1.0))
            elif limit < 1:  # which the script reads from the device
                parameter.grad.mul_(limit)
        for parameter in self.task.student_head.last_layer.parameters():
            parameter.grad = None

    @torch.no_grad()
    def after_update(self) -> None:
        """Move the teacher and the centre."""
        task, keep = self.task, self.task.settings.teacher_momentum
        pairs = ((task.student, task.teacher), (task.student_head, task.teacher_head))
        for student, teacher in pairs:
            for new, old in zip(student.parameters(), teacher.parameters(), strict=True):
                old.mul_(keep).add_((1 - keep) * new)
        momentum = task.settings.centre_momentum
        task.centre.mul_(momentum).add_((1 - momentum) * self.seen)
