"""Turns a source into steps of groups.

What a step contains depends on the seed, the epoch and the step alone, never on the number of
loader processes, devices or restarts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from scaledrelu.data.batch import RawBatch
from scaledrelu.data.fetch import open_fetch
from scaledrelu.data.identity_sampler import identity_steps, identity_stream
from scaledrelu.data.samplers import Stream, group_stream, steps_per_epoch
from scaledrelu.data.sources import ImageSource
from scaledrelu.data.workers import LabelsByPosition, Request, Transform


class TrainLoader:
    """The groups of one process, step by step.

    Args:
        source: training images.
        groups: global numbers of the groups that this process works through.
        num_groups: groups per update over all processes.
        group_size: images of one group per update.
        repeats: repeated augmentation; 1 = off.
        seed: seed of the run.
        instances: images of an identity in an update; None = images are drawn one by one.
        transform: image -> tensor; None = the uint8 images of a source in memory as they are.
        workers: loader processes; 0 = load in this process. Not used for images in memory.
        pin: put batches in page-locked memory.
        device: where to keep the images of a source in memory; None = leave them.
        labels: label maps of the source, which ``transform`` then takes beside the image; None =
            there are none.

    Raises:
        ConfigError: if there are fewer images than one update needs.
    """

    def __init__(
        self,
        source: ImageSource,
        *,
        groups: Sequence[int],
        num_groups: int,
        group_size: int,
        repeats: int,
        seed: int,
        instances: int | None = None,
        transform: Transform | None = None,
        workers: int = 0,
        pin: bool = False,
        device: Any = None,
        labels: LabelsByPosition | None = None,
    ):
        sizes = {"num_groups": num_groups, "group_size": group_size}
        self.steps_per_epoch = (
            steps_per_epoch(len(source), repeats=repeats, **sizes)
            if instances is None
            else identity_steps(source.targets, num_instances=instances, **sizes)
        )
        self.source = source
        self._groups = tuple(groups)
        self._num_groups, self._group_size = num_groups, group_size
        self._repeats, self._instances, self._seed = repeats, instances, seed
        self._fetch = open_fetch(
            source,
            transform,
            seed=seed,
            workers=workers,
            pin=pin,
            device=device,
            labels=labels,
            # The copies of an image go to neighbouring groups: together they need it decoded once.
            together=len(self._groups) if repeats > 1 else 1,
        )

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[list[RawBatch]]:
        """Yield the steps of one epoch, each a list of one RawBatch per local group.

        Args:
            epoch: epoch of the run, from 0.
            start_step: steps of this epoch that are already done (after a restart).

        Raises:
            DataError: an image or label map that cannot be read, in whichever process.
        """
        streams = [self._stream(group, epoch) for group in self._groups]
        size = self._group_size
        requests = [
            Request(epoch, group, *(a.numpy()[at : at + size] for a in (s.indices, s.views)))
            for at in range(start_step * size, self.steps_per_epoch * size, size)
            for group, s in zip(self._groups, streams, strict=True)
        ]
        batches = self._fetch(requests)
        for _ in range(start_step, self.steps_per_epoch):
            yield [next(batches) for _ in self._groups]

    def close(self) -> None:
        """End the loader processes."""
        self._fetch.close()

    def _stream(self, group: int, epoch: int) -> Stream:
        place = {
            "num_groups": self._num_groups,
            "group": group,
            "epoch": epoch,
            "group_size": self._group_size,
            "seed": self._seed,
        }
        if self._instances is None:
            return group_stream(len(self.source), repeats=self._repeats, **place)
        return identity_stream(
            self.source.targets,
            steps=self.steps_per_epoch,
            num_instances=self._instances,
            **place,
        )


class EvalLoader:
    """The images rank, rank + world_size, ... of a source: every image on one rank, none twice.

    Args:
        source: validation images.
        rank: this process's rank.
        world_size: number of processes.
        batch: images per batch; the last one may be smaller.
        transform: image -> tensor; None = the uint8 images of a source in memory as they are.
        workers: loader processes; 0 = load in this process. Not used for images in memory.
        pin: put batches in page-locked memory.
        device: where to keep the images of a source in memory; None = leave them.

    Attributes:
        shard_size: number of images on this rank.
    """

    def __init__(
        self,
        source: ImageSource,
        *,
        rank: int,
        world_size: int,
        batch: int,
        transform: Transform | None = None,
        workers: int = 0,
        pin: bool = False,
        device: Any = None,
    ):
        self.source = source
        indices = np.arange(rank, len(source), world_size)
        self.shard_size = len(indices)
        self._requests = [
            Request(0, 0, part, np.zeros_like(part))
            for part in (indices[at : at + batch] for at in range(0, len(indices), batch))
        ]
        self._fetch = open_fetch(source, transform, seed=0, workers=workers, pin=pin, device=device)

    def __iter__(self) -> Iterator[RawBatch]:
        return self._fetch(self._requests)

    def close(self) -> None:
        """End the loader processes."""
        self._fetch.close()
