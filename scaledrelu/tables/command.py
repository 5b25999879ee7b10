"""The command that trains a table, as one would type it in a shell; quoted where it has to be."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from scaledrelu.tables.figures import FIGURE1

RESULTS = Path("results")  # where results go unless something else is said: conf/sweep.yaml
PLAIN_ITEM = re.compile(r"[\w./+=@~-]+")  # needs no quotes within overrides=[...]
PLAIN_WORD = re.compile(r"[\w./+=@:,%\[\]-]+")  # needs no quotes in a shell
# The pattern rule table% of the Makefile, and the targets of the edge and the figure.
MADE_BY_MAKE = re.compile(rf"table.+(?<!^tables)|edge|{FIGURE1}")


def sweep_command(
    table: str,
    *,
    profile: str,
    seeds: Sequence[int] | None,
    overrides: Sequence[str],
    results: Path,
) -> str:
    """Return the command that trains what is missing of a table.

    Args:
        table: its name.
        profile: name of the profile.
        seeds: numbers that every cell is trained with; None for the table's own.
        overrides: those of every run.
        results: results folder.
    """
    settings = {"profile": profile, "seeds": seeds, "overrides": overrides, "results": results}
    if MADE_BY_MAKE.fullmatch(table):
        return make_command(table, **settings)
    return script_command("sweep", table, **settings)


def make_command(
    target: str,
    *,
    profile: str,
    seeds: Sequence[int] | None,
    overrides: Sequence[str],
    results: Path,
) -> str:
    """Return the command of a target of make.

    Args:
        target: its name.
        profile: name of the profile.
        seeds: numbers of seeds; None for each table's own.
        overrides: those of every run.
        results: results folder.
    """
    arguments = _arguments(overrides, results)
    behind = f" ARGS={_word(arguments.replace('$', '$$'))}" if arguments else ""
    return f"make {target} PROFILE={profile} SEEDS={_seeds(seeds)}{behind}"


def script_command(
    script: str,
    table: str,
    *,
    profile: str,
    seeds: Sequence[int] | None,
    overrides: Sequence[str],
    results: Path,
) -> str:
    """Return the command of a script about one table.

    Args:
        script: its name, without ``.py``.
        table: name of the table.
        profile: name of the profile.
        seeds: numbers of seeds; None for the table's own.
        overrides: those of every run.
        results: results folder.
    """
    start = f"python scripts/{script}.py tables=[{table}] profile={profile} seeds={_seeds(seeds)}"
    return f"{start} {_arguments(overrides, results)}".rstrip()


def _seeds(seeds: Sequence[int] | None) -> str:
    return "table" if seeds is None else ",".join(map(str, seeds))


def _arguments(overrides: Sequence[str], results: Path) -> str:
    words = [f"overrides=[{','.join(map(_item, overrides))}]"] if overrides else []
    if results != RESULTS:
        words.append(f"results={results}")
    return " ".join(map(_word, words))


def _item(override: str) -> str:
    """Return an override as an item of a YAML list in brackets."""
    return override if PLAIN_ITEM.fullmatch(override) else json.dumps(override)


def _word(text: str) -> str:
    """Return a word of a shell command, quoted only where it must be."""
    return text if PLAIN_WORD.fullmatch(text) else shlex.quote(text)
