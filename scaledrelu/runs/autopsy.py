"""Which module went bad first in a run that crashed, from a replay of its last steps.

Says what was seen and no more: the first module with a bad value is where a crash became visible,
which need not be where it began.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scaledrelu.engine.watch import LOSS, OUTPUT, WEIGHT_GRADIENT, Event, Seen
from scaledrelu.runs.replay import Crashed, Replay, State, replay

FP32 = "none"  # precision.autocast of full precision
KINDS = ("output", "spread", "gradient")  # of a part, as the table has them


@dataclass(frozen=True, slots=True)
class Finding:
    """The first bad value of a replay.

    Attributes:
        step: update, from 0.
        event: where, and what it was.
        weight: largest weight of the module before that update; None if it has none.
        before: size of the same at the first update of the replay; None if that was the first.
    """

    step: int
    event: Event
    weight: float | None
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a replay repeats what was recorded.

    Attributes:
        steps: number of steps that both have.
        largest: largest difference of a loss or gradient norm, relative; 0 = the same bits.
    """

    steps: int
    largest: float


@dataclass(frozen=True, slots=True)
class Part:
    """Largest values of one part of the network at one update."""

    output: float
    spread: float | None
    gradient: float


@dataclass(frozen=True, slots=True)
class Change:
    """One value of one part, alive and dead."""

    part: str
    kind: str  # output | spread | gradient
    alive: float
    dead: float


@dataclass(frozen=True, slots=True)
class Autopsy:
    """Everything that an autopsy found.

    Attributes:
        crashed: the run.
        own: replay in the run's precision, to the crash.
        full: the same in fp32; None where that is the run's precision.
        healthy: what a collapsed run is compared with: one update from before it died.
        healthy_is_start: whether that is the first update of the run.
    """

    crashed: Crashed
    own: Replay
    full: Replay | None
    healthy: Seen
    healthy_is_start: bool


def examine(crashed: Crashed) -> Autopsy:
    """Replay a crashed run in its own precision and in fp32."""
    state = crashed.state
    own = replay(crashed, state, until=crashed.step)
    is_full = own.autocast == FP32
    full = None if is_full else replay(crashed, state, until=crashed.step, autocast=FP32)
    alive = _last_alive(crashed)
    healthy = own.seen[0]
    if alive.step != state.step:
        healthy = replay(crashed, alive, until=alive.step).seen[0]
    return Autopsy(crashed, own, full, healthy, alive.path is None)


def compare(crashed: Crashed, own: Replay) -> Comparison:
    """Compare a replay with the losses and gradient norms that the run's record holds.

    Args:
        crashed: the run.
        own: a replay in its precision.
    """
    steps, largest = 0, 0.0
    for row in crashed.result.crash["last"]:
        step = int(row["step"])
        if step in own.losses:
            steps += 1
            largest = max(largest, _difference(float(row["loss"]), own.losses[step]))
            largest = max(largest, _difference(float(row["grad_norm"]), own.grad_norms[step]))
    return Comparison(steps, largest)


def first_not_finite(seen: Iterable[Seen], *, skipped_by_scaler: bool) -> Finding | None:
    """Return the first value that was not finite where everything before it was.

    A module is meant whose own inputs were finite; what happens between the parts of a module is
    its own. A gradient counts only in an update whose outputs were all finite, and not where a
    loss scaler skips such an update.

    Args:
        seen: updates in order.
        skipped_by_scaler: whether the run had a loss scaler.
    """
    for one in seen:
        forward = [e for e in one.events if e.what == OUTPUT and not math.isfinite(e.size)]
        if forward:
            event = next((e for e in forward if math.isfinite(e.fed)), forward[0])
            return Finding(one.step, event, one.weights.get(event.module))
        backward = [e for e in one.events if e.what != OUTPUT and not math.isfinite(e.size)]
        if backward and not skipped_by_scaler:
            return Finding(one.step, backward[0], one.weights.get(backward[0].module))
    return None


