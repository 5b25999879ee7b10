"""What sets the rows of a table apart from the paper's recipe, composed and not remembered.

Each row is composed again at ``profile=official``; every scientific field whose value differs is
one line. Nothing here is kept by hand, so a profile cannot change a run in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scaledrelu.reports.grid import row_name
from scaledrelu.reports.readable_config import NONE, describe_run
from scaledrelu.tables.captions import rows_text
from scaledrelu.tables.plan import Cell, Plan
from scaledrelu.tables.table import Table
from scaledrelu.text import markdown_table

TITLE = "What differs from the paper's recipe"
RELEASED = (
    "In the paper these rows start from released weights (`init.kind` above). What stands for them "
    "here is a pre-training of our own, compared with the official one at `profile=official`."
)


@dataclass(frozen=True, slots=True)
class RowAtBothScales:
    """One row (and data set) of a table: its description at paper scale and here."""

    row: str  # its number; base (block) for a baseline
    where: str  # overrides of its column, where columns are other runs
    paper: Mapping[str, str]
    here: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field that has other values than the paper's, and the rows where it has them."""

    field: str
    paper: str
    here: str
    pairs: tuple[RowAtBothScales, ...]


def recipe_differences(plan: Plan, table: Table) -> str:
    """Return the section of a report: one small table, and one for what the rows start from.

    Args:
        plan: holds each cell composed for its profile and for the paper's.
        table: one of its tables.

    Returns:
        Markdown; empty where nothing differs, as at ``profile=official``.
    """
    cells = [cell for cell in plan.cells_of(table) if cell.paper is not None]
    sizes = _known_sizes(plan, cells)
    parts = [_small_table([_pair(cell, cell.paper, cell.composed, sizes) for cell in cells])]
    chained = [cell for cell in cells if cell.upstream and cell.paper_upstream]
    upstream = [_pair(cell, cell.paper_upstream, cell.upstream, sizes) for cell in chained]
    if lines := _small_table(upstream):
        rows = rows_text(dict.fromkeys(pair.row for pair in upstream))
        parts += [f"In the pre-training that rows {rows} start from:", lines]
        if any(cell.row.released_weights for cell in chained):
            parts.append(RELEASED)
    return "\n\n".join([f"## {TITLE}", *filter(None, parts)]) if any(parts) else ""


def differences(pairs: Sequence[RowAtBothScales]) -> list[FieldDifference]:
    """Return every field that differs somewhere, in the order of the fields."""
    found = []
    for name in _in_order(pairs):
        values: dict[tuple[str, str], list[RowAtBothScales]] = {}
        for pair in pairs:
            both = (pair.paper.get(name, NONE), pair.here.get(name, NONE))
            if both[0] != both[1]:
                values.setdefault(both, []).append(pair)
        found += [FieldDifference(name, *both, tuple(where)) for both, where in values.items()]
    return found


def _in_order(pairs: Iterable[RowAtBothScales]) -> list[str]:
    """Merge the fields of all rows; one that only some have stands after what it follows there."""
    order: list[str] = []
    for names in (side for pair in pairs for side in (pair.paper, pair.here)):
        place = 0
        for name in names:
            if name in order:
                place = order.index(name) + 1
            else:
                order.insert(place, name)
                place += 1
    return order


def _pair(
    cell: Cell, paper: Any, here: Any, sizes: Mapping[str, Mapping[str, int]]
) -> RowAtBothScales:
    both = [describe_run(c.config, sizes.get(c.config.data.name, {})) for c in (paper, here)]
    return RowAtBothScales(row_name(cell.row), ", ".join(cell.column.run), *both)


def _known_sizes(plan: Plan, cells: Iterable[Cell]) -> dict[str, Mapping[str, int]]:
    """Return data set -> its size: as published, else the most that a finished run has used."""
    known: dict[str, Mapping[str, int]] = {}
    for cell in cells:
        configs = (cell.paper, cell.paper_upstream, cell.composed, cell.upstream)
        for composed in filter(None, configs):
            if declared := composed.config.data.build.get("expect"):
                known[composed.config.data.name] = declared
    declared_names = set(known)
    for name in dict.fromkeys(run_id for cell in cells for run_id in cell.run_ids):
        data = plan.runs[name].config.data.name
        result = plan.runs[name].result if data not in declared_names else None
        used = result.data if result else {}
        if used.get("train", 0) > known.get(data, {}).get("train", 0):
            known[data] = used
    return known


def _small_table(pairs: Sequence[RowAtBothScales]) -> str:
    found = differences(pairs)
    if not found:
        return ""
    everywhere = {(pair.row, pair.where) for pair in pairs}
    shared = [len({(p.row, p.where) for p in item.pairs}) == len(everywhere) for item in found]
    headers = ["field", "paper", "here"] + ([] if all(shared) else ["rows"])
    lines = []
    for item, is_shared in zip(found, shared, strict=True):
        name = f"`{item.field}`" if "." in item.field else item.field  # a config key
        cells = [name, item.paper, item.here]
        rows = [] if all(shared) else ["all" if is_shared else _where_text(item.pairs, pairs)]
        lines.append([*cells, *rows])
    return markdown_table(headers, lines)


def _where_text(some: Sequence[RowAtBothScales], every: Sequence[RowAtBothScales]) -> str:
    """Name rows, and the column's overrides where a field differs for some columns of them only."""
    rows = dict.fromkeys(pair.row for pair in some)
    columns = dict.fromkeys(pair.where for pair in some)
    of_rows = dict.fromkeys(pair.where for pair in every if pair.row in rows)
    where = "" if len(columns) == len(of_rows) else f" ({'; '.join(columns)})"
    return f"{'all' if len(rows) == len({p.row for p in every}) else rows_text(rows)}{where}"
