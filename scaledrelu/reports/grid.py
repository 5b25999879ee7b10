"""The numbers of a table as markdown grids, ours beside the paper's: one grid per data set.

How many seeds crashed comes first, then the mean over all of them, then the mean over those that
held: no seed is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from scaledrelu.reports.cells import CellValue
from scaledrelu.reports.comparison import (
    Difference,
    against_base,
    against_paper,
    base_of,
    paper_against_base,
    resolution_notes,
)
from scaledrelu.reports.statistics import Estimate, telling_digits
from scaledrelu.runs.record import Status
from scaledrelu.tables.table import Column, Row, Table
from scaledrelu.text import markdown_table, plus_minus

DASH = "-"


@dataclass(frozen=True, slots=True)
class MetricColumn:
    """One printed column of a metric.

    Attributes:
        header: what it is.
        text: what it says of a cell.
        short: what it is, in a few words; empty: as the header says.
    """

    header: str
    text: Callable[[CellValue], str]
    short: str = ""

    @property
    def name(self) -> str:
        """What it is, in a few words."""
        return self.short or self.header


def grids(table: Table, values: Sequence[CellValue]) -> str:
    """Return the grids of a table, each with the notes needed to read it.

    Columns with their own overrides (another data set) have their own grid.

    Args:
        table: the table.
        values: its cells, in printed order.
    """
    groups, blocks = grid_columns(table), []
    for columns in groups:
        if len(groups) > 1:
            blocks.append(f"## {grid_title(columns)}")
        blocks.append(_grid(table, columns, [v for v in values if v.cell.column in columns]))
    return "\n\n".join(blocks)


def grid_columns(table: Table) -> list[list[Column]]:
    """Return the metric columns whose runs are the same together."""
    groups: dict[tuple[str, ...], list[Column]] = {}
    for column in table.metrics:
        groups.setdefault(column.run, []).append(column)
    return list(groups.values())


def grid_title(columns: Sequence[Column]) -> str:
    """Return the common beginning of the headers of some columns, e.g. ``Market-1501``."""
    headers = [column.header for column in columns]
    words = zip(*(header.replace(",", "").split() for header in headers), strict=False)
    alike = [w[0] for w in takewhile(lambda same: len(set(same)) == 1, words)]
    return " ".join(alike) or ", ".join(headers)


def row_name(row: Row) -> str:
    """Return the name of a row in the notes below a table."""
    return f"base ({row.block})" if row.is_baseline else str(row.number)


def seeds_text(value: CellValue) -> str:
    """Return how many of the finished seeds crashed, and how many did not finish."""
    finished = len(value.finished)
    parts = [f"{value.count(Status.CRASH)} of {finished} crashed"] if finished else []
    for status in (Status.FAILED, Status.DAMAGED, Status.MISSING):
        if value.count(status):
            parts.append(f"{value.count(status)} {status}")
    return ", ".join(parts)


def signed(number: float, digits: int) -> str:
    """Return a difference with its sign; one that rounds to nothing has no minus.

    Args:
        number: the difference.
        digits: digits after the decimal point.
    """
    text = f"{number:+.{digits}f}"
    return text.replace("-", "+") if float(text) == 0 else text


def difference_text(size: Estimate, digits: int) -> str:
    """Return ``-0.0049 +/- 0.0051``: with so many digits that one sees whether zero is inside.

    Args:
        size: a difference.
        digits: digits after the decimal point, where these suffice.
    """
    ends = [] if size.half is None else [(abs(size.mean), size.half)]
    digits = telling_digits(ends, digits)
    return f"{signed(size.mean, digits)}{plus_minus(size.half, digits)}"


def _grid(table: Table, columns: Sequence[Column], values: Sequence[CellValue]) -> str:
    parts = {column: grid_parts(table, column, values) for column in columns}
    headers = ["row", *(column.header for column in table.labels), "seeds"]
    headers += [part.header for column in columns for part in parts[column]]
    lines = []
    for row in table.rows:
        cells = [value for value in values if value.cell.row is row]
        texts = [part.text(value) for value in cells for part in parts[value.cell.column]]
        labels = cells[0].cell.labels.values()
        lines.append([row_number(row), *labels, seeds_text(cells[0]), *texts])
    legend = "\n".join(f"- {note}" for note in grid_legend(columns, values))
    return "\n\n".join(filter(None, [markdown_table(headers, lines), legend]))


def row_number(row: Row) -> str:
    """Return what the first column of a grid says: ``6``, ``7 (base)``."""
    if row.is_baseline:
        return "base"
    return f"{row.number} (base)" if row.is_reference else str(row.number)


def grid_parts(table: Table, column: Column, values: Sequence[CellValue]) -> list[MetricColumn]:
    """Return the printed columns of one metric, without those that are empty in every row.

    Args:
        table: the table.
        column: the metric.
        values: cells of this metric, and perhaps of others.
    """
    name, digits = column.header, column.digits
    own = [value for value in values if value.cell.column is column]
    printed = table.is_printed(column)
    parts = [MetricColumn(f"{name}, paper", _paper, "paper")] if printed else []
    who = f"{name}, ours" if printed else name
    how = ": mean over all seeds +/- 95 % t interval" if _are_repeated(own) else ""
    short = "ours" if printed else name
    parts.append(MetricColumn(who + how, _all_seeds, short))
    if any(value.count(Status.CRASH) and value.held for value in own):
        header = f"{who}: over the seeds that held"
        parts.append(MetricColumn(header, _held, f"{short}, seeds that held"))
    if any(against_paper(value) for value in own):
        parts.append(MetricColumn("delta", lambda v: _difference(against_paper(v), digits, v)))
    if any(base_of(value, values) for value in own):
        ours = MetricColumn(
            "ours vs base", lambda v: _difference(against_base(v, base_of(v, values)), digits, v)
        )
        paper = MetricColumn("paper vs base", lambda v: _papers_difference(v, base_of(v, values)))
        parts += [paper, ours] if printed else [ours]
    if table.judged and column is table.metrics[-1]:
        parts.append(_judged_part(own))
    return parts


def _judged_part(values: Sequence[CellValue]) -> MetricColumn:
    """Return the losses that the crash rule judged, seed by seed, beside their limit."""
    limits = {f"{s.limit:.3f}" for value in values for s in value.seeds if s.limit is not None}
    above = f", a crash above {limits.pop()}" if len(limits) == 1 else ""
    return MetricColumn(f"judged loss by seed{above}", _judged, "judged loss by seed")


def _judged(value: CellValue) -> str:
    losses = [s.judged_loss for s in value.seeds if s.status.done]
    return ", ".join(DASH if loss is None else f"{loss:.3f}" for loss in losses) or DASH


def _paper(value: CellValue) -> str:
    if isinstance(value.paper, str):
        return value.paper
    doubt = f" ({value.doubt})" if value.doubt else ""
    return f"{value.paper:.{value.cell.column.digits}f}{doubt}"


def _all_seeds(value: CellValue) -> str:
    digits, without = value.cell.column.digits, value.num_without_value
    if value.all_seeds is None:
        return "no value" if value.finished else DASH
    lacking = f" ({without} without value)" if without else ""
    return value.all_seeds.text(digits) + lacking


def _held(value: CellValue) -> str:
    if not value.finished:
        return DASH
    if value.held is None:
        return "none"
    same = not value.count(Status.CRASH)
    return "the same" if same else value.held.text(value.cell.column.digits)


def _difference(difference: Difference | None, digits: int, value: CellValue) -> str:
    if difference is None:
        return DASH
    size, seeds = difference.size, len(value.finished)
    remarks = [f"{size.n} of {seeds} seeds"] if size.n < seeds else []
    remarks += ["undecided"] if seeds > 1 and not difference.is_decided else []
    behind = f" ({', '.join(remarks)})" if remarks else ""
    return f"{difference_text(size, digits)}{behind}"


def _papers_difference(value: CellValue, base: CellValue | None) -> str:
    difference = paper_against_base(value, base)
    return DASH if difference is None else signed(difference, value.cell.column.digits)


def grid_legend(columns: Sequence[Column], values: Sequence[CellValue]) -> list[str]:
    """Return how to read a grid, with notes only about what occurs in it.

    Args:
        columns: its metrics.
        values: its cells.
    """
    notes = []
    if any(value.all_seeds for value in values):
        notes.append(_about_means(values))
    if any(value.num_without_value for value in values):
        notes.append(
            "A run that stopped where its loss was no longer finite, or that could not start "
            "because the run that it starts from crashed, has no value: it counts as crashed and "
            "is in no mean."
        )
    differences = [against_paper(value) for value in values]
    differences += [against_base(value, base_of(value, values)) for value in values]
    if any(base_of(value, values) for value in values):
        notes.append("vs base: against the block's base row, over the seeds that both rows have.")
    doubted = any(difference and not difference.is_decided for difference in differences)
    if doubted and _are_repeated(values):
        notes.append(
            "undecided: the interval over seeds contains zero, or the difference is smaller than "
            "what the images can resolve."
        )
    return [*notes, *(f"{note}." for note in resolution_notes(columns, values))]


def _about_means(values: Sequence[CellValue]) -> str:
    crashed = "; a crashed run counts with the value it ended at"
    if not _are_repeated(values):
        return (
            f"One seed per row{crashed}. Where another seed would end is not known, so no "
            "difference between rows is decided."
        )
    wide = any(_reaches_beyond(value.all_seeds) or _reaches_beyond(value.held) for value in values)
    return (
        f"Ours is the mean over all finished seeds{crashed}. Behind +/- stands half of the 95 % t "
        "interval of that mean, which assumes normally distributed seeds"
        + (
            "; where it reaches below 0 or above 100, the seeds do not settle the mean." * wide
            or "."
        )
    )


def _reaches_beyond(found: Estimate | None) -> bool:
    if found is None or found.half is None:
        return False
    return found.mean - found.half < 0 or found.mean + found.half > 100


def _are_repeated(values: Sequence[CellValue]) -> bool:
    return any(value.all_seeds and value.all_seeds.n > 1 for value in values)
