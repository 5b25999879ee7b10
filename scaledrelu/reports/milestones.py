"""What the paper says runs had reached after 5, 20 and 50 epochs, with ours beside it.

Writes ``<results>/<profile>/curves/milestones.{csv,md}`` from what the runs left; trains nothing.
An epoch of the paper is a share of its schedule; the epoch of ours that ends nearest to the same
share stands beside it, and the table says which one that is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.config.milestones import HALF_GAP, Milestone, Milestones, load_milestones
from scaledrelu.config.run import RunConfig
from scaledrelu.files import write_changed
from scaledrelu.reports.command import shown_overrides
from scaledrelu.reports.curves import FOLDER
from scaledrelu.reports.grid import line, signed
from scaledrelu.reports.histories import History, read_history
from scaledrelu.reports.statistics import Estimate, estimate
from scaledrelu.tables.plan import Cell, Plan
from scaledrelu.tables.planner import plan_loaded
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.spec import MISSING, Table, table_of

NAME = "milestones"
LABELS = {
    "components": {"caption": "components", "header": "components in conv-stem"},
    "lr": {"from": "lr.base"},
    "optimizer": {"from": "optimizer.label"},
    "wm-epoch": {"from": "warmup.epochs"},
}
COLUMNS = (
    "claim",
    "epoch",
    "metric",
    "paper",
    "run_epoch",
    "as_paper_epoch",
    "n",
    "mean",
    "ci",
    "delta",
    "on_track",
    "values",
    "run_ids",
    "note",
)  # docs/reports.md says what each holds


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
    def delta(self) -> float | None:
        """Ours minus the paper's; only on the paper's data and over the paper's length."""
        config = self.cell.composed.config
        same = self.cell.on_papers_data and config.profile.epoch_scale == 1
        return self.size.mean - self.milestone.paper if same and self.size else None

    @property
    def on_track(self) -> str:
        """Whether the mean is near enough; empty where that is not to be compared."""
        if self.delta is None:
            return ""
        return "yes" if abs(self.delta) <= self.within else "no"


def write_milestones(settings: Settings) -> list[Path]:
    """Write the table of the paper's epochs; nothing if none of its runs has finished.

    Args:
        settings: profile, seeds, results folder and overrides.

    Raises:
        ConfigError, TableError: what ``conf/figure/curves.yaml`` must not hold.
    """
    milestones = load_milestones(settings.conf_dir)
    plan = plan_loaded([_table(milestones)], settings)
    if not any(run.status.done for run in plan.runs.values()):
        return []
    reached = [_reached(plan, milestones, one) for one in milestones.items]
    place = settings.results / plan.profile / FOLDER / NAME
    texts = {"csv": csv_text(reached), "md": markdown(plan, milestones, reached)}
    return [write_changed(place.with_suffix(f".{kind}"), text) for kind, text in texts.items()]


def epoch_of_run(epoch: int, config: RunConfig) -> int:
    """Return the finished epochs of a run that stand for those of the paper; at least 1.

    Args:
        epoch: finished epochs of the paper's schedule.
        config: the run's configuration.
    """
    return min(max(1, round(epoch * config.profile.epoch_scale)), config.run_epochs)


