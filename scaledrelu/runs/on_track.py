"""During a run at paper scale, the log says at the paper's epochs whether the run is on track.

Decides which values of the paper a run may be compared with: those whose run has the same science
in everything that its overrides name, at the paper's length and on the paper's data. It only reads
what an evaluation found; training, ids and results do not know of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.identity import canonical
from scaledrelu.config.milestones import HALF_GAP, Milestone, Milestones, load_milestones
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.distributed import World
from scaledrelu.engine.loop import Evaluation, Training
from scaledrelu.errors import ConfigError
from scaledrelu.tasks.base import Progress

log = logging.getLogger(__name__)

PAPER = "profile=paper"
HOW_JUDGED = ("defaults", "method", "evaluation")  # parts of a recipe that train nothing


@dataclass(frozen=True, slots=True)
class Watched:
    """An evaluation that says afterwards how far the run is beside the paper's.

    Attributes:
        evaluate: the evaluation itself.
        milestones: all of the paper's.
        expected: those that this run is compared with.
    """

    evaluate: Callable[[Progress], Evaluation]
    milestones: Milestones
    expected: Sequence[Milestone]

    def __call__(self, t: Progress) -> Evaluation:
        """Evaluate, log, and return what was found."""
        found = self.evaluate(t)
        epochs, rest = divmod(t.step + 1, t.steps_per_epoch)
        for one in self.expected:
            if rest == 0 and one.epoch == epochs and one.metric in found.metrics:
                log.info("%s", verdict(one, found.metrics[one.metric], self.milestones))
        return found


def watch(training: Training, config: RunConfig, world: World) -> Training:
    """Return the training with an evaluation that says whether it is on track.

    On the main process only, and only where the paper says something of a run of this kind.

    Args:
        training: what the run trains with.
        config: the run's configuration.
        world: this process's place among the run's processes.
    """
    if not world.is_main or config.profile.epoch_scale != 1:
        return training
    try:
        milestones = load_milestones()
        alike = {run: is_of_this_kind(run, config) for run in {m.run for m in milestones.items}}
    except ConfigError as error:  # a missing log line must not end a run
        log.info("  not compared with the paper's values during training (%s)", error)
        return training
    expected = [one for one in milestones.items if alike[one.run]]
    if not expected:
        return training
    return replace(training, evaluate=Watched(training.evaluate, milestones, expected))


def verdict(milestone: Milestone, value: float, milestones: Milestones) -> str:
    """Return one line: where the run is, where the paper's was, and whether that is near enough.

    Args:
        milestone: the paper's value.
        value: the run's.
        milestones: all of them, with the tolerance.
    """
    within = milestones.within(milestone)
    on = abs(value - milestone.paper) <= within
    rule = ", half of the way to the other stem's" if milestones.tolerance == HALF_GAP else ""
    return (
        f"epoch {milestone.epoch}: {milestone.metric} {value:.1f}, the paper's run of this kind "
        f"had {milestone.paper:g} ({milestone.claim}): {'on' if on else 'off'} track "
        f"({'within' if on else 'not within'} {within:.2g} points{rule})"
    )


def is_of_this_kind(overrides: Sequence[str], config: RunConfig) -> bool:
    """Say whether a run may be compared with what the paper says of a run.

    Its images must be the paper's, and all that the overrides of the paper's run name must be as
    they make it at paper scale: a group as a whole, a single value alone, a recipe in what it
    writes about training. What they do not name, such as the seed, may differ.

    Args:
        overrides: Hydra overrides of the run that the paper means.
        config: the run's configuration.

    Raises:
        ConfigError: overrides that do not compose.
    """
    papers = compose_unpinned([*overrides, PAPER])
    if (config.method, *_images(config)) != (papers.method, *_images(papers)):
        return False
    ours, theirs = canonical(config), canonical(papers)
    keys = [key for item in overrides for key in _named(item)]
    return all(_value(ours, key) == _value(theirs, key) for key in keys)


def _images(config: RunConfig) -> tuple[Any, ...]:
    """Return which images a run sees, how large, and which share of them."""
    return config.data.name, config.data.size, config.data.fraction


def _named(override: str) -> list[str]:
    """Return the keys that an override sets."""
    name, _, option = override.partition("=")
    if name != "recipe":
        return [name]
    written = yaml.safe_load((CONF_DIR / "recipe" / f"{option}.yaml").read_text())
    return [key for key in written if key not in HOW_JUDGED]


def _value(science: Mapping[str, Any], key: str) -> Any:
    """Return what stands under a dotted key; None for what is not science or dropped as neutral."""
    value: Any = science
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
