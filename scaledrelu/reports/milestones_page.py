"""The paper's epochs beside ours as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from scaledrelu.config.milestones import HALF_GAP, Milestones
from scaledrelu.reports.command import shown_overrides
from scaledrelu.reports.grid import signed
from scaledrelu.reports.reached import Reached
from scaledrelu.tables.plan import Plan
from scaledrelu.text import markdown_table, plus_minus


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
    lines = []
    for one in reached:
        labels = one.cell.labels.values()
        cells = [one.milestone.claim, *labels, one.milestone.metric, str(one.milestone.epoch)]
        cells += [f"{one.milestone.paper:g}", _our_epoch(one), _size(one)]
        if compared:
            cells += ["-" if one.delta is None else signed(one.delta, 1), one.on_track or "-"]
        lines.append(cells)
    notes = [f"- {note}" for note in _notes(milestones, reached, compared=compared)]
    shown = " ".join(shown_overrides(plan.overrides))
    blocks = [
        f"# Convergence, {plan.profile} profile",
        'What the section "The effects of scaled ReLU in conv-stem" says runs had reached.',
        *(f"> {note}" for note in config.profile.notes),
        *([f"> Extra overrides in every run: `{shown}`"] if plan.overrides else []),
        markdown_table(head, lines),
        "\n".join(notes),
    ]
    return "\n\n".join(blocks) + "\n"


def _our_epoch(one: Reached) -> str:
    total, scaled = one.cell.composed.config.run_epochs, one.as_paper_epoch
    same = "" if scaled == one.milestone.epoch else f", as {scaled:.3g} of the paper's"
    return f"{one.run_epoch} of {total}{same}"


def _size(one: Reached) -> str:
    size = one.size
    if size is None:
        return "-"
    seeds = ", ".join(f"{value:.1f}" for value in one.values.values())
    return f"{size.mean:.1f}{plus_minus(size.half, 1)}" + (f" ({seeds})" if size.n > 1 else "")


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
    return [*notes, *dict.fromkeys(lack for one in reached for lack in one.lacking)]
