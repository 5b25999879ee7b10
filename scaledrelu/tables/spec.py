"""A table file becomes a Table: what its rows run, what they are called, what the paper printed.

Decides the grammar of ``conf/table/*.yaml`` and nothing about runs: overrides are merged here and
composed in ``plan.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.errors import TableError, nearest

CRASH, MISSING = "crash", "missing"
TABLE_KEYS = ("source", "title", "base", "columns", "blocks", "seeds")
COLUMN_KEYS = ("from", "caption", "metric", "over", "of", "header", "digits", "run")
OVER_KEYS = ("metric", "name")
ROW_KEYS = ("run", "upstream", "paper", "misprints", "note", "baseline")
BLOCK_KEYS = ("label", "run", "upstream", "external", "baseline", "rows", "seeds")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a label read from the run's config, or a metric with overrides of its own."""

    name: str
    header: str
    source: str  # config key, caption name or metric name
    kind: str  # from | caption | metric
    of_upstream: bool = False
    digits: int = 1
    run: tuple[str, ...] = ()
    over: tuple[str, str] | None = None  # metric that counts what this one averages, their name


@dataclass(frozen=True, slots=True)
class Row:
    """One printed row; number 0 is a block's baseline, which arrows are relative to."""

    number: int
    block: str
    run: tuple[str, ...]
    upstream: tuple[str, ...] | None
    external: Mapping[str, tuple[str, ...]]  # profile -> what it starts from instead of upstream
    paper: Mapping[str, float | str]
    misprints: tuple[str, ...] = ()  # metrics whose printed value is no target
    note: str = ""
    is_reference: bool = False  # a row of the table that its block's deltas refer to
    seeds: tuple[int, ...] | None = None  # the block's own; None: the table's

    @property
    def is_baseline(self) -> bool:
        """Whether the row is not the table's own but only what its deltas refer to."""
        return self.number == 0


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the paper as data."""

    name: str
    source: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]

    @property
    def labels(self) -> tuple[Column, ...]:
        """Columns that name a row."""
        return tuple(column for column in self.columns if column.kind != "metric")

    @property
    def metrics(self) -> tuple[Column, ...]:
        """Columns that hold a measured value."""
        return tuple(column for column in self.columns if column.kind == "metric")

    def is_printed(self, metric: Column) -> bool:
        """Say whether the paper has this column at all."""
        return any(row.paper[metric.name] != MISSING for row in self.rows)

    def baseline_of(self, row: Row) -> Row | None:
        """Return what a row is compared with in its block; None for itself or where none is."""
        same = (r for r in self.rows if r.block == row.block)
        base = next((r for r in same if r.is_baseline or r.is_reference), None)
        return None if base is row else base


def table_names(conf_dir: Path) -> list[str]:
    """Return the names of all tables that exist as files."""
    return sorted(path.stem for path in (conf_dir / "table").glob("*.yaml"))


def load_table(name: str, conf_dir: Path) -> Table:
    """Read ``conf/table/<name>.yaml``.

    Raises:
        TableError: no such table, a misspelt key, or a row without its paper value.
    """
    names = table_names(conf_dir)
    if name not in names:
        raise TableError(
            f"no table '{name}'{nearest(name, names)}; allowed: all, {', '.join(names)}"
        )
    try:
        raw = yaml.safe_load((conf_dir / "table" / f"{name}.yaml").read_text())
    except yaml.YAMLError as error:
        raise TableError(f"conf/table/{name}.yaml: {' '.join(str(error).split())}") from error
    _check_keys(raw, TABLE_KEYS, f"conf/table/{name}.yaml")
    for key in ("source", "title", "columns", "blocks"):
        if not raw.get(key):
            raise TableError(f"conf/table/{name}.yaml: no '{key}'; every table needs one")
    columns = tuple(_column(name, key, value) for key, value in raw["columns"].items())
    return Table(
        name=name,
        source=raw["source"],
        title=raw["title"],
        columns=columns,
        rows=tuple(_rows(name, raw, [c.name for c in columns if c.kind == "metric"])),
        seeds=tuple(raw.get("seeds", [0])),
    )


def merge_overrides(*layers: Iterable[str]) -> tuple[str, ...]:
    """Join override lists; the last value of a key wins and takes the last place.

    Raises:
        TableError: an override that is not ``key=value``.
    """
    merged: dict[str, str] = {}
    for override in (override for layer in layers for override in layer):
        key, equals, _ = str(override).partition("=")
        if not equals or not key or key[0] in "+~":
            raise TableError(f"override '{override}': write key=value, without + or ~")
        merged.pop(key, None)
        merged[key] = str(override)
    return tuple(merged.values())


def _column(table: str, name: str, raw: Mapping[str, Any]) -> Column:
    where = f"{table}, column '{name}'"
    _check_keys(raw, COLUMN_KEYS, where)
    kinds = [kind for kind in ("from", "caption", "metric") if kind in raw]
    if len(kinds) != 1:
        raise TableError(f"{where}: give exactly one of from, caption, metric (found {kinds})")
    return Column(
        name=name,
        header=raw.get("header", name),
        source=raw[kinds[0]],
        kind=kinds[0],
        of_upstream=raw.get("of") == "upstream",
        digits=raw.get("digits", 1),
        run=tuple(raw.get("run", ())),
        over=_over(where, raw["over"]) if "over" in raw else None,
    )


def _over(where: str, raw: Mapping[str, Any]) -> tuple[str, str]:
    _check_keys(raw, OVER_KEYS, f"{where}, over")
    for key in OVER_KEYS:
        if key not in raw:
            raise TableError(f"{where}, over: no '{key}'; give {' and '.join(OVER_KEYS)}")
    return raw["metric"], raw["name"]


def _rows(table: str, raw: Mapping[str, Any], metrics: Sequence[str]) -> Iterable[Row]:
    number = 0
    for index, block in enumerate(raw["blocks"], start=1):
        _check_keys(block, BLOCK_KEYS, f"{table}, block {index}")
        if "baseline" in block:
            where = f"{table}, block {index}, baseline"
            yield _row(where, 0, raw, block, block["baseline"], metrics)
        for place, row in enumerate(block.get("rows", ()), start=1):
            number += 1
            where = f"{table}, block {index}, row {place}"
            yield _row(where, number, raw, block, row, metrics)


def _row(
    where: str,
    number: int,
    table: Mapping[str, Any],
    block: Mapping[str, Any],
    row: Mapping[str, Any],
    metrics: Sequence[str],
) -> Row:
    _check_keys(row, ROW_KEYS, where)
    upstream = None
    if "upstream" in block or "upstream" in row:
        upstream = merge_overrides(block.get("upstream", ()), row.get("upstream", ()))
    return Row(
        number=number,
        block=str(block.get("label", "")),
        run=merge_overrides(table.get("base", ()), block.get("run", ()), row.get("run", ())),
        upstream=upstream,
        external={name: tuple(run) for name, run in block.get("external", {}).items()},
        paper=_paper(where, row.get("paper", {}), metrics),
        misprints=_misprints(where, row.get("misprints", ()), metrics),
        note=row.get("note", ""),
        is_reference=bool(row.get("baseline", False)),
        seeds=tuple(block["seeds"]) if "seeds" in block else None,
    )


def _paper(where: str, raw: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, float | str]:
    for metric in metrics:
        if metric not in raw:
            found = ", ".join(raw) or "none"
            raise TableError(
                f"{where}: column '{metric}' has no paper value (found keys: {found}). "
                f"Add {metric} or mark it 'missing'."
            )
        value = raw[metric]
        if value not in (CRASH, MISSING) and not isinstance(value, int | float):
            raise TableError(
                f"{where}: paper value '{value}' of column '{metric}' is neither a number, "
                "'crash' nor 'missing'"
            )
    _check_keys(raw, metrics, f"{where}, paper")
    return dict(raw)


def _misprints(where: str, names: Sequence[str], metrics: Sequence[str]) -> tuple[str, ...]:
    _check_keys(dict.fromkeys(names), metrics, f"{where}, misprints")
    return tuple(names)


def _check_keys(raw: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    if not isinstance(raw, Mapping):
        raise TableError(f"{where}: expected 'key: value' pairs, found {type(raw).__name__}")
    for key in raw:
        if key not in allowed:
            raise TableError(
                f"{where}: unknown key '{key}'{nearest(str(key), allowed)}; "
                f"allowed: {', '.join(allowed)}"
            )