def norm_overflow(one: Replay) -> Finding | None:
    """Return the largest gradient of the first update in which their norm alone was not finite.

    Every output and gradient is finite there: what overflows is the sum of their squares.
    """
    for seen in one.seen:
        norm = one.grad_norms.get(seen.step, 0.0)
        gradients = [event for event in seen.events if event.what == WEIGHT_GRADIENT]
        finite = all(math.isfinite(event.size) for event in seen.events)
        if gradients and finite and not math.isfinite(norm):
            largest = max(gradients, key=lambda event: event.size)
            return Finding(seen.step, largest, seen.weights.get(largest.module))
    return None


def first_grown(seen: Iterable[Seen], *, factor: float) -> Finding | None:
    """Return the first output that became larger than ``factor`` times what it was.

    Args:
        seen: updates in order; the first is what later ones are compared with.
        factor: how much larger.
    """
    start: dict[str, float] = {}
    for number, one in enumerate(seen):
        for event in (e for e in one.events if e.what == OUTPUT and e.module != LOSS):
            if number == 0:
                start[event.module] = max(event.size, start.get(event.module, 0.0))
            elif event.size > factor * start.get(event.module, math.inf):
                weight = one.weights.get(event.module)
                return Finding(one.step, event, weight, start[event.module])
    return None


def parts_of(seen: Seen) -> dict[str, Part]:
    """Return the largest values of each part of the network, in the order of the forward pass."""
    inner = {e.module for e in seen.events}
    leaves = [e for e in seen.events if not any(m.startswith(f"{e.module}.") for m in inner)]
    grouped: dict[str, list[Event]] = {}
    for event in leaves:
        if event.what == OUTPUT:
            grouped.setdefault(_part_name(event.module), [])
    for event in leaves:
        if _part_name(event.module) in grouped:
            grouped[_part_name(event.module)].append(event)
    return {name: _part(events) for name, events in grouped.items()}


def _part_name(module: str) -> str:
    """Return the part of the network that a module belongs to: a block, or a layer of the stem."""
    words = module.split(".")
    numbered = next((i for i, word in enumerate(words) if word.isdigit()), 1)
    return ".".join(words[: numbered + 1])


def changes(alive: Mapping[str, Part], dead: Mapping[str, Part], *, factor: float) -> list[Change]:
    """Return what became larger or smaller than a factor allows, in the order of the forward pass.

    Args:
        alive: parts of a network that learns.
        dead: the same parts when it is dead.
        factor: how much a value may change.
    """
    found = []
    for name, part in dead.items():
        for kind in KINDS if name in alive else ():
            before, after = getattr(alive[name], kind), getattr(part, kind)
            if None not in (before, after) and (after > factor * before or before > factor * after):
                found.append(Change(name, kind, before, after))
    return found


def _last_alive(crashed: Crashed) -> State:
    """Return the last state from before a collapsed run died; for others the one replayed from."""
    if not crashed.is_collapse or crashed.dead_from is None:
        return crashed.state
    return [state for state in crashed.states if state.step <= crashed.dead_from][-1]


def _part(events: Sequence[Event]) -> Part:
    outputs = [event for event in events if event.what == OUTPUT]
    spreads = [event.spread for event in outputs if event.spread is not None]
    return Part(
        output=_max(event.size for event in outputs),
        spread=spreads[-1] if spreads else None,
        gradient=_max(event.size for event in events if event.what != OUTPUT),
    )


def _max(numbers: Iterable[float]) -> float:
    """Return the largest; no number if one is none, which max() would hide."""
    found = list(numbers)
    return math.nan if any(math.isnan(n) for n in found) else max(found, default=0.0)


def _difference(one: float, other: float) -> float:
    """Return how far two numbers are apart, relative to the larger; 0 for the same bits."""
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    return abs(one - other) / max(abs(one), abs(other))
