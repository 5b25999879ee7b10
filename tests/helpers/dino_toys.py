"""A small DINO, its batches and its update, shared by the tests of the task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from scaledrelu.config.optimizer import SamConfig
from scaledrelu.models.build import StemViT, build_vit
from scaledrelu.models.ffn import Mlp
from scaledrelu.models.parts import Parts
from scaledrelu.models.stem import Stem
from scaledrelu.optim.params import parameter_groups
from scaledrelu.tasks.base import Progress
from scaledrelu.tasks.dino import Dino
from tests.helpers import step_toys
from tests.helpers.configs import composed, group_with
from tests.helpers.recipes import task_of

OFFICIAL = task_of("dino")
HEAD = {"out_dim": 24, "head_hidden": 12, "bottleneck": 6}
PER_EPOCH, TOTAL = 4, 40
SAM = SamConfig(rho=0.3, per_group=False, stats_in_second_pass=False, same_masks=False)


@dataclass(frozen=True)
class Crops:
    images: Tensor
    local: Tensor | None
    group: int


def make_vit(*, strides=(2, 1, 1), drop_path=0.0, width=8, depth=2) -> StemViT:
    small = composed("recipe=dino", "profile=mini")
    stem = group_with(
        small.stem,
        strides=list(strides),
        kernels=[3, 3, 3],
        hidden=4,
        norm="batch",
        act="relu",
        shrink=True,
    )
    model = group_with(
        small.model, width=width, depth=depth, heads=2, mlp_ratio=2.0, drop_path=drop_path
    )
    parts = Parts(partial(Stem, stem), partial(Mlp, act="gelu"), ffn_norm=True, attention="fused")
    return build_vit(model, parts, image_size=16, num_classes=0)


def make_dino(*, seed=0, dtype=torch.float64, drop_path=0.0, strides=(2, 1, 1), **changes) -> Dino:
    torch.manual_seed(seed)
    backbone = make_vit(drop_path=drop_path, strides=strides)
    return Dino(backbone, Dino.Settings(**(OFFICIAL | HEAD | changes))).to(dtype)


def crops(step, group, *, images=4, local=3, dtype=torch.float64) -> Crops:
    """Random crops of ``images`` images; ``local`` small ones of each."""
    generator = torch.Generator().manual_seed(1000 * step + group)
    draw = partial(torch.randn, generator=generator, dtype=dtype)
    small = draw(local * images, 3, 8, 8) if local else None
    return Crops(draw(2 * images, 3, 16, 16) * (1 + group), small, group)


def join(first: Crops, second: Crops) -> Crops:
    """One group that holds the images of two: view by view, first's images before second's."""

    def views(a: Tensor, b: Tensor, count: int) -> Tensor:
        pairs = zip(a.chunk(count), b.chunk(count), strict=True)
        return torch.cat([view for pair in pairs for view in pair])

    images = len(first.images) // 2
    local = views(first.local, second.local, len(first.local) // images)
    return Crops(views(first.images, second.images, 2), local, first.group)


def at(step: int) -> Progress:
    return Progress(step, TOTAL, step // PER_EPOCH, PER_EPOCH)


def make_update(
    task: nn.Module, optimizer: torch.optim.Optimizer, **changes
) -> step_toys.WholeUpdate:
    return step_toys.make_update(
        task, optimizer, **({"clip_grad": 3.0, "clip": "per_tensor"} | changes)
    )


def adamw(task: nn.Module, **changes) -> torch.optim.AdamW:
    groups = parameter_groups(task, 0.04, decay_tokens=True)
    return torch.optim.AdamW(groups, **({"lr": 0.01} | changes))
