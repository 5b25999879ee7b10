"""Turns requests for images into batches: by indexing in memory, or by loader processes."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate, get_worker_info

from scaledrelu.data.batch import RawBatch
from scaledrelu.data.sources import ImageSource
from scaledrelu.errors import ConfigError, RunError, ScaledReluError
from scaledrelu.randomness import derive_seed

Transform = Callable[[Any], Tensor]


@dataclass(frozen=True, slots=True)
class Request:
    """What one batch must contain: positions and repeats (int64) of one group in one epoch."""

    epoch: int
    group: int
    indices: np.ndarray
    views: np.ndarray


def open_fetch(
    source: ImageSource,
    transform: Transform | None,
    *,
    seed: int,
    workers: int,
    pin: bool,
    device: Any,
) -> MemoryFetch | FileFetch:
    """Choose the way to fetch: with a transform image by image, without one from memory.

    Raises:
        ConfigError: if there is neither a transform nor a tensor in memory.
    """
    if transform is not None:
        return FileFetch(source, transform, seed=seed, workers=workers, pin=pin)
    if not hasattr(source, "images"):
        raise ConfigError(
            "these images are files and have no transform: give the loader one of "
            "scaledrelu.data.transforms, or set data.in_memory=true"
        )
    return MemoryFetch(source, pin=pin, device=device)


class MemoryFetch:
    """Batches by indexing one uint8 tensor."""

    def __init__(self, source: Any, *, pin: bool, device: Any):
        self._images = source.images if device is None else source.images.to(device)
        self._targets = torch.from_numpy(source.targets).to(self._images.device)
        self._pin = pin and self._images.device.type == "cpu"

    def __call__(self, requests: Sequence[Request]) -> Iterator[RawBatch]:
        """Yield one batch per request, in order."""
        for request in requests:
            indices = torch.from_numpy(request.indices)
            where = indices.to(self._images.device)
            batch = RawBatch(
                images=self._images[where],
                targets=self._targets[where],
                indices=indices,
                views=torch.from_numpy(request.views),
                group=request.group,
            )
            yield batch.pin_memory() if self._pin else batch

    def close(self) -> None:
        """Nothing to end."""


class FileFetch:
    """Batches through a torch DataLoader whose processes live as long as this object."""

    def __init__(
        self, source: ImageSource, transform: Transform, *, seed: int, workers: int, pin: bool
    ):
        self._source = source
        self._targets = torch.from_numpy(source.targets)
        self._requests: Sequence[Request] = ()
        self._pin = pin
        self._loader = DataLoader(
            _Images(source, transform, seed),
            batch_size=None,
            sampler=_Current(self),
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=workers > 0,
            worker_init_fn=_leave_signals_to_trainer,
            generator=torch.Generator(),  # else every epoch draws from the trainer's generator
        )

    def __call__(self, requests: Sequence[Request]) -> Iterator[RawBatch]:
        """Yield one batch per request, in order.

        Raises:
            DataError: for an image that cannot be read.
            RunError: if a loader process died.
        """
        self._requests = requests
        try:
            for request, answer in zip(requests, self._loader, strict=True):
                self._note(answer.skipped)
                if answer.error is not None:
                    raise answer.error
                yield self._batch(request, answer.images)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise RunError(
                f"a loader process died ({str(error).splitlines()[0]}): often memory or /dev/shm; "
                "lower launch.workers"
            ) from error

    def close(self) -> None:
        """End the loader processes now, even if an epoch is under way."""
        iterator, self._loader._iterator = self._loader._iterator, None
        if iterator is not None:
            iterator._shutdown_workers()

    def _batch(self, request: Request, images: Tensor) -> RawBatch:
        indices = torch.from_numpy(request.indices)
        targets = self._targets[indices]
        return RawBatch(
            images=images,
            targets=targets.pin_memory() if self._pin else targets,
            indices=indices,
            views=torch.from_numpy(request.views),
            group=request.group,
        )

    def _note(self, skipped: Sequence[str]) -> None:
        known = self._source.skipped
        known += [name for name in skipped if name not in known]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The images of a request, or the error that came instead; bad images met on the way."""

    images: Tensor | None
    error: ScaledReluError | None
    skipped: tuple[str, ...]

    def pin_memory(self) -> _Answer:
        images = self.images.pin_memory() if self.images is not None else None
        return _Answer(images, self.error, self.skipped)


class _Current:
    """A sampler whose content its owner changes every epoch; it stays in the main process."""

    def __init__(self, owner: FileFetch):
        self._owner = owner

    def __iter__(self) -> Iterator[Request]:
        return iter(self._owner._requests)

    def __len__(self) -> int:
        return len(self._owner._requests)


class _Images:
    """The data set behind a DataLoader: a request in, the images of a whole batch out."""

    def __init__(self, source: ImageSource, transform: Transform, seed: int):
        self._source, self._transform, self._seed = source, transform, seed

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, request: Request) -> _Answer:
        before = len(self._source.skipped)
        images, error = None, None
        try:
            images = self._load(request)
        except ScaledReluError as caught:  # raised in a worker, its line would drown in tracebacks
            error = caught
        return _Answer(images, error, tuple(self._source.skipped[before:]))

    def _load(self, request: Request) -> Tensor:
        with _own_randomness():
            return default_collate(
                [
                    self._one(request.epoch, index, view)
                    for index, view in zip(
                        request.indices.tolist(), request.views.tolist(), strict=True
                    )
                ]
            )

    def _one(self, epoch: int, index: int, view: int) -> Tensor:
        image = self._source.load(index)
        seed = derive_seed(self._seed, "augment", epoch, index, view)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        # Not torch.manual_seed: that queues a call for every CUDA device, stack trace included.
        torch.default_generator.manual_seed(seed)
        return self._transform(image)


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Give the main process its global generators back; a worker's belong to nobody else."""
    if get_worker_info() is not None:
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _leave_signals_to_trainer(_: int) -> None:
    """Ignore what asks a whole run to stop: the trainer saves first, then ends its workers.

    A cluster sends SIGTERM to every process of a run; the one that counts comes from the trainer.
    """
    for name in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(name, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS: there a stop request may lose the last step
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_trainer, args=(os.getppid(),), daemon=True).start()


def _end_with_trainer(trainer: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != trainer:
        pass
    os._exit(0)
