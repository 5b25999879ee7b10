"""The command that fills a table's holes, as one would type it; no path of data or weights."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from scaledrelu.config.run import value_of
from scaledrelu.tables.figures import FIGURE1
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.table import Table

RESULTS = Path("results")  # where results go unless something else is said: conf/sweep.yaml
PLAIN_ITEM = re.compile(r"[\w./+=@~-]+")  # needs no quotes within overrides=[...]
PLAIN_WORD = re.compile(r"[\w./+=@:,%\[\]-]+")  # needs no quotes in a shell
WHOLE_PATH = re.compile(r"/|~|[A-Za-z]:\\")  # from the root of a machine or from a home
# The pattern rule table% of the Makefile, and the targets of the edge and the figure.
MADE_BY_MAKE = re.compile(rf"table.+(?<!^tables)|edge|{FIGURE1}")
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
    shown, seeds = shown_overrides(plan.overrides), seeds_of(plan)
    words = [f"overrides=[{','.join(map(_item, shown))}]"] if shown else []
    if plan.results != RESULTS:
        words.append(f"results={plan.results}")
    arguments = " ".join(map(_word, words))
    if MADE_BY_MAKE.fullmatch(table.name):
        behind = f" ARGS={_word(arguments.replace('$', '$$'))}" if arguments else ""
        return f"make {table.name} PROFILE={plan.profile} SEEDS={seeds}{behind}"
    start = f"python scripts/sweep.py tables=[{table.name}] profile={plan.profile} seeds={seeds}"
    return f"{start} {arguments}".rstrip()


def seeds_of(plan: Plan) -> str:
    """Return the seeds of a plan as commands take them: ``0,1,2``, or ``table``."""
    return "table" if plan.seeds is None else ",".join(map(str, plan.seeds))


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


def _item(override: str) -> str:
    """Return an override as an item of a YAML list in brackets."""
    return override if PLAIN_ITEM.fullmatch(override) else json.dumps(override)


def _word(text: str) -> str:
    """Return a word of a shell command, quoted only where it must be."""
    return text if PLAIN_WORD.fullmatch(text) else shlex.quote(text)
