"""Watches every module of a task during training updates, without changing a bit of them.

For each update: what went into and came out of every module, and which gradients came back, in
the order of time. Hooks only read; what they read stays on the device until an update ends, and
then comes to the host at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

LOSS = "the loss"  # the task itself, whose output is the loss
OUTPUT, GRADIENT, WEIGHT_GRADIENT = "output", "gradient at its output", "gradient of its weights"
NOTHING = 0.0
PIECE = 2**22  # elements of an output that are held in float64 at a time: 32 MiB a copy


@dataclass(frozen=True, slots=True)
class Event:
    """One tensor, or several together, at one place.

    Attributes:
        module: name within the task.
        what: ``OUTPUT``, ``GRADIENT`` or ``WEIGHT_GRADIENT``.
        size: largest magnitude; infinite or no number where one element is.
        fed: largest magnitude of what went in; 0 for gradients.
        spread: standard deviation over the images, as a share of the root mean square: 0 where the
            output no longer depends on the image; None for gradients and single images.
    """

    module: str
    what: str
    size: float
    fed: float = NOTHING
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One update: its events in the order of time, and the weights that it started from."""

    step: int
    events: tuple[Event, ...]
    weights: Mapping[str, float]  # module -> largest magnitude of its own parameters


@dataclass(slots=True)
class Watch:
    """Collects the events of one update after the other; see :func:`watching`."""

    task: nn.Module
    seen: list[Seen] = field(default_factory=list)
    _open: list[tuple[str, str, tuple[Tensor, ...]]] = field(default_factory=list)

    def end_update(self, step: int, *, scale: float) -> None:
        """Take what happened since the last call for one update.

        Args:
            step: the update, from 0.
            scale: loss scale, by which gradients are divided.
        """
        sizes = {name: _largest(list(own)) for name, own in _own_parameters(self.task).items()}
        reads = [value for _, _, read in self._open for value in read]
        values = iter(_on_host([*reads, *sizes.values()]))
        events = []
        for module, what, _ in self._open:
            if what == OUTPUT:
                size, fed, spread = islice(values, 3)
                kept = None if spread < 0 else spread
                events.append(Event(module, what, size, fed, kept))
            else:
                events.append(Event(module, what, next(values) / scale))
        self._open.clear()
        self.seen.append(Seen(step, tuple(events), dict(zip(sizes, values, strict=True))))

    def see_output(self, name: str, _: nn.Module, inputs: Any, output: Any) -> None:
        """Read what goes in and out of a module; follow the gradient of what comes out.

        Args:
            name: the module's name.
            _: the module, which a hook is given.
            inputs: its arguments.
            output: what it returned.
        """
        found = _tensors(output)
        if not found or not self.task.training:  # evaluations are no updates
            return
        fed = _largest(_tensors(inputs)) if _tensors(inputs) else torch.zeros_like(_largest(found))
        self._open.append((name, OUTPUT, (_largest(found), fed, _spread(found[0]))))
        for tensor in found:
            if tensor.requires_grad:
                tensor.register_hook(partial(self.see_gradient, name, GRADIENT))

    def see_gradient(self, name: str, what: str, gradient: Tensor) -> None:
        """Read a gradient.

        Args:
            name: the module's name.
            what: ``GRADIENT`` or ``WEIGHT_GRADIENT``.
            gradient: the gradient, scaled as the loss is.
        """
        self._open.append((name, what, (_largest([gradient]),)))


@contextmanager
def watching(task: nn.Module) -> Iterator[Watch]:
    """Watch the updates of a task while open.

    Args:
        task: not wrapped or compiled.
    """
    watch = Watch(task)
    handles = [
        module.register_forward_hook(partial(watch.see_output, name or LOSS))
        for name, module in task.named_modules()
        if not isinstance(module, nn.Identity)
    ]
    for name, own in _own_parameters(task).items():
        see = partial(watch.see_gradient, name, WEIGHT_GRADIENT)
        handles += [parameter.register_hook(see) for parameter in own if parameter.requires_grad]
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def _own_parameters(task: nn.Module) -> dict[str, list[nn.Parameter]]:
    found = {
        name or LOSS: list(module.parameters(recurse=False))
        for name, module in task.named_modules()
    }
    return {name: own for name, own in found.items() if own}


def _tensors(value: Any) -> list[Tensor]:
    """Return the floating-point tensors in what a module takes or returns."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() and value.numel() else []
    if isinstance(value, dict):
        value = list(value.values())
    elif dataclasses.is_dataclass(value):
        value = [getattr(value, one.name) for one in dataclasses.fields(value)]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _on_host(values: list[Tensor]) -> list[float]:
    """Return scalars of one device as numbers; the host waits for it once."""
    return torch.stack(values).tolist() if values else []


@torch.no_grad()
def _largest(tensors: list[Tensor]) -> Tensor:
    whole = [tensor.detach() for tensor in tensors]
    ends = [end.double() for tensor in whole for end in (tensor.amin(), tensor.amax())]
    return torch.stack(ends).abs().amax()  # not of every element, which would be a whole copy


@torch.no_grad()
def _spread(tensor: Tensor) -> Tensor:
    """Return the spread over the first dimension; -1 where there is none."""
    values = tensor.detach()
    if values.dim() < 2 or len(values) < 2:
        return torch.full((), -1.0, dtype=torch.float64, device=tensor.device)
    width = max(1, PIECE * values.shape[1] // values.numel())
    sums = torch.stack([_squares(piece.double()) for piece in values.split(width, dim=1)])
    size, varies = (sums.sum(dim=0) / values.numel()).sqrt()
    return torch.where(size == 0, torch.zeros_like(size), varies / size)


def _squares(values: Tensor) -> Tensor:
    """Return the sum of squares, and that of the differences from the mean over the images."""
    differences = values - values.mean(dim=0, keepdim=True)
    return torch.stack((values.square().sum(), differences.square().sum()))
