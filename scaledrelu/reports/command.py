"""The command that fills a table's holes, as one would type it; no path of data or weights."""

from __future__ import annotations

import re
from collections.abc import Iterable

from scaledrelu.config.run import value_of
from scaledrelu.tables.command import Commands
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.table import Table

WHOLE_PATH = re.compile(r"/|~|[A-Za-z]:\\")  # from the root of a machine or from a home
LEFT_OUT = "..."


def how_to_train(plan: Plan, table: Table) -> str:
    """Return the command as markdown, with what a reader has to fill in before it runs.

    Args:
        plan: the plan that the table belongs to.
        table: the table to train.
    """
    return f"`{command(plan, table)}`{_left_out(plan)}"


def overrides_note(plan: Plan) -> str:
    """Return what a report says on top of the overrides that every run has; empty without any."""
    if not plan.overrides:
        return ""
    shown = " ".join(shown_overrides(plan.overrides))
    return f"> Extra overrides in every run: `{shown}`{_left_out(plan)}"


def command(plan: Plan, table: Table) -> str:
    """Return the command that trains what is missing of a table as it was planned.

    A path of this machine in an override is left out.

    Args:
        plan: the plan that the table belongs to.
        table: the table to train.
    """
    shown = shown_overrides(plan.overrides)
    return Commands(plan.profile, plan.seeds, shown, plan.results).train(table.name)


def shown_overrides(overrides: Iterable[str]) -> list[str]:
    """Return overrides without paths of this machine: ``data.root=...``."""
    return [
        f"{item.partition('=')[0]}={LEFT_OUT}" if _is_private(item) else item for item in overrides
    ]


def without_paths(text: str, run: PlannedRun) -> str:
    """Return a message about a run without the paths of this machine.

    Args:
        text: the message.
        run: the run, whose configuration holds the paths.
    """
    for key in ("data.root", "init.path"):
        path = str(value_of(run.config, key) or "")
        if WHOLE_PATH.match(path):
            text = text.replace(path, f"<{key}>")
    return text


def _left_out(plan: Plan) -> str:
    keys = [item.partition("=")[0] for item in plan.overrides if _is_private(item)]
    return f" (left out: the path of {', '.join(keys)})" if keys else ""


def _is_private(override: str) -> bool:
    """Say whether an override is a whole path from the root of this machine or a home."""
    return WHOLE_PATH.match(override.partition("=")[2].strip("'\"")) is not None
