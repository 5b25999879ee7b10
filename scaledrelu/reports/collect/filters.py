"""Which runs a person asks for: ``stem.label=ViT_c,ViT_p lr.base>=1e-3 outcome=crash tags=table1``.

A filter names a key of a row; several filters must all hold, of several values any. Text is
compared without regard to case, ``*`` stands for any letters, numbers are compared as numbers.
"""

from __future__ import annotations

import math
import operator
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scaledrelu.errors import ConfigError, nearest
from scaledrelu.reports.collect.rows import FACTS, Row
from scaledrelu.tables.captions import value_text

FILTER = re.compile(r"([\w./-]+?)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)
ORDER: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
COMMA = re.compile(r",(?![^\[(]*[\])])")  # outside of brackets
WORDS = {"null": None, "none": None, "true": True, "false": False}
_KINDS = "; write a key that train.py --cfg job prints, a metric such as val/top1, or outcome"
MOST_VALUES = 12  # that a message lists
NO_TAGS = "no tag"  # of a run that no table names


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on a key of a row.

    Attributes:
        typed: as a person typed it.
        key: config key, metric or fact of a row.
        sign: ``=``, ``!=`` or an order.
        values: any of these, as typed.
    """

    typed: str
    key: str
    sign: str
    values: tuple[str, ...]

    def holds(self, row: Row) -> bool:
        """Say whether a run is asked for."""
        found = row.get(self.key)
        if self.sign in ORDER:
            number = _number(found)
            return number is not None and ORDER[self.sign](number, float(self.values[0]))
        parts = (found or "").split(", ") if self.key == "tags" else [found]
        is_one = any(_is(part, value) for part in parts for value in self.values)
        return is_one == (self.sign == "=")


def read_filters(asked: str | Sequence[str]) -> list[Filter]:
    """Read filters as they are typed in a shell.

    Args:
        asked: a line of them, or one by one.

    Raises:
        ConfigError: what cannot be read as a filter.
    """
    words = shlex.split(asked) if isinstance(asked, str) else asked
    return [_read(word) for word in words]


def select(rows: Sequence[Row], filters: Iterable[Filter]) -> list[Row]:
    """Return the rows for which every filter holds.

    Args:
        rows: runs.
        filters: conditions.

    Raises:
        ConfigError: a filter names a key that no run has.
    """
    filters = list(filters)
    for one in filters:
        check_key(one.key, rows, typed=one.typed)
    return [row for row in rows if all(one.holds(row) for one in filters)]


def check_key(key: str, rows: Sequence[Row], *, typed: str) -> None:
    """Refuse a key that no run has, and name the nearest.

    Args:
        key: config key, metric or fact.
        rows: runs.
        typed: what the person typed.

    Raises:
        ConfigError: no run has it.
    """
    keys = {name for row in rows for name in row} | set(FACTS)
    if key in keys:
        return
    inside = sorted(name for name in keys if name.startswith(f"{key}."))
    if named := [name for name in inside if name.endswith((".label", ".name"))]:
        raise ConfigError(
            f"{typed}: {key} is a group; write one of its keys, e.g. {named[0]}, which is "
            f"{_values_text(rows, named[0])}"
        )
    if inside:
        raise ConfigError(f"{typed}: {key} is a group; write one of {', '.join(inside)}")
    if key == "results":
        raise ConfigError(f"{typed}: not a filter; another results folder is --results FOLDER")
    raise ConfigError(f"{typed}: no run has a key or metric '{key}'{nearest(key, keys) or _KINDS}")


def why_none(rows: Sequence[Row], filters: Sequence[Filter]) -> str:
    """Say in one line what there is instead, where no run matches.

    Args:
        rows: every run.
        filters: those that no run passes together.
    """
    for one in filters:
        if not select(rows, [one]):
            return f"no run matches {one.typed}; {one.key} is {_values_text(rows, one.key)}"
    alone = ", ".join(f"{one.typed}: {len(select(rows, [one]))}" for one in filters)
    return f"no run matches all of these filters; runs that match each alone: {alone}"


def _values_text(rows: Iterable[Row], key: str) -> str:
    """Return the values of a key with the number of runs that have each, most frequent first."""
    found: Counter[str] = Counter()
    for row in rows:
        value = row.get(key)
        found.update((value or NO_TAGS).split(", ") if key == "tags" else [value_text(value)])
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{value} ({count})" for value, count in ordered[:MOST_VALUES]]
    rest = len(found) - len(shown)
    return ", ".join([*shown, f"and {rest} other values"] if rest else shown)


def _read(word: str) -> Filter:
    found = FILTER.fullmatch(word.strip())
    if found is None or not found[3]:
        raise ConfigError(
            f"'{word}': is not a filter; write key=value, e.g. stem.label=ViT_c, outcome=crash or "
            "'lr.base>=1e-3' (in quotes, since a shell takes > for a file)"
        )
    key, sign, text = found.groups()
    values = tuple(COMMA.split(text))
    if sign in ORDER and (len(values) > 1 or _number_of(text) is None):
        raise ConfigError(f"{word}: {sign} compares with one number, e.g. 'lr.base{sign}1e-3'")
    return Filter(word, key, sign, values)


def _is(found: Any, typed: str) -> bool:
    if typed.lower() in WORDS and not isinstance(found, str):
        return found is WORDS[typed.lower()]
    number, other = _number(found), _number_of(typed)
    if number is not None and other is not None:
        return math.isclose(number, other, rel_tol=1e-9)
    if found is None:
        return False
    pattern = re.escape(typed).replace(r"\*", ".*")
    return re.fullmatch(pattern, str(found), re.IGNORECASE | re.DOTALL) is not None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _number_of(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
