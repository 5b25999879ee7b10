"""What a plan is: the runs and artifacts behind some tables, and the state of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig
from scaledrelu.runs.record import Saved, Status
from scaledrelu.runs.result import Result
from scaledrelu.tables.artifacts import PlannedArtifact
from scaledrelu.tables.composer import Composed
from scaledrelu.tables.table import Column, Row, Table


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One distinct run: how to start it and the state of its directory."""

    run_id: str
    overrides: tuple[str, ...]
    seed: int
    config: RunConfig
    science: Mapping[str, Any]  # what its id stands for
    upstream: str | None  # the run whose weights it starts from
    artifact: str | None  # the label maps it learns from
    wave: int
    status: Status
    reason: str | None  # first line of error.txt, or what is damaged and what to do
    result: Result | None = None  # of a finished run
    saved: Saved | None = None  # the checkpoint that an unfinished run continues from


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one row, and the runs that it is the mean of."""

    table: Table
    row: Row
    column: Column
    labels: Mapping[str, str]
    run_ids: tuple[str, ...]  # one per seed
    composed: Composed
    upstream: Composed | None  # of the runs it starts from
    paper: Composed | None = None  # the same row at profile=official, without extra overrides
    paper_upstream: Composed | None = None

    @property
    def on_papers_data(self) -> bool:
        """Whether the same row at profile=official has the same data set."""
        papers = self.paper
        return papers is not None and papers.config.data.name == self.composed.config.data.name


@dataclass(frozen=True, slots=True)
class Plan:
    """The distinct runs behind the cells of some tables."""

    profile: str
    seeds: tuple[int, ...] | None  # None: each table's own
    results: Path
    tables: tuple[Table, ...]
    cells: tuple[Cell, ...]
    runs: Mapping[str, PlannedRun]
    artifacts: Mapping[str, PlannedArtifact]
    overrides: tuple[str, ...] = ()  # extra ones, for every run
    conf_dir: Path = CONF_DIR

    def cells_of(self, table: Table) -> list[Cell]:
        """Return the cells of one table in printed order."""
        return [cell for cell in self.cells if cell.table.name == table.name]

    def runs_of(self, table: Table) -> list[PlannedRun]:
        """Return the distinct runs of one table, upstream ones included."""
        wanted: dict[str, PlannedRun] = {}
        for name in (name for cell in self.cells_of(table) for name in cell.run_ids):
            for needed in self.upstream_of(self.runs[name]):
                wanted[needed] = self.runs[needed]
            wanted[name] = self.runs[name]
        return list(wanted.values())

    def upstream_of(self, run: PlannedRun) -> list[str]:
        """Return the ids of the runs that a run needs, in order."""
        needed = [run.upstream] if run.upstream else []
        if run.artifact:
            needed += self.artifacts[run.artifact].artifact.upstream
        return [name for one in needed for name in (*self.upstream_of(self.runs[one]), one)]

    def crashed_upstream(self, run: PlannedRun) -> str | None:
        """Return the crashed run that keeps a run from starting; None for a finished run."""
        if run.status.done:
            return None
        return next((n for n in self.upstream_of(run) if self.runs[n].status is Status.CRASH), None)
