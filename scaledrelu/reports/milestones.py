"""What the paper says runs had reached after 5, 20 and 50 epochs, with ours beside it.

Writes ``<results>/<profile>/curves/milestones.{csv,md}`` from what the runs left; trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaledrelu.config.milestones import HALF_GAP, Milestones, load_milestones
from scaledrelu.files import write_changed
from scaledrelu.reports.cells import read_cell
from scaledrelu.reports.command import overrides_note
from scaledrelu.reports.grid import DASH, signed
from scaledrelu.reports.markdown import crash_rules, made_on
from scaledrelu.reports.reached import Reached, read_reached
from scaledrelu.reports.report_files import CURVES, MILESTONES
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import Planner, plan_loaded
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.spec import table_of
from scaledrelu.tables.table import MISSING, Table
from scaledrelu.text import csv_of, four_digits, markdown_table

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


def write_milestones(settings: Settings, *, planner: Planner | None = None) -> list[Path]:
    """Write the table of the paper's epochs; nothing if none of its runs has finished.

    Args:
        settings: profile, seeds, results folder and overrides.
        planner: one of these settings; None = a new one.

    Raises:
        ConfigError, TableError: what ``conf/figure/curves.yaml`` must not hold.
    """
    milestones = load_milestones(settings.conf_dir)
    plan = plan_loaded([_table(milestones, settings.profile)], settings, planner=planner)
    if not any(run.status.done for run in plan.runs.values()):
        return []
    reached = [read_reached(plan, milestones, one) for one in milestones.items]
    place = settings.results / plan.profile / CURVES / MILESTONES
    texts = {"csv": _csv_text(reached), "md": _markdown(plan, milestones, reached)}
    return [write_changed(place.with_suffix(f".{kind}"), text) for kind, text in texts.items()]


def _csv_text(reached: Sequence[Reached]) -> str:
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
                "; ".join(filter(None, [one.why_not, *one.lacking])),
            ]
        )
    return csv_of(COLUMNS, rows)


def _markdown(plan: Plan, milestones: Milestones, reached: Sequence[Reached]) -> str:
    config = reached[0].cell.composed.config
    compared = any(one.delta is not None for one in reached)
    head = ["claim", "epoch, paper", "paper", "ours", "epoch, ours"]
    head += ["delta", "on track"] if compared else []
    head += ["metric", *(column.header for column in reached[0].cell.table.labels)]
    lines = []
    for one in reached:
        milestone, is_shown = one.milestone, not one.why_not
        cells = [milestone.claim, str(milestone.epoch), f"{milestone.paper:g}"]
        cells += [_size(one), _our_epoch(one)] if is_shown else [DASH, DASH]
        if compared:
            cells += [DASH if one.delta is None else signed(one.delta, 1), one.on_track or DASH]
        lines.append([*cells, milestone.metric, *one.cell.labels.values()])
    notes = [f"- {note}" for note in _notes(milestones, reached, compared=compared)]
    blocks = [
        f"# Convergence, {plan.profile} profile",
        'What the section "The effects of scaled ReLU in conv-stem" says runs had reached.',
        *(f"> {note}" for note in config.profile.notes),
        overrides_note(plan),
        made_on(plan.runs.values()),
        *crash_rules(plan.tables[0], [read_cell(plan, cell) for cell in plan.cells]),
        markdown_table(head, lines),
        "\n".join(notes),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


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


def _our_epoch(one: Reached) -> str:
    total, scaled = one.cell.composed.config.run_epochs, one.as_paper_epoch
    same = "" if scaled == one.milestone.epoch else f", as {scaled:.3g} of the paper's"
    return f"{one.run_epoch} of {total}{same}"


def _size(one: Reached) -> str:
    size = one.size
    if size is None:
        return DASH
    seeds = ", ".join(f"{value:.1f}" for value in one.values.values())
    return size.text(1) + (f" ({seeds})" if size.n > 1 else "")


def _notes(milestones: Milestones, reached: Sequence[Reached], *, compared: bool) -> list[str]:
    notes = [
        "The paper does not say which runs it means; the rows of Table 2 with these labels are "
        "assumed, after so many finished epochs, with raw weights (recipes H17).",
        "Ours: mean over seeds +/- half of the 95 % t interval, the seeds in brackets.",
    ]
    shown = [one for one in reached if not one.why_not]
    if any(one.as_paper_epoch != one.milestone.epoch for one in shown):
        notes.append(
            "Our runs are shorter: beside an epoch of the paper stands the epoch of ours that is "
            "nearest to the same share of the schedule."
        )
    if compared and milestones.tolerance == HALF_GAP:
        notes.append(
            "On track: nearer to the paper's value than to that of the other stem at this epoch."
        )
    elif compared:
        notes.append(f"On track: within {milestones.tolerance:g} points of the paper's value.")
    reasons: dict[str, list[str]] = {}
    for one in reached:
        if one.why_not:
            reasons.setdefault(one.why_not, []).append(one.milestone.claim)
    notes += [f"{', '.join(claims)}: {why}." for why, claims in reasons.items()]
    return [*notes, *dict.fromkeys(lack for one in shown for lack in one.lacking)]
