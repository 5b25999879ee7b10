"""What "crash" means in the runs behind a report, as one sentence read from their configuration.

Decides the wording only; the rule is applied in ``engine/windows.py``, and a test compares the two.
Imports no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scaledrelu.config.run import RunConfig


@dataclass(frozen=True, slots=True)
class Chance:
    """The judged loss of a model that knows nothing.

    Attributes:
        text: the loss as a formula, e.g. ``ln 10``.
        value: None where the number of classes is counted from the data.
        loss: what is judged, in words.
    """

    text: str
    value: float | None
    loss: str


def crash_sentence(config: RunConfig, *, num_classes: int | None = None) -> str:
    """Say in one sentence when a run of this configuration counts as crashed.

    Args:
        config: a run's configuration.
        num_classes: counted from the data where the configuration does not say.
    """
    rule, chance = config.divergence, chance_of(config, num_classes)
    limit = f"{rule.ratio:g} x {chance.text}"
    if chance.value is not None:
        limit += f" = {rule.ratio * chance.value:.2f}"
    start = (
        f"A {config.method} run counts as a crash as soon as a loss or, without a loss scaler, a "
        "gradient is not finite"
    )
    if rule.ratio > 1 and not rule.stop:  # no finite run is meant
        return (
            f"{start}; one that has learned nothing is not a crash here, since the limit of the "
            f"mean {chance.loss} of the last {_length(config)}, {limit}, is above a uniform "
            f"guess's {chance.text}."
        )
    end = f"the mean {chance.loss} of the last {_length(config)} lies above {limit}"
    if rule.stop:
        end = (
            f"the mean {chance.loss} lies above {limit} for {rule.patience} {_windows(config)} "
            f"in a row from {_beginning(config)} on, which ends the run, or in the last one"
        )
    among = " among C classes" if chance.value is None else ""
    return f"{start}, or if {end} ({chance.text} is the loss of a uniform guess{among})."


def chance_of(config: RunConfig, num_classes: int | None) -> Chance:
    """Return the level that a run's loss is compared with, as its task computes it.

    Args:
        config: the run's configuration.
        num_classes: classes of the data set; None = ``data.num_classes``.
    """
    task = config.task
    if "out_dim" in task:  # a guess among prototypes
        return Chance(f"ln {task['out_dim']}", math.log(task["out_dim"]), "training loss")
    classes = num_classes or config.data.num_classes
    text, value = f"ln {classes or 'C'}", math.log(classes) if classes else None
    if "token_weight" in task:
        weight = task["class_weight"] + task["token_weight"]
        return Chance(f"{weight:g} {text}", value and weight * value, "training loss")
    loss = "identity loss" if "id_weight" in task else "training loss"
    return Chance(text, value, loss)


def _length(config: RunConfig) -> str:
    return _span(config, config.divergence.window)


def _windows(config: RunConfig) -> str:
    length = _length(config)
    return "epochs" if length == "epoch" else f"windows of {length}"


def _beginning(config: RunConfig) -> str:
    at = _span(config, config.divergence.judge_at)
    if config.divergence.judge == "fraction":
        return at
    return f"{'one epoch' if at == 'epoch' else at} after warm-up"


def _span(config: RunConfig, number: float) -> str:
    """Return a length of ``divergence`` in words that follow "the last"."""
    if config.divergence.judge == "fraction":
        return f"{100 * number:g} % of the run"
    schedule = config.schedule
    if config.profile.epoch_scale != 1:
        return f"{number:g}/{schedule.total_epochs} of the run"
    return "epoch" if number == 1 else f"{number:g} epochs"
