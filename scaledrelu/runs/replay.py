"""Trains the last steps of a finished run again, in a folder of its own, with every module watched.

The loop, the updates and the judge are those of training; nothing is written into the run's folder.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scaledrelu.config.places import METRICS, runs_root
from scaledrelu.config.run import RunConfig
from scaledrelu.config.stored import CONFIG_YAML
from scaledrelu.engine.checkpoint import read_checkpoint
from scaledrelu.engine.distributed import World, join_world
from scaledrelu.engine.logbook import Logbook
from scaledrelu.engine.loop import train
from scaledrelu.engine.saved import LAST, PREVIOUS
from scaledrelu.engine.watch import Seen, watching
from scaledrelu.errors import CheckpointError, ConfigError, RunError, nearest
from scaledrelu.runs.build import build
from scaledrelu.runs.planned import read_planned
from scaledrelu.runs.provenance import device_name
from scaledrelu.runs.record import read_result, run_directory
from scaledrelu.runs.result import COLLAPSED, Outcome, Result

FEWEST_STEPS = 5  # of a replay, if a checkpoint is that far from the crash
PLAIN = (  # to be watched
    "launch.compile=false",
    "launch.groups_at_once=false",
    "launch.progress=false",
    "launch.nproc=1",
)


@dataclass(frozen=True, slots=True)
class State:
    """Weights and everything else that a run can go on from; ``path`` None: before training."""

    step: int
    path: Path | None


@dataclass(frozen=True, slots=True)
class Crashed:
    """A run that crashed, and what is left of it.

    Attributes:
        config: as it was trained, on one process of this machine.
        result: its result.
        states: what it can be replayed from, earliest first; none lies behind the crash.
    """

    config: RunConfig
    result: Result
    states: tuple[State, ...]

    @property
    def step(self) -> int:
        """The step at which the crash showed, from 0."""
        return self.result.crash["step"]

    @property
    def is_collapse(self) -> bool:
        """Whether it ended dead, with a finite loss."""
        return self.result.crash["kind"] == COLLAPSED

    @property
    def dead_from(self) -> int | None:
        """First step of the dead stretch that a collapsed run ended in."""
        return self.result.dead_from

    @property
    def state(self) -> State:
        """What the last steps are replayed from: the latest state that leaves a few of them.

        The start of the run only where it is no farther than a checkpoint would be.
        """
        near = self.step < 2 * self.config.launch.checkpoint_every_steps
        states = [state for state in self.states if state.path or near]
        early = [state for state in states if self.step - state.step >= FEWEST_STEPS]
        return early[-1] if early else states[0]


@dataclass(frozen=True, slots=True)
class Replay:
    """What one replay showed.

    Attributes:
        state: where it started.
        autocast: ``none`` (fp32), ``fp16`` or ``bf16``.
        seen: its updates.
        losses: step -> loss, of the last updates.
        grad_norms: step -> norm of the gradient, of the same.
        device: what it ran on.
    """

    state: State
    autocast: str
    seen: tuple[Seen, ...]
    losses: dict[int, float]
    grad_norms: dict[int, float]
    device: str


def find_crashed(results: str | Path, run_id: str, *, trust: Sequence[str] = ()) -> Crashed:
    """Return a run that crashed and can be replayed.

    Args:
        results: folder that holds ``runs/<run_id>``.
        run_id: the run.
        trust: further modules that its configuration may name.

    Raises:
        ConfigError: no such run, or one that did not crash, its data have changed, or it names
            code that is not trusted.
        RunError: its checkpoint is gone.
    """
    folder = run_directory(results, run_id)
    if not folder.is_dir():
        known = [path.name for path in runs_root(results).glob("[!.]*")]
        raise ConfigError(f"{run_id}: no such run in {results}{nearest(run_id, known)}")
    result = read_result(folder)
    if result is None:
        raise ConfigError(f"{run_id}: has no result yet; an autopsy needs a run that crashed")
    if result.outcome is not Outcome.CRASH:
        raise ConfigError(f"{run_id}: did not crash ({result.outcome}); there is nothing to find")
    crash_step, config = result.crash["step"], None
    states = _checkpoints(folder, before=crash_step + 1)
    if (folder / CONFIG_YAML).is_file():
        changes = [*PLAIN, "launch.fp16_on_cpu=true"]
        changes += [f"trust=[{','.join(trust)}]"] if trust else []
        config = read_planned(results, run_id, changes=changes)
    never_saved = config is not None and crash_step < config.launch.checkpoint_every_steps
    if config is None or not (states or never_saved):
        raise RunError(
            f"{run_id}: its checkpoint is gone, so its last steps cannot be trained again; train "
            f"the run anew (redo={run_id}) and look at it before its folder is cleaned"
        )
    return Crashed(config, result, (State(0, None), *states))


def replay(crashed: Crashed, state: State, *, until: int, autocast: str | None = None) -> Replay:
    """Train from a state through a step, watching every module.

    Args:
        crashed: the run.
        state: one of its states.
        until: the last step to train; the judge may stop before.
        autocast: another precision than the run's; None = its own.
    """
    config = crashed.config
    if autocast is not None:
        config = replace(config, precision=replace(config.precision, autocast=autocast))
    launch = config.launch
    with (
        tempfile.TemporaryDirectory(prefix="replay-") as place,
        join_world(device=launch.device, timeout_s=launch.timeout_s) as world,
    ):
        if state.path is not None:
            shutil.copyfile(state.path, Path(place) / LAST)
            metrics = state.path.with_name(METRICS)
            if metrics.is_file():  # the loop cuts it to the length that the checkpoint knows
                shutil.copyfile(metrics, Path(place) / METRICS)
        return _train(config, world, Path(place), state, until, run_id=crashed.result.run_id)


def _train(
    config: RunConfig, world: World, place: Path, state: State, until: int, *, run_id: str
) -> Replay:
    job = build(config, world)
    training, step = replace(job.training, run_id=run_id), state.step  # at any precision
    logbook = Logbook(place, name="replay", images_per_step=1)
    try:
        with watching(training.task) as watch:

            def wants_stop() -> bool:  # the loop asks once an update, when its gradient is there
                nonlocal step
                scale = training.scaler.get_scale() if training.scaler is not None else 1.0
                watch.end_update(step, scale=scale)
                step += 1
                return step > until

            train(training, folder=place, logbook=logbook, wants_stop=wants_stop)
    finally:
        logbook.close()
        job.close()
    rows = [row for row in training.judge.last_observations() if row["step"] >= state.step]
    return Replay(
        state=state,
        autocast=config.precision.autocast,
        seen=tuple(seen for seen in watch.seen if seen.step <= until),
        losses={int(row["step"]): row["loss"] for row in rows},
        grad_norms={int(row["step"]): row["grad_norm"] for row in rows},
        device=device_name(world.device),
    )


def _checkpoints(folder: Path, *, before: int) -> list[State]:
    """Return the readable checkpoints that have steps left before the crash, earliest first."""
    found = {}
    for name in (LAST, PREVIOUS):
        try:
            state = read_checkpoint(folder / name, entries=("cursor",), run_id=folder.name)
        except CheckpointError:
            continue
        step = state["cursor"]["step"]
        if step < before:
            found[step] = State(step, folder / name)
    return [found[step] for step in sorted(found)]
