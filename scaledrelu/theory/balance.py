"""What weight decay does to the two halves of Theorem 1's penalty over a run, measured.

Under an L2 penalty in the loss, and gradient descent, ``|w_c|`` and ``|(alpha, beta)_c|`` become
equal. The official optimizer spares alpha and beta, and AdamW's decay is no penalty in the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.run import RunConfig
from scaledrelu.runs.optimisation import build_schedule
from scaledrelu.theory.plan import TheoryRun
from scaledrelu.theory.records import Norms, channel_norms
from scaledrelu.theory.theorem1 import descend, imbalance_left

PAPER_IMAGES = 1_281_167  # of ImageNet-1k's training set
TOY_DECAY, TOY_RATE, TOY_STEPS = 0.5, 1e-3, 1000


@dataclass(frozen=True, slots=True)
class Balance:
    """One run: how much weight decay took in all, and its norms per channel along training.

    Attributes:
        run: which run.
        decays_all: whether alpha and beta decay, too.
        weight_decay: strength.
        decay_done: sum over its steps of learning rate times weight decay.
        norms: of every pair that its network has.
    """

    run: TheoryRun
    decays_all: bool
    weight_decay: float
    decay_done: float
    norms: dict[str, Norms]


@dataclass(frozen=True, slots=True)
class Flow:
    """Gradient descent on a penalised loss: which share of the imbalance is left."""

    predicted: float
    measured: tuple[float, float]  # least and most over channels


def measure(runs: Sequence[TheoryRun]) -> list[Balance]:
    """Return what the finished runs recorded; a crash by collapse has its record, too."""
    return [_balance(run) for run in runs if run.run.status.done]


def decay_done(config: RunConfig, steps_per_epoch: int) -> float:
    """Return the sum over all steps of learning rate times weight decay.

    Args:
        config: the run's configuration.
        steps_per_epoch: updates per epoch of the run.
    """
    schedule = build_schedule(config, steps_per_epoch)
    rates = (schedule.at(step) for step in range(schedule.total_steps))
    return math.fsum(rates) * config.optimizer.build["weight_decay"]


def papers_decay_done(conf_dir: Path) -> float:
    """Return the same for the first row of the paper's recipe with this learning rate."""
    asked = ("recipe=deit", "model=vit_small", "stem=conv", "lr.base=5e-4", "profile=paper")
    config = compose_unpinned(asked, conf_dir=conf_dir)
    return decay_done(config, PAPER_IMAGES // config.batch.total)


def flow() -> Flow:
    """Descend on a penalised loss and compare the imbalance that is left with its closed form."""
    target = np.random.default_rng(0).normal(size=(8, 16))
    start = np.square(0.5 * target).sum(axis=1) - 1
    scale, weight = descend(target, TOY_DECAY, rate=TOY_RATE, steps=TOY_STEPS)
    left = (np.square(weight).sum(axis=1) - np.square(scale)) / start
    predicted = imbalance_left(TOY_DECAY * TOY_RATE * TOY_STEPS)
    return Flow(predicted, (float(left.min()), float(left.max())))


def _balance(run: TheoryRun) -> Balance:
    config, steps = run.run.config, run.run.result.provenance["steps"]
    return Balance(
        run=run,
        decays_all=config.optimizer.decay_all,
        weight_decay=config.optimizer.build["weight_decay"],
        decay_done=decay_done(config, steps // config.run_epochs),
        norms=channel_norms(run.folder),
    )
