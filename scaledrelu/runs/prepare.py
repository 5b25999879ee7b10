"""What happens to groups on the device, between their loader and the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.batch import Batch, RawBatch, join_batches
from scaledrelu.data.mixup import mix_group
from scaledrelu.errors import ConfigError
from scaledrelu.labels.dense_targets import dense_targets
from scaledrelu.randomness import derive_seed
from scaledrelu.runs.feed import COLOUR, has_labels, layout
from scaledrelu.tasks.base import Progress, Task

MIX = ("mixup", "cutmix", "mix_prob", "switch_prob", "smoothing")  # fields of ``augment``


def batch_groups(config: dict[str, Any], groups: Sequence[int]) -> Sequence[int]:
    """Return the numbers of the batches that ``Prepare`` makes of a process's groups."""
    return groups[:1] if config.batch.sync_bn else groups


def prepare_for(
    config: dict[str, Any], task: Task, num_classes: int, device: torch.device
) -> Prepare:
    """Return what a task's groups go through; it knows the tokens of a backbone that has logits."""
    grid = getattr(task.backbone, "token_grid", None)
    return Prepare(config, num_classes, device, grid)


class Prepare:
    """Moves groups to the device, augments and mixes them there, or makes their dense targets.

    With ``batch.sync_bn`` it ends with one batch of all groups, so that BatchNorm sees them
    together; what is drawn at random is still drawn image by image and group by group.

    Args:
        config: resolved and checked.
        num_classes: C.
        device: of the model.
        token_grid: rows and columns of the model's tokens; needed with label maps only.

    Raises:
        ConfigError: for label maps without a token grid.
    """

    def __init__(
        self,
        config: dict[str, Any],
        num_classes: int,
        device: torch.device,
        token_grid: tuple[int, int] | None = None,
    ) -> None:
        data, augment = config.data, config.augment
        self.seed, self.device, self.num_classes = config.seed, device, num_classes
        self.augment = DeviceAugment(
            mean=data.mean,
            std=data.std,
            seed=self.seed,
            augment=data.augment,
            crop=augment.crop,
            **{name: augment[name] for name in COLOUR},
        )
        self.mix = {name: augment[name] for name in MIX}
        self.layout, self.joins = layout(config), config.batch.sync_bn
        self.multi_crop = augment.multi_crop is not None
        self.token_grid, self.label_axes = token_grid, augment.label_axes
        if has_labels(config) and token_grid is None:
            raise ConfigError(
                f"data.token_labels={data.token_labels} needs a model that predicts a class for "
                f"every token (VOLO), found {config.model.label}: set data.token_labels=none"
            )

    def __call__(self, groups: Sequence[RawBatch], t: Progress) -> list[Batch]:
        """Return the groups as the task sees them."""
        batches = [self._one(raw.to(self.device), t) for raw in groups]
        if self.joins:
            batches = [join_batches(batches)]
        return [self._lay_out(batch) for batch in batches]

    def _one(self, raw: RawBatch, t: Progress) -> Batch:
        if self.multi_crop:
            return self._crops(raw)
        images = self.augment(raw, epoch=t.epoch, step=t.step)
        if raw.maps is not None:
            return self._dense(raw, images)
        mixed = mix_group(
            images,
            raw.targets,
            num_classes=self.num_classes,
            **self.mix,
            seed=derive_seed(self.seed, "mixup", t.step, raw.group),
        )
        return Batch(mixed.images, mixed.targets, raw.group)

    def _crops(self, raw: RawBatch) -> Batch:
        local = None if raw.local is None else self.augment.normalise(raw.local)
        images = self.augment.normalise(raw.images)
        return Batch(images, raw.targets, raw.group, local=local)

    def _dense(self, raw: RawBatch, images: torch.Tensor) -> Batch:
        class_targets, token_targets = dense_targets(
            raw.maps,
            raw.boxes,
            num_classes=self.num_classes,
            grid=self.token_grid,
            smoothing=self.mix["smoothing"],
            axes=self.label_axes,
        )
        return Batch(images, class_targets, raw.group, token_targets)

    def _lay_out(self, batch: Batch) -> Batch:
        local = batch.local
        return replace(
            batch,
            images=batch.images.contiguous(memory_format=self.layout),
            local=None if local is None else local.contiguous(memory_format=self.layout),
        )
