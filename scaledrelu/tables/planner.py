"""Which runs stand behind some tables, in which order, and the state of each.

A plan is a pure function of table files, configuration and run directories. It trains nothing and
imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scaledrelu.errors import ConfigError, TableError
from scaledrelu.runs.damage import check_runs
from scaledrelu.tables.cell_planner import CellPlanner, PlannedCell
from scaledrelu.tables.composer import Compose, Composer
from scaledrelu.tables.figures import load_planned
from scaledrelu.tables.plan import Plan, PlannedArtifact, PlannedRun
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.table import Row, Table


class Planner:
    """Plans tables of one profile; a row is planned once, the record of a run read once.

    Reports of several kinds look at the same runs: whoever writes them shares one planner.

    Args:
        profile: option of ``conf/profile``.
        results: folder that holds ``runs/``.
        compose: overrides -> composed config.
        overrides: extra overrides for every run, strongest.
    """

    def __init__(
        self, profile: str, *, results: Path, compose: Compose, overrides: Sequence[str] = ()
    ) -> None:
        self.profile, self.results, self.compose = profile, results, compose
        self.overrides = tuple(overrides)
        self._planner = CellPlanner(profile, results, compose, self.overrides)
        self._tables: dict[str, Table] = {}
        self._cells: dict[tuple[int, int, int, tuple[int, ...]], PlannedCell] = {}

    def plan(self, tables: Sequence[Table], seeds: Sequence[int] | None) -> Plan:
        """Resolve every cell of some tables to runs, as they were when first looked at.

        Args:
            tables: what to plan.
            seeds: one run per seed and cell; None takes each table's own.

        Raises:
            TableError: a row that contradicts the configuration.
            ConfigError: an override that does not compose.
            RecordError: the runs may not be read.
        """
        check_runs(self.results)
        tables = tuple(map(self._known, tables))
        planned = [found for table in tables for found in self._cells_of(table, seeds)]
        self.compose.save()
        runs: dict[str, PlannedRun] = {}
        artifacts: dict[str, PlannedArtifact] = {}
        for found in planned:
            for run in found.runs:
                runs.setdefault(run.run_id, run)
            for artifact in found.artifacts:
                artifacts.setdefault(artifact.artifact_id, artifact)
        return Plan(
            profile=self.profile,
            seeds=tuple(seeds) if seeds else None,
            results=self.results,
            tables=tables,
            cells=tuple(found.cell for found in planned),
            runs=runs,
            artifacts=artifacts,
            overrides=self.overrides,
            conf_dir=self.compose.conf_dir,
        )

    def _known(self, table: Table) -> Table:
        """Return the table as it was first read, so that its cells are found again."""
        known = self._tables.setdefault(table.name, table)
        return known if known == table else table

    def _cells_of(self, table: Table, seeds: Sequence[int] | None) -> Iterator[PlannedCell]:
        for row in table.rows:
            wanted = tuple(seeds or table.seeds_of(row).at(self.profile))
            for column in table.metrics:
                # The cell that is kept keeps the three, so that no other object has their ids.
                key = (id(table), id(row), id(column), wanted)
                if key not in self._cells:
                    with _placed(table, row, self.overrides):
                        self._cells[key] = self._planner.cell(table, row, column, wanted)
                yield self._cells[key]


def planner_of(settings: Settings, *, compose: Compose | None = None) -> Planner:
    """Return what plans tables as some settings say.

    Args:
        settings: profile, results folder and overrides.
        compose: overrides -> composed config; None = a new composer with the results' cache.
    """
    composer = compose or Composer(
        settings.results, conf_dir=settings.conf_dir, trust=settings.trust
    )
    return Planner(
        settings.profile,
        results=settings.results,
        compose=composer,
        overrides=settings.overrides,
    )


def plan_tables(settings: Settings, *, planner: Planner | None = None) -> Plan:
    """Resolve the tables of some settings to runs.

    Args:
        settings: tables, profile, seeds, results folder and overrides.
        planner: one of these settings; None = a new one.

    Raises:
        TableError, ConfigError: one line, naming the table and row or the key.
    """
    tables = [load_planned(name, settings.conf_dir) for name in settings.tables]
    return plan_loaded(tables, settings, planner=planner)


def plan_loaded(
    tables: Sequence[Table], settings: Settings, *, planner: Planner | None = None
) -> Plan:
    """Resolve some tables to runs, whichever tables the settings name.

    Args:
        tables: what to plan.
        settings: profile, seeds, results folder and overrides.
        planner: one of these settings; None = a new one.

    Raises:
        TableError, ConfigError: one line, naming the table and row or the key.
    """
    return (planner or planner_of(settings)).plan(tables, settings.seeds)


@contextmanager
def _placed(table: Table, row: Row, extra: Sequence[str]) -> Iterator[None]:
    """Name the row in an error, unless the error is about one of the extra overrides."""
    try:
        yield
    except (ConfigError, TableError) as error:
        if extra and str(error).startswith(tuple(item.partition("=")[0] for item in extra)):
            raise
        name = f"row {row.number}" if row.number else f"baseline of {row.block}"
        raise type(error)(f"{table.name}, {name}: {error}") from error
