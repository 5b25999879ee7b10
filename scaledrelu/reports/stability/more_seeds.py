"""What a table says of settings of a grid that it trains with more seeds.

Few seeds place an edge roughly, so the crashes of all others that there are stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scaledrelu.reports.cells import CellValue, read_cell
from scaledrelu.reports.stability.lines import RateLine
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import load_table
from scaledrelu.tables.table import Table


@dataclass(frozen=True, slots=True)
class MoreSeeds:
    """One rate of a line, in the grid and in the table with more seeds."""

    line: RateLine
    rate: float
    here: CellValue
    there: CellValue


def more_seeds(
    plan: Plan, table: Table, lines: Sequence[RateLine], planner: Planner | None = None
) -> list[MoreSeeds]:
    """Return the settings with more finished seeds in the table that a table's file names.

    Args:
        plan: the plan that the table belongs to.
        table: the table.
        lines: its rows as lines of rates.
        planner: plans with the same profile and results; None = a new one.
    """
    if not table.more_seeds:
        return []
    planner = planner or Planner(
        plan.profile,
        results=plan.results,
        compose=Composer(plan.results, conf_dir=plan.conf_dir),
        overrides=plan.overrides,
    )
    wider = planner.plan([load_table(table.more_seeds, plan.conf_dir)], None)
    values = [read_cell(wider, cell) for cell in wider.cells]
    by_run = {name: value for value in values for name in value.cell.run_ids}
    found = []
    for line in lines:
        for rate, here in line.cells.items():
            # The same setting is the same run, seed by seed.
            there = next((by_run[name] for name in here.cell.run_ids if name in by_run), None)
            if there and len(there.finished) > len(here.finished):
                found.append(MoreSeeds(line, rate, here, there))
    return found
