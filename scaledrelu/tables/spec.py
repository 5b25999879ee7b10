"""Turns a table file into a Table: what its rows run, their labels, and the paper's values.

Decides the grammar of ``conf/table/*.yaml`` and nothing about runs: overrides are merged here and
composed in ``planner.py``. A grid of ``conf/stability`` is a table, too (``grids.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaledrelu.config.evaluation import is_percent
from scaledrelu.config.options import options_of
from scaledrelu.config.overrides import key_of
from scaledrelu.config.seeds import Seeds
from scaledrelu.errors import TableError, nearest
from scaledrelu.tables import reading
from scaledrelu.tables.grids import FOLDER, grid_names, written_out
from scaledrelu.tables.reading import check_keys, check_pairs
from scaledrelu.tables.table import CRASH, MISSING, Column, Row, Table
from scaledrelu.tables.typed import is_whole

TABLE_KEYS = (
    "source",
    "title",
    "base",
    "columns",
    "blocks",
    "seeds",
    "only_at",
    "not_at",
    "judged",
    "more_seeds",
    "note",
)
COLUMN_KEYS = ("from", "caption", "metric", "judged_on", "of", "header", "digits", "run")
MOST_DIGITS = 6
JUDGED_ON_KEYS = ("metric", "name")
ROW_KEYS = ("run", "upstream", "paper", "misprints", "corrected", "note", "baseline", "seeds")
BLOCK_KEYS = ("label", "run", "upstream", "released_weights", "baseline", "rows", "seeds", "note")


def table_names(conf_dir: Path) -> list[str]:
    """Return the names of all tables that exist as files."""
    return list(options_of(conf_dir, "table"))


def tables_of(profile: str, conf_dir: Path) -> list[str]:
    """Return the names of the tables that a profile makes when none is named.

    Args:
        profile: an option of ``conf/profile``.
        conf_dir: the configuration tree.

    Raises:
        TableError: a table file that cannot be read.
    """
    tables = (load_table(name, conf_dir) for name in table_names(conf_dir))
    return [table.name for table in tables if table.is_made_at(profile)]


def load_table(name: str, conf_dir: Path) -> Table:
    """Read ``conf/table/<name>.yaml``, or the grid ``conf/stability/<name>.yaml``.

    Args:
        name: name of the table.
        conf_dir: the configuration tree.

    Raises:
        TableError: no such table, a table and a grid of one name, a value that is not allowed in
            its place, or a row without its paper value in a table that has some; one line that
            names the table and the place.
    """
    names, grids = table_names(conf_dir), grid_names(conf_dir)
    if name not in (*names, *grids):
        raise TableError(
            f"no table '{name}'{nearest(name, (*names, *grids))}; allowed: all, "
            f"{', '.join((*names, *grids))}"
        )
    if name in names and name in grids:
        raise TableError(
            f"'{name}' is the name of conf/table/{name}.yaml and of conf/{FOLDER}/{name}.yaml; "
            "rename one of them"
        )
    is_grid = name not in names
    place = f"{FOLDER if is_grid else 'table'}/{name}.yaml"
    where = f"conf/{place}"
    raw = written_out(name, conf_dir) if is_grid else reading.read_yaml(conf_dir / place, where)
    table = table_of(name, raw, where)
    at = {key: _profiles(raw, key, conf_dir, where) for key in ("only_at", "not_at")}
    for seeds in filter(None, (table.seeds, *(row.seeds for row in table.rows))):
        reading.check_profiles(seeds.at_profile, conf_dir, f"{where}: seeds")
    if table.more_seeds and table.more_seeds not in names:
        raise TableError(
            f"{where}, more_seeds: no table '{table.more_seeds}'{nearest(table.more_seeds, names)}"
        )
    return replace(table, is_grid=is_grid, **at)


def table_of(name: str, raw: Any, where: str) -> Table:
    """Return the table that a file describes.

    Args:
        name: name of the table.
        raw: what the file holds.
        where: the file, for errors.

    Raises:
        TableError: as :func:`load_table`.
    """
    check_keys(raw, TABLE_KEYS, where)
    for key in ("source", "title", "columns", "blocks"):
        if not raw.get(key):
            raise TableError(f"{where}: no '{key}'; every table needs one")
    reading.overrides(raw, "base", name)
    check_pairs(raw["columns"], f"{name}, columns")
    columns = tuple(_column(name, str(key), value) for key, value in raw["columns"].items())
    metrics = {column.name: column.source for column in columns if column.kind == "metric"}
    if not metrics:
        raise TableError(f"{name}, columns: no column with a metric; a table prints at least one")
    return Table(
        name=name,
        source=reading.a_text(raw, "source", "", where),
        title=reading.a_text(raw, "title", "", where),
        columns=columns,
        rows=tuple(_rows(name, raw, metrics)),
        seeds=reading.seeds(raw, where) or Seeds((0,)),
        judged=reading.a_flag(raw, "judged", where),
        more_seeds=reading.a_text(raw, "more_seeds", "", where),
        note=reading.a_text(raw, "note", "", where),
    )


def merge_overrides(*layers: Iterable[str]) -> tuple[str, ...]:
    """Join override lists; the last value of a key wins and takes the last place.

    Raises:
        ConfigError: an override that is not ``key=value``.
    """
    merged: dict[str, str] = {}
    for override in (override for layer in layers for override in layer):
        key = key_of(override)
        merged.pop(key, None)
        merged[key] = override
    return tuple(merged.values())


def _profiles(raw: Mapping[str, Any], key: str, conf_dir: Path, where: str) -> tuple[str, ...]:
    named = tuple(str(name) for name in reading.a_list(raw, key, where))
    reading.check_profiles(named, conf_dir, f"{where}: {key}")
    return named


def _column(table: str, name: str, raw: Mapping[str, Any]) -> Column:
    where = f"{table}, column '{name}'"
    check_keys(raw, COLUMN_KEYS, where)
    kinds = [kind for kind in ("from", "caption", "metric") if kind in raw]
    if len(kinds) != 1:
        raise TableError(f"{where}: give exactly one of from, caption, metric (found {kinds})")
    digits, of = raw.get("digits", 1), raw.get("of", "upstream")
    if not is_whole(digits, 0) or digits > MOST_DIGITS:
        raise TableError(f"{where}: digits={digits}: must be a whole number in [0, {MOST_DIGITS}]")
    if of != "upstream":
        raise TableError(f"{where}: of={of}: not allowed; allowed: upstream")
    return Column(
        name=name,
        header=reading.a_text(raw, "header", name, where),
        source=reading.a_text(raw, kinds[0], "", where),
        kind=kinds[0],
        of_upstream="of" in raw,
        digits=digits,
        run=reading.overrides(raw, "run", where),
        judged_on=_judged_on(where, raw["judged_on"]) if "judged_on" in raw else None,
    )


def _judged_on(where: str, raw: Mapping[str, Any]) -> tuple[str, str]:
    check_keys(raw, JUDGED_ON_KEYS, f"{where}, judged_on")
    for key in JUDGED_ON_KEYS:
        if key not in raw:
            raise TableError(f"{where}, judged_on: no '{key}'; give {' and '.join(JUDGED_ON_KEYS)}")
    return tuple(reading.a_text(raw, key, "", f"{where}, judged_on") for key in JUDGED_ON_KEYS)


def _rows(table: str, raw: Mapping[str, Any], metrics: Mapping[str, str]) -> Iterable[Row]:
    number = 0
    for index, block in enumerate(reading.a_list(raw, "blocks", table), start=1):
        here = f"{table}, block {index}"
        check_keys(block, BLOCK_KEYS, here)
        if "baseline" in block:
            yield _row(f"{here}, baseline", 0, raw, block, block["baseline"], metrics)
        rows = reading.a_list(block, "rows", here)
        if not rows:
            raise TableError(f"{here}: no rows; a block prints at least one")
        seen: dict[Any, int] = {}
        for place, row in enumerate(rows, start=1):
            number += 1
            where = f"{here}, row {place}"
            made = _row(where, number, raw, block, row, metrics)
            what = (frozenset(made.run), made.upstream and frozenset(made.upstream))
            if what in seen:
                raise TableError(f"{where}: runs the same as row {seen[what]}; remove one of them")
            seen[what] = place
            yield made


def _row(
    where: str,
    number: int,
    table: Mapping[str, Any],
    block: Mapping[str, Any],
    row: Mapping[str, Any],
    metrics: Mapping[str, str],
) -> Row:
    check_keys(row, ROW_KEYS, where)
    upstream = None
    if "upstream" in block or "upstream" in row:
        layers = (reading.overrides(part, "upstream", where) for part in (block, row))
        upstream = merge_overrides(*layers)
    return Row(
        number=number,
        block=reading.a_text(block, "label", "", where),
        run=merge_overrides(
            table.get("base", ()),
            *(reading.overrides(part, "run", where) for part in (block, row)),
        ),
        upstream=upstream,
        released_weights=_released_weights(where, block.get("released_weights", {})),
        paper=_paper(where, row.get("paper", _unsaid(table, metrics)), metrics),
        misprints=_misprints(where, row, metrics),
        corrected=_corrected(where, row),
        note=reading.a_text(row, "note", "", where),
        block_note=reading.a_text(block, "note", "", where),
        is_reference=reading.a_flag(row, "baseline", where),
        seeds=reading.seeds(row, where) or reading.seeds(block, where),
    )


def _released_weights(where: str, raw: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    check_pairs(raw, f"{where}, released_weights")
    return {str(name): reading.overrides(raw, name, f"{where}, released_weights") for name in raw}


def _paper(where: str, raw: Mapping[str, Any], metrics: Mapping[str, str]) -> dict[str, Any]:
    check_keys(raw, tuple(metrics), f"{where}, paper")
    for name, metric in metrics.items():
        if name not in raw:
            found = ", ".join(raw) or "none"
            raise TableError(
                f"{where}: column '{name}' has no paper value (found keys: {found}). "
                f"Add {name} or mark it 'missing'; in a table of your own remove paper: from every "
                "row."
            )
        highest = 100.0 if is_percent(metric) else float("inf")
        if raw[name] not in (CRASH, MISSING) and not reading.is_number(raw[name], highest=highest):
            limit = "a number in [0, 100]" if highest == 100 else "a number from 0 on"
            raise TableError(
                f"{where}: paper value '{raw[name]}' of column '{name}': not allowed; allowed: "
                f"{limit}, 'crash', 'missing'"
            )
    return dict(raw)


def _unsaid(table: Mapping[str, Any], metrics: Iterable[str]) -> dict[str, str]:
    """Return the values of a row without ``paper``: none, which is refused, or all missing.

    A table in which no row has any is not the paper's; in another one a value was forgotten.
    """
    return {} if _mentions_paper(table["blocks"]) else dict.fromkeys(metrics, MISSING)


def _mentions_paper(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "paper" in value or any(map(_mentions_paper, value.values()))
    return isinstance(value, list) and any(map(_mentions_paper, value))


def _misprints(where: str, row: Mapping[str, Any], metrics: Mapping[str, str]) -> tuple[str, ...]:
    names = reading.a_list(row, "misprints", where)
    check_keys(dict.fromkeys(map(str, names)), tuple(metrics), f"{where}, misprints")
    return tuple(names)


def _corrected(where: str, row: Mapping[str, Any]) -> dict[str, float]:
    raw = row.get("corrected", {})
    check_keys(raw, row.get("misprints", ()), f"{where}, corrected (of the misprints)")
    for metric, value in raw.items():
        if not reading.is_number(value, highest=math.inf):
            raise TableError(
                f"{where}, corrected: '{value}' of column '{metric}': must be a number from 0 on"
            )
    return dict(raw)
