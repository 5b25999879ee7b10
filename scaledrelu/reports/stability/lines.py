"""The rows of a table as lines: one network and optimizer, one warm-up, rate after rate.

What differs in nothing but the learning rate, the warm-up and the seed is one series; a series has
one line for each warm-up. Rows that start from another run are left out, since their rate is not
the one that their network first learned with.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scaledrelu.config.identity import canonical
from scaledrelu.reports.agreement import by_runs
from scaledrelu.reports.cells import CellValue, SeedValue, read_cell
from scaledrelu.runs.record import Status
from scaledrelu.runs.result import NON_FINITE
from scaledrelu.tables.captions import rows_text
from scaledrelu.tables.plan import Cell, Plan
from scaledrelu.tables.table import Table

RATE_AND_WARMUP = ("lr", "warmup", "seed")
ALWAYS_NAMED = ("stem", "optimizer")
NAMED = (*ALWAYS_NAMED, "ffn", "model", "recipe", "data", "precision")  # where series differ in it


@dataclass(frozen=True, slots=True)
class RateLine:
    """Runs that differ in nothing but rate and seed.

    Attributes:
        series: name of what is trained, e.g. ``conv, adamw``.
        warmup: epochs of the paper.
        cells: rate, as the paper writes it -> its runs; smallest rate first.
    """

    series: str
    warmup: float
    cells: Mapping[float, CellValue]

    @property
    def name(self) -> str:
        """The series and its warm-up."""
        return f"{self.series}, warm-up {self.warmup:g}"


def read_lines(plan: Plan, table: Table) -> list[RateLine]:
    """Return the lines of a table in its own order.

    Args:
        plan: the plan that the table belongs to.
        table: its first column with a metric is read.
    """
    values = [read_cell(plan, cell) for cell in plan.cells_of(table) if cell.upstream is None]
    values = [group[0] for group in by_runs(values)]
    names = series_names([value.cell for value in values])
    found: dict[tuple[str, float], dict[float, CellValue]] = {}
    for value in values:
        config = value.cell.composed.config
        key = (names[series_of(value.cell)], config.warmup.length(1.0))  # in epochs of the paper
        found.setdefault(key, {}).setdefault(config.lr.base, value)
    return [RateLine(*key, dict(sorted(cells.items()))) for key, cells in found.items()]


def series_of(cell: Cell) -> str:
    """Return what cells share that differ in rate, warm-up and seed alone."""
    science = {k: v for k, v in canonical(cell.composed.config).items() if k not in RATE_AND_WARMUP}
    start = canonical(cell.upstream.config) if cell.upstream else None
    return json.dumps([science, start], sort_keys=True)


def series_names(cells: Sequence[Cell]) -> dict[str, str]:
    """Return a short name for every series of some cells: the options in which they differ.

    Where options do not tell two series apart, the numbers of their rows do.
    """
    of_series: dict[str, list[Cell]] = {}
    for cell in cells:
        of_series.setdefault(series_of(cell), []).append(cell)
    varied = [g for g in NAMED if g in ALWAYS_NAMED or len({_option(c, g) for c in cells}) > 1]
    names = {
        key: ", ".join(option for group in varied if (option := _option(own[0], group)))
        for key, own in of_series.items()
    }
    twice = {name for name, count in Counter(names.values()).items() if count > 1}
    return {
        key: f"{name} (row {_rows(of_series[key])})" if name in twice else name
        for key, name in names.items()
    }


def rates_of(lines: Iterable[RateLine]) -> list[float]:
    """Return every rate of some lines, smallest first."""
    return sorted({rate for line in lines for rate in line.cells})


def final_loss(found: SeedValue) -> float | None:
    """Return the validation loss that a run ended with; None where it has not finished.

    A run whose loss was no longer finite has lost its weights' worth: infinity, whatever its last
    evaluation had found before.
    """
    if not found.status.done or found.run.result is None:
        return None
    if found.status is Status.CRASH and found.why == NON_FINITE:
        return math.inf
    loss = found.run.result.metrics.get("val/loss")
    return None if loss is None else (loss if math.isfinite(loss) else math.inf)


def _option(cell: Cell, group: str) -> str:
    return cell.composed.choices.get(group, "")


def _rows(cells: Iterable[Cell]) -> str:
    return rows_text([str(cell.row.number) for cell in cells])
