"""The runs that the page on theory needs beside published ones: ``conf/theory.yaml``, planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.config.seeds import Seeds
from scaledrelu.errors import ConfigError
from scaledrelu.runs.record import Status, run_directory
from scaledrelu.tables import reading
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import merge_overrides
from scaledrelu.tables.table import MISSING, Column, Row, Table

FILE = "theory.yaml"
KEYS = ("base", "seeds", "runs")
PROFILE = "mini"  # of these runs, and of the published ones that the page reads
LABELS = (
    Column(name="components", header="components", source="components", kind="caption"),
    Column(name="decay_all", header="decay_all", source="optimizer.decay_all", kind="from"),
)
TOP1 = Column(name="top1", header="Top-1 acc", source="val/top1", kind="metric")


@dataclass(frozen=True, slots=True)
class TheoryRun:
    """One run of the page: what ``conf/theory.yaml`` calls it, its seed and its folder."""

    name: str
    seed: int
    run: PlannedRun
    folder: Path

    @property
    def is_there(self) -> bool:
        """Whether it is trained and did not crash: its weights can be looked at."""
        return self.run.status is Status.OK


def plan_theory(*, results: Path, conf_dir: Path) -> Plan:
    """Plan the runs of ``conf/theory.yaml``.

    Args:
        results: folder that holds ``runs/``.
        conf_dir: the configuration tree.

    Raises:
        ScaledReluError: one line naming the file and the place.
    """
    table = _table(conf_dir)
    composer = Composer(results, conf_dir=conf_dir)
    return Planner(PROFILE, results=results, compose=composer).plan([table], None)


def theory_runs(plan: Plan) -> list[TheoryRun]:
    """Return the runs of a plan with the names that the file gives them."""
    found = []
    for cell in plan.cells:
        for name in cell.run_ids:
            run = plan.runs[name]
            folder = run_directory(plan.results, name)
            found.append(TheoryRun(cell.row.block, run.seed, run, folder))
    return found


def named(runs: Sequence[TheoryRun], *names: str) -> list[TheoryRun]:
    """Return the trained runs with one of these names, in order.

    Args:
        runs: all runs of the page.
        names: those of ``conf/theory.yaml``.
    """
    return [run for name in names for run in runs if run.name == name and run.is_there]


def _table(conf_dir: Path) -> Table:
    where = f"conf/{FILE}"
    raw = reading.read_yaml(conf_dir / FILE, where)
    reading.check_keys(raw, KEYS, where)
    runs = raw.get("runs")
    if not isinstance(runs, dict) or not runs:
        raise ConfigError(f"{where}: no 'runs'; write <name>: [<override>, ...] below it")
    base = reading.overrides(raw, "base", where)
    rows = [
        Row(
            number=number,
            block=name,
            run=merge_overrides(base, reading.overrides(runs, name, where)),
            upstream=None,
            released_weights={},
            paper={TOP1.name: MISSING},
        )
        for number, name in enumerate(runs, start=1)
    ]
    seeds = reading.seeds(raw, where) or Seeds((0,))
    return Table("theory", "", "The paper's theory", (*LABELS, TOP1), tuple(rows), seeds)
