"""Turns ``conf/figure/figure1.yaml`` into a Figure: its runs as a table, and what the paper prints.

The runs are planned and trained like those of any table; this module adds what only a figure has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from scaledrelu.errors import TableError, nearest
from scaledrelu.tables import reading
from scaledrelu.tables.reading import check_keys, check_pairs
from scaledrelu.tables.spec import load_table, table_of
from scaledrelu.tables.table import MISSING, Table
from scaledrelu.tables.typed import is_whole

FIGURE1 = "figure1"
OF_ITS_TABLE = ("source", "title", "base", "seeds", "columns")
KEYS = (*OF_ITS_TABLE, "layers", "axes", "series", "statements")
AXES_KEYS = ("x", "y", "y_ticks")
SERIES_KEYS = ("label", "run", "values")
STATEMENT_KEYS = ("says", "kind", "series", "against")


class Kind(StrEnum):
    """How a statement of the text about the curves is judged."""

    POSITION = "position"  # of every series: after the position embedding minus before it
    LOWER = "lower_layers"  # one series minus another, mean over the first half of the layers
    HIGHER = "higher_layers"  # over the second half; the text states no sign
    ALIKE = "alike"  # distance of two series minus the mean distance of the other pairs


@dataclass(frozen=True, slots=True)
class Axes:
    """What the paper prints along the axes."""

    x: str
    y: str
    y_ticks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of the text about the figure; ``series`` and ``against`` are labels."""

    says: str
    kind: Kind
    series: str
    against: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the paper as data.

    Attributes:
        table: its runs, one row per series.
        labels: the legend as printed, one per row of the table.
        values: label -> one value per layer, for the series that somebody read off the picture.
        layers: points of a printed series.
        axes: the printed axes.
        statements: what the text says about it.
    """

    table: Table
    labels: tuple[str, ...]
    values: Mapping[str, tuple[float, ...]]
    layers: int
    axes: Axes
    statements: tuple[Statement, ...]


def load_figure(conf_dir: Path) -> Figure:
    """Read ``conf/figure/figure1.yaml``.

    Raises:
        TableError: one line that names the place, what was found and what is allowed.
    """
    where = f"conf/figure/{FIGURE1}.yaml"
    raw = reading.read_yaml(planned_file(FIGURE1, conf_dir), where)
    check_keys(raw, KEYS, where)
    for key in KEYS:
        if not raw.get(key):
            raise TableError(f"{where}: no '{key}'; a figure needs one")
    layers = raw["layers"]
    if not is_whole(layers, 3):
        raise TableError(f"{where}: layers={layers}: must be a whole number from 3 on")
    series = reading.a_list(raw, "series", where)
    for i, one in enumerate(series, 1):
        check_keys(one, SERIES_KEYS, f"{where}, series {i}")
        reading.overrides(one, "run", f"{where}, series {i}")
    labels = tuple(reading.a_text(one, "label", "", f"{where}, series") for one in series)
    if "" in labels or len(set(labels)) < len(labels):
        raise TableError(f"{where}: every series needs a label of its own")
    table = _table(raw, series, where)
    reading.check_profiles(table.seeds.at_profile, conf_dir, f"{where}: seeds")
    values = {
        label: found
        for label, one in zip(labels, series, strict=True)
        if (found := _values(f"{where}, series '{label}'", one, layers)) is not None
    }
    statements = enumerate(reading.a_list(raw, "statements", where), 1)
    return Figure(
        table=table,
        labels=labels,
        values=values,
        layers=layers,
        axes=_axes(f"{where}, axes", raw["axes"]),
        statements=tuple(_statement(f"{where}, statement {i}", s, labels) for i, s in statements),
    )


def planned_file(name: str, conf_dir: Path) -> Path:
    """Return the file that describes a table or the figure.

    Args:
        name: name of the table.
        conf_dir: the configuration tree.
    """
    return conf_dir / ("figure" if name == FIGURE1 else "table") / f"{name}.yaml"


def load_planned(name: str, conf_dir: Path) -> Table:
    """Read the table of a name: one of ``conf/table``, or the runs of Figure 1.

    Args:
        name: name of the table.
        conf_dir: the configuration tree.

    Raises:
        TableError: see :func:`load_figure` and ``spec.load_table``.
    """
    return load_figure(conf_dir).table if name == FIGURE1 else load_table(name, conf_dir)


def _table(raw: Mapping[str, Any], series: Sequence[Mapping[str, Any]], where: str) -> Table:
    """Return the runs as a table whose values the paper does not print."""
    columns = raw["columns"]
    check_pairs(columns, f"{where}, columns")
    for name, column in columns.items():
        check_pairs(column, f"{where}, column '{name}'")
    metrics = [name for name, column in columns.items() if "metric" in column]
    unprinted = dict.fromkeys(metrics, MISSING)
    rows = [{"run": one.get("run", []), "paper": unprinted} for one in series]
    table = {key: raw[key] for key in OF_ITS_TABLE}
    return table_of(FIGURE1, {**table, "blocks": [{"label": FIGURE1, "rows": rows}]}, where)


def _values(where: str, raw: Mapping[str, Any], layers: int) -> tuple[float, ...] | None:
    found = raw.get("values", MISSING)
    if found == MISSING:
        return None
    fits = isinstance(found, list) and all(reading.is_number(one, highest=1.0) for one in found)
    if not fits or len(found) != layers:
        raise TableError(
            f"{where}: values must be '{MISSING}', or {layers} numbers in [0, 1], one per layer "
            f"(found {len(found) if isinstance(found, list) else found})"
        )
    return tuple(map(float, found))


def _axes(where: str, raw: Any) -> Axes:
    check_keys(raw, AXES_KEYS, where)
    ticks = tuple(reading.a_list(raw, "y_ticks", where))
    if not all(reading.is_number(one, highest=1e6) for one in ticks):
        raise TableError(f"{where}: y_ticks must be a list of numbers from 0 on")
    names = {key: reading.a_text(raw, key, "", where) for key in ("x", "y")}
    return Axes(**names, y_ticks=ticks)


def _statement(where: str, raw: Any, labels: Sequence[str]) -> Statement:
    check_keys(raw, STATEMENT_KEYS, where)
    text = {key: reading.a_text(raw, key, "", where) for key in STATEMENT_KEYS}
    kinds = tuple(Kind)
    if text["kind"] not in kinds:
        raise TableError(
            f"{where}: kind={text['kind']}{nearest(text['kind'], kinds)}; allowed: "
            f"{', '.join(kinds)}"
        )
    if text["kind"] != Kind.POSITION:
        for key in ("series", "against"):
            if text[key] not in labels:
                raise TableError(
                    f"{where}: {key}='{text[key]}': no such series{nearest(text[key], labels)}; "
                    f"allowed: {', '.join(labels)}"
                )
    return Statement(text["says"], Kind(text["kind"]), text["series"], text["against"])
