"""What our runs had reached at the epochs that the paper speaks of.

Decides which epoch of ours stands for one of the paper: the one that ends nearest to the same share
of the schedule. What is written of it is decided elsewhere (``milestones.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scaledrelu.config.milestones import Milestone, Milestones
from scaledrelu.config.run import RunConfig
from scaledrelu.reports.histories import History, read_history
from scaledrelu.reports.statistics import Estimate, estimate
from scaledrelu.tables.plan import Cell, Plan


@dataclass(frozen=True, slots=True)
class Reached:
    """One milestone and what our runs had reached there.

    Attributes:
        milestone: the paper's.
        cell: the row of its runs.
        histories: one per seed.
        run_epoch: the epoch of ours that stands for the paper's.
        within: points that a run may differ on the paper's data.
    """

    milestone: Milestone
    cell: Cell
    histories: tuple[History, ...]
    run_epoch: int
    within: float

    @property
    def values(self) -> dict[int, float]:
        """Seed -> value after that epoch, of the runs that were evaluated there."""
        return {
            history.run.seed: point.value
            for history in self.histories
            for point in history.validation
            if abs(point.epochs - self.run_epoch) < 1e-6
        }

    @property
    def size(self) -> Estimate | None:
        """Mean over the seeds."""
        return estimate(list(self.values.values()))

    @property
    def as_paper_epoch(self) -> float:
        """The epoch of the paper's schedule that our epoch stands for."""
        return self.run_epoch / self.cell.composed.config.profile.epoch_scale

    @property
    def why_not(self) -> str:
        """Why ours says nothing of the paper's epoch; empty where it does."""
        return why_not_compared(self.milestone.epoch, self.cell.composed.config)

    @property
    def delta(self) -> float | None:
        """Ours minus the paper's; only on the paper's data and over the paper's length."""
        config = self.cell.composed.config
        same = self.cell.on_papers_data and config.profile.epoch_scale == 1
        same = same and not self.why_not
        return self.size.mean - self.milestone.paper if same and self.size else None

    @property
    def on_track(self) -> str:
        """Whether the mean is near enough; empty where that is not to be compared."""
        if self.delta is None:
            return ""
        return "yes" if abs(self.delta) <= self.within else "no"

    @property
    def lacking(self) -> list[str]:
        """Which runs have no value here, and why."""
        found = []
        for history in self.histories:
            if history.run.seed not in self.values:
                why = history.absent or f"not evaluated after epoch {self.run_epoch}"
                found.append(f"seed {history.run.seed}, `{history.run.run_id}`: {why}")
        return found


def read_reached(plan: Plan, milestones: Milestones, one: Milestone) -> Reached:
    """Return what the runs of a milestone had reached.

    Args:
        plan: the runs behind the milestones, in the order in which these first name them.
        milestones: the paper's.
        one: one of them.
    """
    runs = list(dict.fromkeys(item.run for item in milestones.items))
    number = runs.index(one.run) + 1
    cell = next(
        cell
        for cell in plan.cells
        if cell.row.number == number and cell.column.source == one.metric
    )
    histories = [read_history(plan, plan.runs[name], one.metric) for name in cell.run_ids]
    epoch = epoch_of_run(one.epoch, cell.composed.config)
    return Reached(one, cell, tuple(histories), epoch, milestones.within(one))


def why_not_compared(epoch: int, config: RunConfig) -> str:
    """Say why no value of a run stands for an epoch of the paper; empty where one does.

    Args:
        epoch: finished epochs of the paper's schedule.
        config: the run's configuration.
    """
    profile, every = config.profile, config.evaluation.every_epochs
    ours = epoch * profile.epoch_scale
    if ours < every / 2:
        return (
            f"epoch {epoch} of the paper is epoch {ours:.2g} here, and no evaluation lies near it"
        )
    read = epoch_of_run(epoch, config)
    warmup = config.warmup.length(profile.warmup_scale) * profile.epoch_scale
    if read > warmup or epoch <= config.warmup.length(1):
        return ""
    return (
        f"epoch {epoch} of the paper is epoch {read:g} here, inside our warm-up of {warmup:.3g} "
        f"epochs; the paper's ends with epoch {config.warmup.length(1):g}"
    )


def nearest_evaluation(epochs: float, made: Iterable[float]) -> float:
    """Return the evaluation nearest to an epoch, of two alike the earlier.

    Args:
        epochs: finished epochs.
        made: epochs after which a run was evaluated.
    """
    return min(sorted(made), key=lambda one: abs(one - epochs))


def epoch_of_run(epoch: int, config: RunConfig) -> int:
    """Return the evaluation of a run that is nearest to an epoch of the paper, in finished epochs.

    Args:
        epoch: finished epochs of the paper's schedule.
        config: the run's configuration.
    """
    every, last = config.evaluation.every_epochs, config.run_epochs
    made = (*range(every, last, every), last)
    return int(nearest_evaluation(epoch * config.profile.epoch_scale, made))
