"""The command that trains a table, as one would type it in a shell; quoted where it has to be."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.tables.figures import FIGURE1

RESULTS = Path("results")  # where results go unless something else is said: conf/sweep.yaml
PLAIN_ITEM = re.compile(r"[\w./+=@~-]+")  # needs no quotes within overrides=[...]
PLAIN_WORD = re.compile(r"[\w./+=@:,%\[\]-]+")  # needs no quotes in a shell
# The pattern rule table% of the Makefile, and the targets of the edge and the figure.
MADE_BY_MAKE = re.compile(rf"table.+(?<!^tables)|edge|{FIGURE1}")


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands with the same settings.

    Attributes:
        profile: its name.
        seeds: numbers that every cell is trained with; None for each table's own.
        overrides: those of every run.
        results: results folder.
    """

    profile: str
    seeds: Sequence[int] | None
    overrides: Sequence[str]
    results: Path

    def train(self, table: str) -> str:
        """Return the command that trains what is missing of a table, shorter where make has one."""
        return self.make(table) if MADE_BY_MAKE.fullmatch(table) else self.script("sweep", table)

    def make(self, target: str) -> str:
        """Return the command of a target of make."""
        arguments = self._arguments()
        behind = f" ARGS={_word(arguments.replace('$', '$$'))}" if arguments else ""
        return f"make {target} PROFILE={self.profile} SEEDS={self._seeds()}{behind}"

    def script(self, name: str, table: str) -> str:
        """Return the command of a script about one table.

        Args:
            name: the script's, without ``.py``.
            table: name of the table.
        """
        settings = f"profile={self.profile} seeds={self._seeds()} {self._arguments()}"
        return f"python scripts/{name}.py tables=[{table}] {settings}".rstrip()

    def _seeds(self) -> str:
        return "table" if self.seeds is None else ",".join(map(str, self.seeds))

    def _arguments(self) -> str:
        words = [f"overrides=[{','.join(map(_item, self.overrides))}]"] if self.overrides else []
        if self.results != RESULTS:
            words.append(f"results={self.results}")
        return " ".join(map(_word, words))


def _item(override: str) -> str:
    """Return an override as an item of a YAML list in brackets."""
    return override if PLAIN_ITEM.fullmatch(override) else json.dumps(override)


def _word(text: str) -> str:
    """Return a word of a shell command, quoted only where it must be."""
    return text if PLAIN_WORD.fullmatch(text) else shlex.quote(text)
