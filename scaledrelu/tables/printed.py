"""What tables say of a run: which of them print it, and the paper's values there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from scaledrelu.config.run import RunConfig
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.table import MISSING


@dataclass(frozen=True, slots=True)
class Printed:
    """What tables say of one run.

    Attributes:
        tables: names of the tables that print it, sorted.
        paper: ``table/column`` -> what the paper prints there: a number or ``crash``.
    """

    tables: tuple[str, ...] = ()
    paper: Mapping[str, float | str] = field(default_factory=dict)

    def beside(self, other: Printed) -> Printed:
        """Return both together; what this one says comes first."""
        tables = sorted({*self.tables, *other.tables})
        return Printed(tuple(tables), {**other.paper, **self.paper})


def printed_of(plan: Plan) -> dict[str, Printed]:
    """Return what the tables of a plan say of each run that they print."""
    found: dict[str, Printed] = {}
    for cell in plan.cells:
        value = cell.row.paper[cell.column.name]
        paper = {} if value == MISSING else {f"{cell.table.name}/{cell.column.name}": value}
        here = Printed((cell.table.name,), paper)
        for run_id in cell.run_ids:
            found[run_id] = found.get(run_id, Printed()).beside(here)
    return found


def with_printed(config: RunConfig, printed: Printed | None) -> RunConfig:
    """Return a configuration whose copy at W&B has the tables as tags and the paper's values.

    Args:
        config: a run's configuration.
        printed: what tables say of the run; None for one that none prints.
    """
    said = printed or Printed()
    paper = tuple(f"{place}={value}" for place, value in sorted(said.paper.items()))
    return replace(config, wandb=replace(config.wandb, tags=said.tables, paper=paper))
