"""What is done to groups on the device, between their loader and the task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scaledrelu.config.batch import BatchConfig
from scaledrelu.config.data import UNLABELLED
from scaledrelu.config.run import RunConfig
from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.batch import (
    Batch,
    RawBatch,
    join_batches,
    join_groups,
    lay_out,
    split_groups,
    split_views,
)
from scaledrelu.data.device.crops import CropAugment
from scaledrelu.data.device.erasing import fill
from scaledrelu.data.device.normalise import LevelNormalise
from scaledrelu.data.mixup import mix_group
from scaledrelu.errors import ConfigError
from scaledrelu.labels.dense_targets import dense_targets
from scaledrelu.randomness import derive_seed
from scaledrelu.runs.feed import layout
from scaledrelu.tasks.base import Progress, Task


def batch_groups(batch: BatchConfig, groups: Sequence[int]) -> Sequence[int]:
    """Return the numbers of the batches that ``Prepare`` makes of a process's groups.

    Args:
        batch: batch size and groups.
        groups: global numbers of the process's groups.
    """
    return groups[:1] if batch.sync_bn else groups


def prepare_for(config: RunConfig, task: Task, num_classes: int, device: torch.device) -> Prepare:
    """Return the preparation of a task's groups, with the token grid of a backbone that has one.

    Args:
        config: the run's configuration.
        task: its backbone may have a grid of tokens.
        num_classes: C.
        device: the model's device.
    """
    grid = getattr(task.backbone, "token_grid", None)
    return Prepare(config, num_classes, device, grid)


class Prepare:
    """Moves groups to the device, augments and mixes them there, or makes their dense targets.

    All groups of an update are augmented together: every draw is one image's, so that they become
    what they would alone, and a GPU gets one list of operations instead of one for each group.
    Mixing, with its one draw a group, and dense targets, whose logits of all classes would take
    1.3 MB an image, go group by group.

    With ``batch.sync_bn`` it returns one batch of all groups, so that BatchNorm sees them together,
    and with ``launch.groups_at_once`` as well.

    Args:
        config: the run's configuration.
        num_classes: C.
        device: the model's device.
        token_grid: rows and columns of the model's tokens; needed for label maps only.

    Raises:
        ConfigError: label maps without a token grid.
    """

    def __init__(
        self,
        config: RunConfig,
        num_classes: int,
        device: torch.device,
        token_grid: tuple[int, int] | None = None,
    ) -> None:
        data, augment = config.data, config.augment
        self.seed, self.device, self.num_classes = config.seed, device, num_classes
        self.augment, self.token_grid = augment, token_grid
        # An image with a label map was augmented on the host, whatever data.augment says.
        on_device = data.augment == "device" and not data.has_labels
        self.on_device = DeviceAugment(
            mean=data.mean,
            std=data.std,
            seed=self.seed,
            augment=augment if on_device else None,
        )
        self.normalise_labelled = LevelNormalise(mean=data.mean, std=data.std)
        crops = augment.multi_crop
        self.on_crops = (
            CropAugment(crops, hflip=augment.hflip, seed=self.seed)
            if crops is not None and crops.pipeline == "device"
            else None
        )
        self.layout = layout(config.launch)
        self.joins = config.batch.sync_bn or config.launch.groups_at_once
        if data.has_labels and token_grid is None:
            raise ConfigError(
                f"data.token_labels={data.token_labels}: needs a model with class logits for every "
                f"token (VOLO), found {config.model.label}; set {UNLABELLED}"
            )

    def __call__(self, groups: Sequence[RawBatch], t: Progress) -> list[Batch]:
        """Return the groups as the task sees them.

        Args:
            groups: one RawBatch per group.
            t: where training stands; keys the randomness.
        """
        moved = [raw.to(self.device) for raw in groups]
        if self.augment.multi_crop is not None:
            batches = self._crops(moved, t)
        elif moved[0].maps is not None:
            batches = [self._dense(raw) for raw in moved]
        else:
            batches = self._images(moved, t)
        if self.joins:
            batches = [join_batches(batches)]
        return [lay_out(batch, self.layout) for batch in batches]

    def _images(self, groups: Sequence[RawBatch], t: Progress) -> list[Batch]:
        if groups[0].images.is_floating_point():  # augmented on the host; perhaps its memory
            return [self._mixed(raw.images, raw, t, in_place=False) for raw in groups]
        images = self.on_device(join_groups(groups), epoch=t.epoch)
        parts = zip(split_views(images, [len(raw.targets) for raw in groups]), groups, strict=True)
        batches = [self._mixed(part, raw, t, in_place=True) for part, raw in parts]
        if not self.joins or len(groups) == 1:
            return batches
        # Mixed where they lay, the images need no second join.
        return [Batch(images, torch.cat([batch.targets for batch in batches]), groups[0].group)]

    def _mixed(self, images: Tensor, raw: RawBatch, t: Progress, *, in_place: bool) -> Batch:
        mixed = mix_group(
            images,
            raw.targets,
            self.augment,
            num_classes=self.num_classes,
            seed=derive_seed(self.seed, "mixup", t.step, raw.group),
            in_place=in_place,
        )
        return Batch(mixed.images, mixed.targets, raw.group)

    def _crops(self, groups: Sequence[RawBatch], t: Progress) -> list[Batch]:
        whole = join_groups(groups)
        if self.on_crops is not None:
            whole = self.on_crops(whole, epoch=t.epoch)
        # Bytes are split, not floats: crops of one group are not neighbours, and have to be copied.
        parts = [whole] if self.joins else split_groups(whole, groups)
        return [self._normalised(raw) for raw in parts]

    def _normalised(self, crops: RawBatch) -> Batch:
        normalise = self.on_device.normalise
        local = None if crops.local is None else normalise(crops.local)
        return Batch(normalise(crops.images), crops.targets, crops.group, local=local)

    def _dense(self, raw: RawBatch) -> Batch:
        class_targets, token_targets = dense_targets(
            raw.maps,
            raw.boxes,
            num_classes=self.num_classes,
            grid=self.token_grid,
            smoothing=self.augment.smoothing,
            axes=self.augment.label_axes,
        )
        return Batch(self._labelled(raw), class_targets, raw.group, token_targets)

    def _labelled(self, raw: RawBatch) -> Tensor:
        """Return images with label maps, normalised, and erased as the host drew it."""
        if raw.images.is_floating_point():  # normalised already, as noise is
            return raw.images
        images = self.normalise_labelled(raw.images)
        return images if raw.noise is None else fill(images, raw.erased, raw.noise)
