"""The assumptions and deviations behind a table, read from the comments of the conf files it used.

A remark counts where its line is in force: a value that the profile replaced takes the remark with
it, a value that a table row sets does not (the remark is about the key). A remark in a table file
is about the table, or about the block or row that it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.config.run import RunConfig, plain, value_of
from scaledrelu.tables.captions import named_rows
from scaledrelu.tables.composer import Composed
from scaledrelu.tables.figures import planned_file
from scaledrelu.tables.table import Table

REMARK = re.compile(r"#\s*(assumption|deviation):\s*(.+?)\s*$")
FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where libyaml is built in
GLOBAL = "# @package _global_"
CITES = re.compile(r"\brecipes (section \d|[A-Z])")
WHERE = "recipes A.4, recipes H16 and the like are sections of docs/recipes.md"


@dataclass(frozen=True, slots=True)
class Remark:
    """One ``# assumption:`` or ``# deviation:`` comment and the settings on its line."""

    text: str
    where: str  # file, relative to the repository
    values: tuple[tuple[str, Any], ...]  # config key, value
    choices: tuple[tuple[str, str], ...]  # group, option


def footnotes(
    used: Iterable[tuple[Composed, Sequence[str]]], conf_dir: Path, table: Table | None = None
) -> list[str]:
    """Return the remarks in force for some runs, each text once, in a fixed order.

    Where one of them, or a note of the table, cites recipes, the first line says where they are.

    Args:
        used: composed config of each run, and what its row sets: a remark on a field that rows vary
            is about all of them. Not what a person overrides, who may do away with it.
        conf_dir: the configuration tree.
        table: the table that they belong to, whose own remarks come first.
    """
    found: dict[str, dict[str, dict[str, None]]] = {}  # text -> keys -> files
    for composed, overrides in used:
        named = {override.partition("=")[0] for override in overrides}
        for path in _files(composed.choices, conf_dir):
            for remark in _remarks(path, conf_dir):
                if _in_force(remark, composed, named):
                    keys = ", ".join(key for key, _ in (*remark.values, *remark.choices))
                    found.setdefault(remark.text, {}).setdefault(keys, {})[remark.where] = None
    own = _table_remarks(table.name, conf_dir) if table else []
    lines = [*own, *sorted(_line(text, places) for text, places in found.items())]
    of_rows = [(row.note, row.block_note) for row in table.rows] if table else []
    notes = [table.note, *chain.from_iterable(of_rows)] if table else []
    return [*([WHERE] if any(map(CITES.search, (*lines, *notes))) else []), *lines]


def _table_remarks(name: str, conf_dir: Path) -> list[str]:
    """Return the remarks of a table file, each with the rows that it is about."""
    path = planned_file(name, conf_dir)
    text = path.read_text()
    places = list(_places(yaml.compose(text, Loader=FAST)))
    remarks = []
    for number, line in enumerate(text.splitlines()):
        if match := REMARK.search(line):
            inside = [rows for span, rows in places if number in span]
            smallest = min(inside, key=len, default=[])
            about = f"{named_rows(smallest)}: " if smallest else ""
            where = path.relative_to(conf_dir.parent)
            remarks.append(f"{about}{match[1]}: {match[2]} ({where})")
    return remarks


def _places(root: yaml.Node) -> Iterator[tuple[range, list[str]]]:
    """Yield the lines of every block and row of a table file, with the numbers of its rows."""
    number = 0
    for block in _entry(root, "blocks"):
        first = number
        for row in _entry(block, "rows"):
            number += 1
            yield _lines(row), [str(number)]
        yield _lines(block), [str(n) for n in range(first + 1, number + 1)]


def _entry(node: yaml.Node, name: str) -> list[yaml.Node]:
    return next((value.value for key, value in node.value if key.value == name), [])


def _lines(node: yaml.Node) -> range:
    start, end = node.start_mark.line, node.end_mark.line
    return range(start, max(end, start + 1))  # one of several lines ends where the next begins


def _line(text: str, places: Mapping[str, Iterable[str]]) -> str:
    """Return a remark with the keys that it is about and the files that have it."""
    where = (
        (f"`{keys}` in " if keys else "") + ", ".join(sorted(files))
        for keys, files in places.items()
    )
    return f"{text} ({'; '.join(sorted(where))})"


def _in_force(remark: Remark, composed: Composed, named: set[str]) -> bool:
    for group, option in remark.choices:
        if composed.choices.get(group) != option:
            return False
    return all(
        key in named or _same(_read(composed.config, key), value) for key, value in remark.values
    )


def _files(choices: Mapping[str, str], conf_dir: Path) -> Iterator[Path]:
    for group, option in choices.items():
        path = conf_dir / group / f"{option}.yaml"
        if path.exists():
            yield from _with_bases(path, conf_dir)


@lru_cache
def _with_bases(path: Path, conf_dir: Path) -> tuple[Path, ...]:
    """Return a file and the files that its defaults list builds on."""
    defaults = (yaml.safe_load(path.read_text()) or {}).get("defaults", [])
    files = [path]
    for entry in defaults:
        if isinstance(entry, str) and entry != "_self_":
            name = entry.partition("@")[0]
            base = conf_dir / name[1:] if name.startswith("/") else path.parent / name
            files += _with_bases(base.with_name(base.name + ".yaml"), conf_dir)
    return tuple(files)


@lru_cache
def _remarks(path: Path, conf_dir: Path) -> tuple[Remark, ...]:
    text = path.read_text()
    prefix = "" if text.startswith(GLOBAL) else f"{path.parent.name}."
    leaves = list(_leaves(yaml.compose(text, Loader=FAST), ""))
    remarks = []
    for number, line in enumerate(text.splitlines()):
        match = REMARK.search(line)
        if match:
            here = [(key, node) for key, node in leaves if node.start_mark.line == number]
            remarks.append(
                Remark(
                    text=f"{match[1]}: {match[2]}",
                    where=str(path.relative_to(conf_dir.parent)),
                    values=tuple(
                        (prefix + key, _value(node)) for key, node in here if "defaults" not in key
                    ),
                    choices=tuple(
                        (key.rpartition("/")[2], str(_value(node)))
                        for key, node in here
                        if key.startswith("defaults.override /")
                    ),
                )
            )
    return tuple(remarks)


def _leaves(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, yaml.Node]]:
    """Yield every value of a document with its dotted key; lists of plain values are values."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _leaves(value, f"{prefix}.{key.value}" if prefix else key.value)
    elif isinstance(node, yaml.SequenceNode) and prefix == "defaults":
        for item in node.value:
            yield from _leaves(item, prefix)
    elif node is not None:
        yield prefix, node


def _value(node: yaml.Node) -> Any:
    return yaml.SafeLoader("").construct_object(node, deep=True)


def _read(config: RunConfig, key: str) -> Any:
    try:
        return plain(value_of(config, key))
    except KeyError:
        return None


def _same(one: Any, other: Any) -> bool:
    if one == other:
        return True
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return False
