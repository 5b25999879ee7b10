"""What a loader process does: it takes requests and returns whole batches."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from scaledrelu.data.buffers import Buffers, stack
from scaledrelu.data.sources import ImageSource
from scaledrelu.errors import ScaledReluError
from scaledrelu.randomness import derive_seed

Stack = Callable[[Sequence[Tensor]], Tensor]  # alike tensors -> one that the trainer can see


class Views(Protocol):
    """The result of a transform that makes more than one tensor of an image."""

    @staticmethod
    def collate(found: Sequence[Any], stack: Stack) -> dict[str, Tensor]:
        """Return the tensors of several images, by field of RawBatch.

        Args:
            found: results for the images of a batch.
            stack: function that joins alike tensors.
        """
        ...


class LabelsByPosition(Protocol):
    """The label map of every image of a source."""

    def __getitem__(self, index: int) -> Tensor:
        """Return the map of one image: 2 x K x h x w; DataError if it cannot be read."""
        ...


# Image, left unchanged -> tensor or Views; with label maps (image, map) -> Views. An image is what
# the source loads: Pillow's, 3 x H x W uint8, or a JPEG that is not decoded yet (Encoded).
Transform = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What one batch must contain: positions and repeats (int64) of one group in one epoch.

    ``round`` tells the requests of one call of a fetch from those of another.
    """

    epoch: int
    group: int
    indices: np.ndarray
    views: np.ndarray
    round: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request: tensors by their field of RawBatch, or an error instead.

    Attributes:
        tensors: by field of RawBatch.
        error: what went wrong.
        skipped: names of bad images found on the way.
        places: loader process and buffer of the tensors that lie in a buffer.
        shared: those tensors in their buffers where ``tensors`` are copies.
    """

    tensors: dict[str, Tensor]
    error: ScaledReluError | None
    skipped: tuple[str, ...]
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    shared: dict[str, Tensor] = field(default_factory=dict)

    def pin_memory(self) -> Answer:
        """Return the answer in page-locked memory (DataLoader protocol)."""
        pinned = {name: tensor.pin_memory() for name, tensor in self.tensors.items()}
        return replace(self, tensors=pinned, shared=self.tensors)


class Images:
    """The data set behind a DataLoader: takes requests, returns an Answer to each.

    Images are loaded in the order of the epoch over all requests. Where an image stands several
    times in a row (repeated augmentation), its file is decoded once.

    Args:
        source: the images.
        transform: what happens to one image, and to its label map.
        seed: the run's seed; every draw is a function of (seed, epoch, index, view).
        labels: label maps by position in the source; None = there are none.
        states: states of the buffers of loader processes; None = there are no such processes.
    """

    def __init__(
        self,
        source: ImageSource,
        transform: Transform,
        *,
        seed: int,
        labels: LabelsByPosition | None,
        states: Tensor | None,
    ):
        self._source, self._transform, self._seed = source, transform, seed
        self._labels, self._states = labels, states
        self._buffers: Buffers | None = None
        self._last: tuple[int, Any] | None = None  # position and image

    def __getitem__(self, requests: Sequence[Request]) -> list[Answer]:
        before = len(self._source.skipped)
        worker = get_worker_info()
        if worker is not None:
            self._buffers = self._buffers or Buffers(self._states[worker.id])
            self._buffers.begin(requests[0].round)
        loaded, error = [{} for _ in requests], None
        try:
            loaded = self._load(requests)
        except ScaledReluError as caught:  # raised in a worker, it would come with a traceback
            error = caught
        skipped = tuple(self._source.skipped[before:])
        return [Answer(tensors, error, skipped, self._places(tensors)) for tensors in loaded]

    def _load(self, requests: Sequence[Request]) -> list[dict[str, Tensor]]:
        positions = (zip(r.indices.tolist(), r.views.tolist(), strict=True) for r in requests)
        with _own_randomness():
            found = [
                [self._one(requests[0].epoch, index, view) for index, view in neighbours]
                for neighbours in zip(*positions, strict=True)
            ]
        return [self._collate(batch) for batch in zip(*found, strict=True)]

    def _collate(self, found: Sequence[Tensor | Views]) -> dict[str, Tensor]:
        joined = partial(stack, buffers=self._buffers)
        if isinstance(found[0], Tensor):
            return {"images": joined(found)}
        return found[0].collate(found, joined)

    def _places(self, tensors: dict[str, Tensor]) -> dict[str, tuple[int, int]]:
        """Return the loader process and the buffer of each tensor that lies in a buffer."""
        worker = get_worker_info()
        if worker is None:
            return {}
        found = {name: self._buffers.place_of(tensor) for name, tensor in tensors.items()}
        return {name: (worker.id, at) for name, at in found.items() if at is not None}

    def _one(self, epoch: int, index: int, view: int) -> Tensor | Views:
        content = [self._image(index)]
        if self._labels is not None:
            content.append(self._labels[self._source.position_of(index)])
        seed = derive_seed(self._seed, "augment", epoch, index, view)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        # Not torch.manual_seed: that queues a call for every CUDA device, stack trace included.
        torch.default_generator.manual_seed(seed)
        return self._transform(*content)

    def _image(self, index: int) -> Any:
        """Return an image of the source, decoded unless it is the last one again."""
        if self._last is None or self._last[0] != index:
            self._last = None  # an image may be large: not two at a time
            self._last = index, self._source.load(index)
        return self._last[1]


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Restore the global generators of the main process; nothing else uses a worker's."""
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


CAN_WAIT = hasattr(signal, "sigwaitinfo")  # not on macOS: a stop signal may lose the last step


@contextmanager
def sigterm_held_back() -> Iterator[None]:
    """Block SIGTERM in this thread, and for good in all threads of processes forked here.

    If a worker blocked it only after it started, a signal could end it before that, or reach
    another of its threads.
    """
    if not CAN_WAIT:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_trainer(_: int) -> None:
    """Ignore stop signals: the trainer saves first, then ends its workers.

    A terminal or a cluster sends them to every process of a run; only the trainer acts on them, and
    its SIGTERM alone ends a worker.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if CAN_WAIT:
        threading.Thread(target=_end_with_trainer, args=(os.getppid(),), daemon=True).start()


def _end_with_trainer(trainer: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != trainer:
        pass
    os._exit(0)
