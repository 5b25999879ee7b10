"""How far a table agrees with the paper, beside what a constant guess would score.

Two questions: who crashes (a 2 x 2 count), and in which order the rest comes (Kendall's tau-b per
block). Misprints are left out of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scaledrelu.reports.cells import CellValue
from scaledrelu.reports.grid import grid_columns, signed
from scaledrelu.reports.statistics import kendall_tau_b
from scaledrelu.runs.record import Status
from scaledrelu.tables.table import CRASH, Table
from scaledrelu.text import markdown_table

FEWEST_ROWS = 3  # that an order is told of


@dataclass(frozen=True, slots=True)
class CrashCount:
    """Rows by what happened here and in the paper; metrics of the same runs count once."""

    both: int
    only_ours: int
    only_paper: int
    neither: int

    @property
    def total(self) -> int:
        """Return the number of rows compared."""
        return self.both + self.only_ours + self.only_paper + self.neither

    @property
    def alike(self) -> int:
        """Return the number of rows that crash in both or in neither."""
        return self.both + self.neither

    @property
    def paper_crashes(self) -> int:
        """Return the number of rows that crash in the paper."""
        return self.both + self.only_paper

    @property
    def never(self) -> int:
        """Return what the guess "never a crash" would score."""
        return self.total - self.paper_crashes


@dataclass(frozen=True, slots=True)
class Order:
    """How alike the rows of a block are ordered here and in the paper, by one metric."""

    block: str
    metric: str
    tau: float
    num_rows: int


def agreement_text(table: Table, values: Sequence[CellValue]) -> str:
    """Return the agreement of a table as markdown; empty where the paper has no such column.

    Args:
        table: the table.
        values: its cells, in printed order.
    """
    if not any(value.finished for value in values):
        return "No run of this table has finished yet."
    count, order = crash_count(values), orders(table, values)
    parts = [_crash_text(count, len(grid_columns(table)))] if count.total else []
    parts += [_order_text(order)] if order else []
    return "\n\n".join(["## Agreement with the paper", *parts]) if parts else ""


def crash_count(values: Iterable[CellValue]) -> CrashCount:
    """Count the rows with a finished run, ours by the paper's."""
    known = [v for v in values if v.is_comparable and v.status in (Status.OK, Status.CRASH)]
    return counted([(g[0].status is Status.CRASH, g[0].paper == CRASH) for g in by_runs(known)])


def counted(told: Sequence[tuple[bool, bool]]) -> CrashCount:
    """Count rows, each told by whether it crashes here and whether it does in the paper."""
    return CrashCount(
        both=told.count((True, True)),
        only_ours=told.count((True, False)),
        only_paper=told.count((False, True)),
        neither=told.count((False, False)),
    )


def orders(table: Table, values: Sequence[CellValue]) -> list[Order]:
    """Return tau-b of every block and column with enough rows that crash on neither side.

    Args:
        table: the table.
        values: its cells.
    """
    found = []
    for block in dict.fromkeys(row.block for row in table.rows):
        for column in table.metrics:
            rows = [
                (value.value, value.target)
                for value in values
                if (value.cell.row.block, value.cell.column) == (block, column)
                and value.is_comparable
                and value.status is Status.OK
            ]
            found.append(order_of(block, column.header, rows))
    return [order for order in found if order]


def order_of(
    block: str, metric: str, rows: Iterable[tuple[float | None, float | None]]
) -> Order | None:
    """Return tau-b over the rows with a number on both sides; None with too few of them.

    Args:
        block: its label.
        metric: name of the metric.
        rows: our number and the paper's, of rows that crash on neither side.
    """
    known = [row for row in rows if None not in row]
    if len(known) < FEWEST_ROWS:
        return None
    return Order(block, metric, kendall_tau_b(*zip(*known, strict=True)), len(known))


def by_runs(values: Iterable[CellValue]) -> list[list[CellValue]]:
    """Return the cells that are metrics of the same runs of a row together."""
    shared: dict[tuple[str, int, tuple[str, ...]], list[CellValue]] = {}
    for value in values:
        cell = value.cell
        shared.setdefault((cell.row.block, cell.row.number, cell.run_ids), []).append(value)
    return list(shared.values())


def _crash_text(count: CrashCount, num_grids: int) -> str:
    rows = "rows" if num_grids == 1 else f"rows ({num_grids} data sets, each row of each once)"
    shared = (
        f"Crashes of the paper that crash here too: {count.both} of {count.paper_crashes}."
        if count.paper_crashes
        else "None of these crashes in the paper."
    )
    lines = (
        ["crash here", str(count.both), str(count.only_ours)],
        ["no crash here", str(count.only_paper), str(count.neither)],
    )
    blocks = [
        "Crash or no crash, where runs have finished. A row of ours is a crash if more than half "
        "of its finished seeds crashed.",
        markdown_table(["", "crash in the paper", "a number in the paper"], lines),
        f'As in the paper: {count.alike} of {count.total} {rows}. The constant guess "never a '
        f'crash" would score {count.never} of {count.total}. {shared}',
    ]
    return "\n\n".join(blocks)


def _order_text(found: Sequence[Order]) -> str:
    about = (
        "Order of the rows in a block, by Kendall's tau-b between our mean over all seeds and the "
        "paper's number: 1 is the paper's order, -1 its reverse. Rows that are a crash here or "
        "there and misprints are left out; blocks with fewer than three rows left are not shown."
    )
    headers = ["block", "metric", "tau-b", "of a constant guess", "rows compared"]
    lines = [[o.block, o.metric, signed(o.tau, 2), "0", str(o.num_rows)] for o in found]
    return f"{about}\n\n{markdown_table(headers, lines)}"
