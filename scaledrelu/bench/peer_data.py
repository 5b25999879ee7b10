"""How the scripts of others get from JPEG files to what their models see, written out plainly.

timm's script (uint8 batches with its prefetcher), DeiT's, DINO's and VOLO's: their own transforms
in torch's DataLoader, and their own steps on the device. No keyed randomness, nothing that a
reproducible run needs. Numbers come from a run's configuration.

Shapes: B images, K logits of a cell, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import FastCollateMixup, Mixup
from timm.data.distributed_sampler import RepeatAugSampler
from timm.data.loader import PrefetchLoader, fast_collate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from scaledrelu.bench.data_paths import GRID
from scaledrelu.bench.peer_transforms import dino_views, joint_transform, timm_transform
from scaledrelu.bench.scripts import Script
from scaledrelu.config.run import RunConfig
from scaledrelu.data.batch import Batch
from scaledrelu.data.multicrop import NUM_GLOBAL
from scaledrelu.data.sources import FolderSource
from scaledrelu.labels.maps import label_path

Finish = Callable[[DataLoader, torch.device], Iterable[Batch]]


class Files(Dataset):
    """JPEG files with their classes, and with their label maps where there are some.

    Args:
        source: names and classes of the files.
        transform: PIL image -> item; with label maps (PIL image, map) -> item.
        maps: folder of the label maps; None = there are none.
    """

    def __init__(
        self, source: FolderSource, transform: Callable[..., Any], maps: str | None = None
    ):
        self.source, self.transform, self.maps = source, transform, maps

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        with open(self.source.path_of(index), "rb") as stream:
            content = [Image.open(stream).convert("RGB")]
        if self.maps is not None:
            path = f"{self.maps}/{label_path(self.source, index)}"
            content.append(torch.load(path, weights_only=True))
        return self.transform(*content), int(self.source.targets[index])


@dataclass(frozen=True, slots=True)
class ScriptData:
    """The data of one script.

    Attributes:
        files: item by item, on the host.
        collate: items -> what goes to the device.
        finish: (loader, device) -> batches on the device.
        repeats: how often each image comes in an epoch, in a row.
    """

    files: Files
    collate: Callable[[list], Any]
    finish: Finish
    repeats: int = 1

    def loader(self, *, batch: int, workers: int = 0, pin: bool = False) -> DataLoader:
        """Return torch's loader of one epoch after the other, shuffled, the tail dropped.

        Args:
            batch: images per batch.
            workers: loader processes, which stay; 0 = load in this process.
            pin: put batches in page-locked memory.
        """
        repeated = None
        if self.repeats > 1:
            repeated = RepeatAugSampler(self.files, 1, 0, num_repeats=self.repeats)
        return DataLoader(
            self.files,
            batch_size=batch,
            sampler=repeated,
            shuffle=repeated is None,
            drop_last=True,
            num_workers=workers,
            pin_memory=pin,
            collate_fn=self.collate,
            persistent_workers=workers > 0,
        )

    def batches(self, loader: DataLoader, device: torch.device) -> Iterator[Batch]:
        """Yield batches as the model sees them, epoch after epoch.

        Args:
            loader: what ``loader`` returns.
            device: the model's device.
        """
        while True:
            yield from self.finish(loader, device)


def endless(loader: DataLoader) -> Iterator[Any]:
    """Yield what a loader collates, epoch after epoch."""
    while True:
        yield from loader


def script_data(
    source: FolderSource, config: RunConfig, script: Script, *, grid: tuple[int, int] = GRID
) -> ScriptData:
    """Return the data of a script; timm's loader alone does not mix: ours mixes on the device.

    Args:
        source: the files.
        config: the numbers.
        script: name of the script.
        grid: rows and columns of the model's tokens, for VOLO's.
    """
    if script is Script.DEIT:
        return _deit_data(source, config)
    if script is Script.DINO:
        return _dino_data(source, config)
    if script is Script.VOLO:
        return _volo_data(source, config, grid)
    loader = script in (Script.TIMM_BARE, Script.TIMM_LOADER)
    return _timm_data(source, config, augments=script is not Script.TIMM_BARE, mixes=not loader)


def _deit_data(source: FolderSource, config: RunConfig) -> ScriptData:
    """Return DeiT's: timm's whole transform on the host, float batches, mixup on the device.

    With repeated augmentation it decodes each copy of an image anew.
    """
    transform = timm_transform(config, augments=True, use_prefetcher=False)

    def finish(loader: DataLoader, device: torch.device) -> Iterator[Batch]:
        mix = Mixup(**_mixing(config))
        for images, targets in loader:
            images, targets = (x.to(device, non_blocking=True) for x in (images, targets))
            yield Batch(*mix(images, targets), group=0)

    return ScriptData(Files(source, transform), default_collate, finish, config.augment.repeats)


def _timm_data(
    source: FolderSource, config: RunConfig, *, augments: bool, mixes: bool
) -> ScriptData:
    """Return timm's with its prefetcher: bytes, mixed by the collation; erasing on the device."""
    transform = timm_transform(config, augments=augments, use_prefetcher=True)
    collate = FastCollateMixup(**_mixing(config)) if mixes else fast_collate

    def finish(loader: DataLoader, device: torch.device) -> Iterator[Batch]:
        for images, targets in _prefetched(loader, config, device):
            yield Batch(images, targets, group=0)

    return ScriptData(Files(source, transform), collate, finish)