def csv_text(reached: Sequence[Reached]) -> str:
    """Return one line per milestone.

    Args:
        reached: what our runs had reached.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in reached:
        size, values = one.size, one.values
        numbers = [f"{size.mean:.4f}", _number(size.half)] if size else ["", ""]
        writer.writerow(
            [
                one.milestone.claim,
                one.milestone.epoch,
                one.milestone.metric,
                f"{one.milestone.paper:g}",
                one.run_epoch,
                f"{one.as_paper_epoch:g}",
                len(values),
                *numbers,
                _number(one.delta),
                one.on_track,
                " ".join(f"{seed}={value:.4f}" for seed, value in values.items()),
                " ".join(one.cell.run_ids),
                "; ".join(_lacking(one)),
            ]
        )
    return buffer.getvalue()


def markdown(plan: Plan, milestones: Milestones, reached: Sequence[Reached]) -> str:
    """Return the table for people.

    Args:
        plan: the runs behind the milestones.
        milestones: the paper's.
        reached: what our runs had reached.
    """
    config = reached[0].cell.composed.config
    compared = any(one.delta is not None for one in reached)
    head = ["claim", *(column.header for column in reached[0].cell.table.labels), "metric"]
    head += ["epoch, paper", "paper", "epoch, ours", "ours"]
    head += ["delta", "on track"] if compared else []
    lines = [line(head), line(["---"] * len(head))]
    for one in reached:
        labels = one.cell.labels.values()
        cells = [one.milestone.claim, *labels, one.milestone.metric, str(one.milestone.epoch)]
        cells += [f"{one.milestone.paper:g}", _our_epoch(one), _size(one)]
        if compared:
            cells += ["-" if one.delta is None else signed(one.delta, 1), one.on_track or "-"]
        lines.append(line(cells))
    notes = [f"- {note}" for note in _notes(milestones, reached, compared=compared)]
    blocks = [
        f"# Convergence, {plan.profile} profile",
        'What the section "The effects of scaled ReLU in conv-stem" says runs had reached.',
        *(f"> {note}" for note in config.profile.notes),
        *([f"> Extra overrides in every run: `{_shown(plan)}`"] if plan.overrides else []),
        "\n".join(lines),
        "\n".join(notes),
    ]
    return "\n\n".join(blocks) + "\n"


def _table(milestones: Milestones) -> Table:
    """Return the distinct runs behind the milestones as a table that prints nothing."""
    metrics = {one.metric: {"metric": one.metric, "header": one.metric} for one in milestones.items}
    runs = {one.run: None for one in milestones.items}
    unprinted = dict.fromkeys(metrics, MISSING)
    rows = [{"run": list(run), "paper": unprinted} for run in runs]
    raw = {
        "source": 'section "The effects of scaled ReLU in conv-stem"',
        "title": "Convergence",
        "seeds": list(milestones.seeds),
        "columns": {**LABELS, **metrics},
        "blocks": [{"label": NAME, "rows": rows}],
    }
    return table_of(NAME, raw, "conf/figure/curves.yaml")


def _reached(plan: Plan, milestones: Milestones, one: Milestone) -> Reached:
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


def _our_epoch(one: Reached) -> str:
    total, scaled = one.cell.composed.config.run_epochs, one.as_paper_epoch
    same = "" if scaled == one.milestone.epoch else f", as {scaled:.3g} of the paper's"
    return f"{one.run_epoch} of {total}{same}"


def _size(one: Reached) -> str:
    size = one.size
    if size is None:
        return "-"
    half = "" if size.half is None else f" +/- {size.half:.1f}"
    seeds = ", ".join(f"{value:.1f}" for value in one.values.values())
    return f"{size.mean:.1f}{half}" + (f" ({seeds})" if size.n > 1 else "")


def _notes(milestones: Milestones, reached: Sequence[Reached], *, compared: bool) -> list[str]:
    notes = [
        "The paper does not say which runs it means; assumed are the rows of Table 2 with these "
        "labels, after so many finished epochs, with raw weights (recipes H17).",
        "Ours: mean over seeds +/- half of the 95 % t interval, the seeds in brackets.",
    ]
    if any(one.as_paper_epoch != one.milestone.epoch for one in reached):
        notes.append(
            "Our runs are shorter: beside an epoch of the paper stands the epoch of ours that is "
            "nearest to the same share of the schedule, the first one at the earliest."
        )
    if compared and milestones.tolerance == HALF_GAP:
        notes.append(
            "On track: nearer to the paper's value than to that of the other stem at this epoch."
        )
    elif compared:
        notes.append(f"On track: within {milestones.tolerance:g} points of the paper's value.")
    return [*notes, *dict.fromkeys(lack for one in reached for lack in _lacking(one))]


def _lacking(one: Reached) -> list[str]:
    """Return which runs have no value here, and why."""
    found = []
    for history in one.histories:
        if history.run.seed not in one.values:
            why = history.absent or f"not evaluated after epoch {one.run_epoch}"
            found.append(f"seed {history.run.seed}, `{history.run.run_id}`: {why}")
    return found


def _shown(plan: Plan) -> str:
    return " ".join(shown_overrides(plan.overrides))


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.4f}"
