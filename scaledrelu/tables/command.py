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
    chosen = seeds_text(seeds)
    words = [f"overrides=[{','.join(map(_item, overrides))}]"] if overrides else []
    if results != RESULTS:
        words.append(f"results={results}")
    arguments = " ".join(map(_word, words))
    if MADE_BY_MAKE.fullmatch(table):
        behind = f" ARGS={_word(arguments.replace('$', '$$'))}" if arguments else ""
        return f"make {table} PROFILE={profile} SEEDS={chosen}{behind}"
    start = f"python scripts/sweep.py tables=[{table}] profile={profile} seeds={chosen}"
    return f"{start} {arguments}".rstrip()


def seeds_text(seeds: Sequence[int] | None) -> str:
    """Return seeds as commands take them: ``0,1,2``, or ``table`` for None."""
    return "table" if seeds is None else ",".join(map(str, seeds))


def _item(override: str) -> str:
    """Return an override as an item of a YAML list in brackets."""
    return override if PLAIN_ITEM.fullmatch(override) else json.dumps(override)


def _word(text: str) -> str:
    """Return a word of a shell command, quoted only where it must be."""
    return text if PLAIN_WORD.fullmatch(text) else shlex.quote(text)
