"""Turns requests for images into batches: by indexing in memory, or with loader processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from scaledrelu.data.batch import RawBatch
from scaledrelu.data.buffers import Borrowed, new_states
from scaledrelu.data.sources import ImageSource, MemorySource
from scaledrelu.data.workers import (
    Answer,
    Images,
    LabelsByPosition,
    Request,
    Transform,
    leave_signals_to_trainer,
    sigterm_held_back,
)
from scaledrelu.errors import ConfigError, RunError


def open_fetch(
    source: ImageSource,
    transform: Transform | None,
    *,
    seed: int,
    workers: int,
    pin: bool,
    device: Any,
    labels: LabelsByPosition | None = None,
    together: int = 1,
) -> MemoryFetch | FileFetch:
    """Choose the way to fetch: with a transform image by image, without one from memory.

    Args:
        source: the images.
        transform: PIL image -> tensor or Views; None = the uint8 images of a source in memory as
            they are.
        seed: the run's seed, on which every draw depends.
        workers: loader processes; 0 = load in this process.
        pin: put batches in page-locked memory.
        device: where to keep images that lie in memory; None = leave them.
        labels: label maps by position in the source; None = there are none.
        together: requests in a row that one process loads image by image, since they share images.

    Raises:
        ConfigError: if there is neither a transform nor a tensor in memory.
    """
    if transform is not None:
        return FileFetch(
            source,
            transform,
            seed=seed,
            workers=workers,
            pin=pin,
            labels=labels,
            together=together,
        )
    if not hasattr(source, "images"):
        raise ConfigError(
            "these images are files, which need a transform; pass one of "
            "scaledrelu.data.transforms to the loader, or set data.in_memory=true"
        )
    return MemoryFetch(source, pin=pin, device=device)


class MemoryFetch:
    """Batches by indexing one uint8 tensor.

    Args:
        source: images in memory; fetches of the same source share their copy on a device.
        pin: put batches in page-locked memory.
        device: where to keep images that lie in memory; None = leave them.
    """

    def __init__(self, source: MemorySource, *, pin: bool, device: Any):
        self._images = source.images_on(device)
        self._targets = torch.from_numpy(source.targets).to(self._images.device)
        self._pin = pin and self._images.device.type == "cpu"

    def __call__(self, requests: Sequence[Request]) -> Iterator[RawBatch]:
        """Yield one batch per request, in order."""
        for request in requests:
            indices = torch.from_numpy(request.indices)
            where = indices.to(self._images.device, non_blocking=True)  # no wait for the GPU
            batch = RawBatch(
                images=self._images[where],
                targets=self._targets[where],
                indices=indices,
                views=torch.from_numpy(request.views),
                group=request.group,
            )
            yield batch.pin_memory() if self._pin else batch

    def close(self) -> None:
        """Do nothing: there are no processes to end."""


class FileFetch:
    """Batches through a torch DataLoader whose processes live as long as this object.

    Args:
        source: the images.
        transform: PIL image -> tensor or Views.
        seed: the run's seed, on which every draw depends.
        workers: loader processes; 0 = load in this process.
        pin: put batches in page-locked memory.
        labels: label maps by position in the source; None = there are none.
        together: requests in a row that one process loads image by image, since they share images.
    """

    def __init__(
        self,
        source: ImageSource,
        transform: Transform,
        *,
        seed: int,
        workers: int,
        pin: bool,
        labels: LabelsByPosition | None,
        together: int,
    ):
        self._source, self._together = source, together
        self._targets = torch.from_numpy(source.targets)
        self._requests: Sequence[Request] = ()
        self._round, self._pin = 0, pin
        states = new_states(workers) if workers else None
        self._borrowed = Borrowed(states)
        self._loader = DataLoader(
            Images(source, transform, seed=seed, labels=labels, states=states),
            batch_size=None,
            sampler=_Current(self),
            num_workers=workers,
            prefetch_factor=_ahead(workers, together),
            pin_memory=pin,
            persistent_workers=workers > 0,
            multiprocessing_context=_context(workers),
            worker_init_fn=leave_signals_to_trainer,
            generator=torch.Generator(),  # else every epoch draws from the trainer's generator
        )

    def __call__(self, requests: Sequence[Request]) -> Iterator[RawBatch]:
        """Yield one batch per request, in order.

        Raises:
            DataError: an image that cannot be read.
            RunError: if a loader process died.
        """
        self._round += 1
        self._requests = [replace(request, round=self._round) for request in requests]
        try:
            with sigterm_held_back():
                answers = chain.from_iterable(iter(self._loader))
            for request, answer in zip(requests, answers, strict=True):
                self._note(answer.skipped)
                if answer.error is not None:
                    raise answer.error
                yield self._batch(request, self._received(answer))
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise RunError(
                f"a loader process died ({str(error).splitlines()[0]}); often memory or /dev/shm "
                "is full: lower launch.workers"
            ) from error

    def close(self) -> None:
        """End the loader processes now, even if an epoch is under way."""
        iterator, self._loader._iterator = self._loader._iterator, None
        if iterator is not None:
            iterator._shutdown_workers()

    def _received(self, answer: Answer) -> dict[str, Tensor]:
        """Return the tensors of an answer, and see to it that their buffers are used again."""
        tensors = dict(answer.tensors)
        for name, place in answer.places.items():
            if answer.shared:
                self._borrowed.copied(answer.shared[name], place)
            else:
                tensors[name] = self._borrowed.lend(tensors[name], place)
        return tensors

    def _batch(self, request: Request, tensors: dict[str, Tensor]) -> RawBatch:
        indices = torch.from_numpy(request.indices)
        targets = self._targets[indices]
        return RawBatch(
            **tensors,
            targets=targets.pin_memory() if self._pin else targets,
            indices=indices,
            views=torch.from_numpy(request.views),
            group=request.group,
        )

    def _note(self, skipped: Sequence[str]) -> None:
        known = self._source.skipped
        known += [name for name in skipped if name not in known]


def _context(workers: int) -> str | None:
    """Return how loader processes start: forked where that is safe.

    A pool such as joblib's sets a start method that cannot start loader processes.
    """
    return "fork" if workers and sys.platform == "linux" else None


def _ahead(workers: int, together: int) -> int | None:
    """Return how many answers a loader process works ahead; None = as torch has it: two.

    Requests that are loaded together are a whole update, hundreds of megabytes: one from each
    process is enough to have waiting, and takes half the memory. Only where updates wait for their
    images do they take longer: by 2 to 6 % with 2 to 16 processes that merely slept.
    """
    return 1 if workers and together > 1 else None


class _Current:
    """A sampler whose content its owner changes every epoch; it stays in the main process."""

    def __init__(self, owner: FileFetch):
        self._owner = owner

    def __iter__(self) -> Iterator[Sequence[Request]]:
        requests, size = self._owner._requests, self._owner._together
        return (requests[at : at + size] for at in range(0, len(requests), size))
