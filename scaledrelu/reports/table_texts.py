"""What reports say of a table: its cells with their runs, and sections of text; said once for all.

The table's own file and the page about the profile hold the same text, so it is made once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scaledrelu.reports.cells import CellValue, read_cell
from scaledrelu.reports.markdown import sections
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.table import Table


@dataclass(frozen=True, slots=True)
class TableText:
    """What is said of one table.

    Attributes:
        values: its cells, in printed order.
        texts: the sections of its report by name, without the grids.
    """

    values: Sequence[CellValue]
    texts: Mapping[str, str]


class TableTexts:
    """Reads tables and says what there is to say; asked again about the same runs, it remembers."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[list[PlannedRun], TableText]] = {}

    def __call__(self, plan: Plan, table: Table) -> TableText:
        """Return what is said of a table.

        Args:
            plan: the plan behind it; every plan that is asked about has the same overrides.
            table: one of its tables.
        """
        cells, runs = plan.cells_of(table), plan.runs_of(table)
        known = self._known.get(table.name)
        if known and [value.cell for value in known[1].values] == cells and known[0] == runs:
            return known[1]
        values = [read_cell(plan, cell) for cell in cells]
        found = TableText(values, sections(plan, table, values))
        self._known[table.name] = runs, found
        return found
