"""Memory that loader processes share with the trainer and use again for later batches.

A new piece of shared memory for every batch costs both sides time, for its pages: 0.1 ms an image
of 224 x 224 bytes. A loader process keeps what it made; the trainer marks what it no longer needs.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import default_collate

# Of a loader process: for three updates of eight groups, or six batches of VOLO. Made when needed;
# beyond them memory is used once.
NUM_BUFFERS = 32
FREE, SENT, HELD = range(3)  # SENT: on its way to the trainer, or lost with an epoch left early


def new_states(workers: int) -> Tensor:
    """Return the states of all buffers, which every process sees: workers x NUM_BUFFERS, uint8."""
    return torch.full((workers, NUM_BUFFERS), FREE, dtype=torch.uint8).share_memory_()


def stack(parts: Sequence[Tensor], buffers: Buffers | None = None) -> Tensor:
    """Return alike tensors as one, in memory that the trainer can see where ``buffers`` are given.

    Args:
        parts: images that lie in memory pixel by pixel stay so.
        buffers: those of this loader process; None = this is the trainer.
    """
    if _pixel_by_pixel(parts[0]):
        return stack([part.permute(1, 2, 0) for part in parts], buffers).permute(0, 3, 1, 2)
    return torch.stack(list(parts)) if buffers is None else buffers.stack(parts)


def _pixel_by_pixel(part: Tensor) -> bool:
    return part.dim() == 3 and not part.is_contiguous() and part.permute(1, 2, 0).is_contiguous()


class Buffers:
    """The buffers of one loader process, in that process.

    Args:
        states: the states of its buffers: NUM_BUFFERS, uint8, shared.
    """

    def __init__(self, states: Tensor):
        self._states, self._buffers = states, [torch.empty(0, dtype=torch.uint8)] * NUM_BUFFERS
        self._round = -1

    def begin(self, number: int) -> None:
        """Take back what was sent in earlier rounds; the trainer begins one when none is left.

        Args:
            number: number of the round of requests.
        """
        if number != self._round:
            self._states[self._states == SENT] = FREE
            self._round = number

    def stack(self, parts: Sequence[Tensor]) -> Tensor:
        """Return alike tensors as one in a free buffer; in other shared memory if none is free."""
        size = sum(part.nbytes for part in parts)
        place = self._place(size)
        if place is None:
            return default_collate(list(parts))
        if self._buffers[place].nbytes < size:
            self._buffers[place] = torch.empty(size, dtype=torch.uint8).share_memory_()
        self._states[place] = SENT
        joined = self._buffers[place][:size].view(parts[0].dtype).view(-1, *parts[0].shape)
        return torch.stack(list(parts), out=joined)

    def place_of(self, tensor: Tensor) -> int | None:
        """Return the number of the buffer that a tensor lies in; None = in no buffer."""
        pointer = tensor.untyped_storage().data_ptr()
        found = (i for i, buffer in enumerate(self._buffers) if buffer.data_ptr() == pointer)
        return next(found, None)

    def _place(self, size: int) -> int | None:
        """Return the smallest free buffer that is large enough, else one to be made anew."""
        free = (self._states == FREE).nonzero().flatten().tolist()
        sizes = {place: self._buffers[place].nbytes for place in free}
        fitting = [place for place in free if sizes[place] >= size]
        return min(fitting or free, key=sizes.get, default=None)


class Borrowed:
    """What the trainer holds of the buffers of its loader processes.

    Args:
        states: states of all buffers, workers x NUM_BUFFERS.
    """

    def __init__(self, states: Tensor):
        self._states = states
        self._known: dict[tuple[int, int], Tensor] = {}  # keeps the memory mapped into this process
        self._watched: dict[tuple[int, int], weakref.ref] = {}

    def lend(self, tensor: Tensor, place: tuple[int, int]) -> Tensor:
        """Return a tensor whose buffer is free as soon as nothing shares its memory any more.

        Args:
            tensor: what came from a loader process.
            place: number of the process and of its buffer.
        """
        array = tensor.numpy()
        self._known[place], self._states[place] = tensor, HELD
        self._watched[place] = weakref.ref(array, partial(self._free, place))
        return torch.from_numpy(array)  # holds the array as long as anything shares its memory

    def copied(self, tensor: Tensor, place: tuple[int, int]) -> None:
        """Free the buffer of a tensor that has been copied.

        Args:
            tensor: what came from a loader process.
            place: number of the process and of its buffer.
        """
        self._known[place], self._states[place] = tensor, FREE

    def _free(self, place: tuple[int, int], _: object) -> None:
        self._states[place] = FREE
