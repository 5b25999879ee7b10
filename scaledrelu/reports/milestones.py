"""What the paper says runs had reached after 5, 20 and 50 epochs, with ours beside it.

Writes ``<results>/<profile>/curves/milestones.{csv,md}`` from what the runs left; trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaledrelu.config.milestones import Milestones, load_milestones
from scaledrelu.files import write_changed
from scaledrelu.reports.milestones_page import markdown
from scaledrelu.reports.published_tables import CURVES, MILESTONES
from scaledrelu.reports.reached import Reached, read_reached
from scaledrelu.tables.planner import plan_loaded
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.spec import table_of
from scaledrelu.tables.table import MISSING, Table
from scaledrelu.text import csv_of, four_digits

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


def write_milestones(settings: Settings) -> list[Path]:
    """Write the table of the paper's epochs; nothing if none of its runs has finished.

    Args:
        settings: profile, seeds, results folder and overrides.

    Raises:
        ConfigError, TableError: what ``conf/figure/curves.yaml`` must not hold.
    """
    milestones = load_milestones(settings.conf_dir)
    plan = plan_loaded([_table(milestones, settings.profile)], settings)
    if not any(run.status.done for run in plan.runs.values()):
        return []
    reached = [read_reached(plan, milestones, one) for one in milestones.items]
    place = settings.results / plan.profile / CURVES / MILESTONES
    texts = {"csv": csv_text(reached), "md": markdown(plan, milestones, reached)}
    return [write_changed(place.with_suffix(f".{kind}"), text) for kind, text in texts.items()]


def csv_text(reached: Sequence[Reached]) -> str:
    """Return one line per milestone."""
    rows = []
    for one in reached:
        size, values = one.size, one.values
        numbers = [four_digits(size and size.mean), four_digits(size and size.half)]
        rows.append(
            [
                one.milestone.claim,
                one.milestone.epoch,
                one.milestone.metric,
                f"{one.milestone.paper:g}",
                one.run_epoch,
                f"{one.as_paper_epoch:g}",
                len(values),
                *numbers,
                four_digits(one.delta),
                one.on_track,
                " ".join(f"{seed}={value:.4f}" for seed, value in values.items()),
                " ".join(one.cell.run_ids),
                "; ".join(one.lacking),
            ]
        )
    return csv_of(COLUMNS, rows)


def _table(milestones: Milestones, profile: str) -> Table:
    """Return the distinct runs behind the milestones as a table that prints nothing."""
    metrics = {one.metric: {"metric": one.metric, "header": one.metric} for one in milestones.items}
    runs = {one.run: None for one in milestones.items}
    unprinted = dict.fromkeys(metrics, MISSING)
    rows = [{"run": list(run), "paper": unprinted} for run in runs]
    raw = {
        "source": 'section "The effects of scaled ReLU in conv-stem"',
        "title": "Convergence",
        "seeds": list(milestones.seeds.at(profile)),
        "columns": {**LABELS, **metrics},
        "blocks": [{"label": MILESTONES, "rows": rows}],
    }
    return table_of(MILESTONES, raw, "conf/figure/curves.yaml")