def _dino_data(source: FolderSource, config: RunConfig) -> ScriptData:
    """Return DINO's: ten crops of every image, each augmented on the host, float batches."""
    views = dino_views(config)

    def finish(loader: DataLoader, device: torch.device) -> Iterator[Batch]:
        for found, targets in loader:
            crops = [crop.to(device, non_blocking=True) for crop in found]
            large, local = torch.cat(crops[:NUM_GLOBAL]), torch.cat(crops[NUM_GLOBAL:])
            yield Batch(large, targets, group=0, local=local)

    return ScriptData(
        Files(source, lambda image: [view(image) for view in views]), default_collate, finish
    )


def _volo_data(source: FolderSource, config: RunConfig, grid: tuple[int, int]) -> ScriptData:
    """Return VOLO's: image and map together on the host, bytes; dense targets on the device."""

    def finish(loader: DataLoader, device: torch.device) -> Iterator[Batch]:
        for images, labels in _prefetched(loader, config, device):
            classes, tokens = roi_targets(labels.maps, labels.boxes, config, grid=grid)
            yield Batch(images, classes, group=0, token_targets=tokens)

    files = Files(source, joint_transform(config), maps=config.data.token_labels)
    return ScriptData(files, _collated_with_maps, finish)


@dataclass(frozen=True, slots=True)
class MapBatch:
    """Label maps, B x 2 x K x h x w, and crop boxes, B x 4: top, left, bottom, right."""

    maps: Tensor
    boxes: Tensor

    def to(self, device: torch.device, *, non_blocking: bool = True) -> MapBatch:
        """Return both on a device.

        Args:
            device: the target device.
            non_blocking: do not wait for the copy of page-locked memory.
        """
        return MapBatch(*(x.to(device, non_blocking=non_blocking) for x in self._both))

    def pin_memory(self) -> MapBatch:
        """Return both in page-locked memory (DataLoader protocol)."""
        return MapBatch(*(x.pin_memory() for x in self._both))

    @property
    def _both(self) -> tuple[Tensor, Tensor]:
        return self.maps, self.boxes


@torch.no_grad()
def roi_targets(
    maps: Tensor, boxes: Tensor, config: RunConfig, *, grid: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return class and token targets by scattering the maps to all classes and RoI align.

    Args:
        maps: B x 2 x K x h x w; plane 0 logits, plane 1 their classes.
        boxes: B x 4; top, left, bottom, right as fractions.
        config: number of classes and smoothing.
        grid: rows and columns of tokens.

    Source: recipes B.4.
    """
    from torchvision.ops import roi_align

    count, _, _, height, width = maps.shape
    classes = config.data.num_classes
    full = torch.zeros(count, classes, height, width, device=maps.device)
    full.scatter_(1, maps[:, 1].long(), maps[:, 0].float())
    # The script passes (top, left, ...) where (x, y, ...) is expected.
    which = torch.arange(count, device=maps.device)[:, None]
    rois = torch.cat([which, boxes.float() * width - 0.5], dim=1)
    off = config.augment.smoothing / classes
    keep = 1.0 - config.augment.smoothing + off
    found = [roi_align(full, rois, size).flatten(2).mT for size in ((1, 1), grid)]
    one, tokens = (logits.softmax(-1) * keep + off for logits in found)
    return one[:, 0], tokens


def _prefetched(loader: DataLoader, config: RunConfig, device: torch.device) -> PrefetchLoader:
    return PrefetchLoader(
        loader,
        mean=config.data.mean,
        std=config.data.std,
        device=device,
        re_prob=config.augment.erasing,
        re_mode="pixel",
    )


def _mixing(config: RunConfig) -> dict[str, Any]:
    augment = config.augment
    return {
        "mixup_alpha": augment.mixup,
        "cutmix_alpha": augment.cutmix,
        "prob": augment.mix_prob,
        "switch_prob": augment.switch_prob,
        "mode": "batch",
        "label_smoothing": augment.smoothing,
        "num_classes": config.data.num_classes,
    }


def _collated_with_maps(items: Sequence[tuple]) -> tuple[Tensor, MapBatch]:
    images, maps, boxes = zip(*(found for found, _ in items), strict=True)
    pixels = torch.from_numpy(np.stack(images))
    return pixels, MapBatch(torch.stack(maps), torch.stack(boxes))
