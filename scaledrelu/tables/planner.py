"""Which runs stand behind some tables, in which order, and the state of each.

A plan is a pure function of table files, configuration and run directories. It trains nothing and
imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaledrelu.config.artifacts import Artifact, data_artifact, label_artifact
from scaledrelu.config.data import MADE
from scaledrelu.config.identity import canonical, id_of, is_transient, with_start
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import ConfigError, TableError, nearest
from scaledrelu.runs.damage import RecordError, check_runs
from scaledrelu.runs.record import (
    Saved,
    Status,
    finished_result,
    read_error,
    read_saved,
    run_directory,
    unfinished_status,
)
from scaledrelu.runs.result import Result
from scaledrelu.tables.artifacts import PlannedArtifact, inspect_artifact
from scaledrelu.tables.captions import Subject, label
from scaledrelu.tables.composer import Compose, Composed, Composer
from scaledrelu.tables.figures import load_planned
from scaledrelu.tables.plan import Cell, Plan, PlannedRun
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.spec import merge_overrides
from scaledrelu.tables.table import Column, Row, Table

GROUPS_OF_A_BACKBONE = ("model", "stem", "ffn")  # a run has them from the run it starts from
PLACEHOLDER_START = ("init=run", "init.run=upstream")
OFFICIAL = "official"  # the profile that other profiles are compared with


def build_plan(
    tables: Sequence[Table],
    *,
    profile: str,
    seeds: Sequence[int] | None,
    results: Path,
    compose: Compose,
    overrides: Sequence[str] = (),
) -> Plan:
    """Resolve every cell of some tables to runs.

    Args:
        tables: what to plan.
        profile: option of ``conf/profile``.
        seeds: one run per seed and cell; None takes each table's own.
        results: folder that holds ``runs/``.
        compose: overrides -> composed config.
        overrides: extra overrides for every run, strongest.

    Raises:
        TableError: a row that contradicts the configuration.
        ConfigError: an override that does not compose.
        RecordError: the runs may not be read.
    """
    check_runs(results)
    planner = _Planner(profile, results, compose, tuple(overrides))
    cells = []
    for table in tables:
        for row in table.rows:
            for column in table.metrics:
                wanted = tuple(seeds or table.seeds_of(row).at(profile))
                with _placed(table, row, overrides):
                    cells.append(planner.cell(table, row, column, wanted))
    return Plan(
        profile=profile,
        seeds=tuple(seeds) if seeds else None,
        results=results,
        tables=tuple(tables),
        cells=tuple(cells),
        runs=planner.runs,
        artifacts=planner.artifacts,
        overrides=tuple(overrides),
        conf_dir=compose.conf_dir,
    )


def plan_tables(settings: Settings, *, compose: Compose | None = None) -> Plan:
    """Resolve the tables of some settings to runs.

    Args:
        settings: tables, profile, seeds, results folder and overrides.
        compose: overrides -> composed config; None = a new composer with the results' cache.

    Raises:
        TableError, ConfigError: one line, naming the table and row or the key.
    """
    tables = [load_planned(name, settings.conf_dir) for name in settings.tables]
    return plan_loaded(tables, settings, compose=compose)


def plan_loaded(
    tables: Sequence[Table], settings: Settings, *, compose: Compose | None = None
) -> Plan:
    """Resolve some tables to runs, whichever tables the settings name.

    Args:
        tables: what to plan.
        settings: profile, seeds, results folder and overrides.
        compose: overrides -> composed config; None = a new composer with the results' cache.

    Raises:
        TableError, ConfigError: one line, naming the table and row or the key.
    """
    composer = compose or Composer(settings.results, conf_dir=settings.conf_dir)
    plan = build_plan(
        tables,
        profile=settings.profile,
        seeds=settings.seeds,
        results=settings.results,
        compose=composer,
        overrides=settings.overrides,
    )
    composer.save()
    return plan


def compose_at_paper(
    compose: Compose, row: Row, column: Column
) -> tuple[Composed, Composed | None]:
    """Compose a row as the table file has it, and what it starts from, at paper scale.

    Extra overrides are left out: they are differences from the paper, too.

    Args:
        compose: overrides -> composed config.
        row: the row.
        column: one of its metrics.
    """
    outside = row.released_weights.get(OFFICIAL)
    own = merge_overrides(row.run, column.run)
    start = PLACEHOLDER_START if row.upstream is not None and outside is None else ()
    child = merge_overrides(own, outside or (), start, (f"profile={OFFICIAL}",))
    upstream = None
    if row.upstream is not None:
        backbone = [item for item in own if _is_of_backbone(item)]
        first = merge_overrides(backbone, row.upstream, (f"profile={OFFICIAL}",))
        upstream = compose.unpinned(first)
    return compose.unpinned(child), upstream


@dataclass(frozen=True, slots=True)
class _Alike:
    """What runs have in common that differ in nothing but their seed and what they start from."""

    overrides: tuple[str, ...]
    config: RunConfig
    science: Mapping[str, Any]
    artifact: PlannedArtifact | None


class _Planner:
    def __init__(
        self, profile: str, results: Path, compose: Compose, extra: tuple[str, ...]
    ) -> None:
        self.profile_name = profile
        self.profile = (f"profile={profile}",)
        self.results = results
        self.compose = compose
        self.extra = extra
        self.runs: dict[str, PlannedRun] = {}
        self.artifacts: dict[str, PlannedArtifact] = {}

    def cell(self, table: Table, row: Row, column: Column, seeds: tuple[int, ...]) -> Cell:
        outside = row.released_weights.get(self.profile_name)
        child = merge_overrides(row.run, column.run, outside or (), self.extra)
        start = self._start(row, child) if outside is None else None
        composed = self._composed(child, has_upstream=start is not None)
        _check_metrics(column, composed.config)
        upstream = self._composed(start) if start is not None else None
        first = self._alike(start, upstream) if upstream else None
        alike = self._alike(child, composed)
        run_ids = tuple(self._plan(alike, first, seed) for seed in seeds)
        subject = Subject(
            config=composed.config,
            upstream=upstream.config if upstream else None,
            paper_patch=self._paper_patch(child),
        )
        labels = {item.name: label(item, subject) for item in table.labels}
        paper, paper_upstream = compose_at_paper(self.compose, row, column)
        return Cell(table, row, column, labels, run_ids, composed, upstream, paper, paper_upstream)

    def _composed(self, overrides: tuple[str, ...], *, has_upstream: bool = False) -> Composed:
        start = PLACEHOLDER_START if has_upstream else ()
        return self.compose(merge_overrides(overrides, start, self.profile))

    def _start(self, row: Row, child: tuple[str, ...]) -> tuple[str, ...] | None:
        if row.upstream is None:
            return None
        own = [item for item in child if _is_of_backbone(item)]
        return merge_overrides(own, row.upstream, self.extra)

    def _alike(self, overrides: tuple[str, ...], composed: Composed) -> _Alike:
        config = composed.config
        return _Alike(overrides, config, canonical(config), self._artifact(config))

    def _plan(self, alike: _Alike, first: _Alike | None, seed: int) -> str:
        upstream = self._add(first, seed) if first else None
        return self._add(alike, seed, upstream=upstream)

    def _add(self, alike: _Alike, seed: int, *, upstream: str | None = None) -> str:
        science = with_start(alike.science, seed=seed, upstream=upstream)
        name = id_of(science, method=alike.config.method)
        if name not in self.runs:
            overrides, config = alike.overrides, replace(alike.config, seed=seed)
            if upstream is not None:
                overrides = merge_overrides(overrides, ("init=run", f"init.run={upstream}"))
                config = replace(config, init=replace(config.init, run=upstream))
            artifact = alike.artifact
            waves = [self.runs[upstream].wave] if upstream else []
            waves += [artifact.wave] if artifact else []
            seen = inspect_run(self.results, name, science)
            self.runs[name] = PlannedRun(
                run_id=name,
                overrides=overrides,
                seed=seed,
                config=config,
                science=science,
                upstream=upstream,
                artifact=artifact.artifact_id if artifact else None,
                wave=1 + max(waves, default=-1),
                status=seen.status,
                reason=seen.reason,
                result=seen.result,
                saved=seen.saved,
            )
        return name

    def _artifact(self, config: RunConfig) -> PlannedArtifact | None:
        """Plan the data or the label maps that a run needs, and the teacher of the maps."""
        if config.data.root == MADE:
            return self._known(data_artifact(config, self.compose.conf_dir), wave=0)
        if config.data.token_labels != MADE:
            return None
        making = label_artifact(
            config, self.compose.conf_dir, lambda teacher: self.compose(teacher).config
        )
        # Its science is its own; extra overrides tell it only where to run.
        place = [item for item in self.extra if is_transient(item.partition("=")[0])]
        teacher = merge_overrides(making.teacher, place)
        name = self._add(self._alike(teacher, self._composed(teacher)), seed=0)
        if name != making.teacher_id:
            raise TableError(
                f"{making.artifact_id}: its teacher is {making.teacher_id}, but composes to {name} "
                "in this plan; leave out the overrides that change it"
            )
        return self._known(making, wave=self.runs[name].wave + 1)

    def _known(self, making: Artifact, *, wave: int) -> PlannedArtifact:
        if making.artifact_id not in self.artifacts:
            self.artifacts[making.artifact_id] = inspect_artifact(self.results, making, wave=wave)
        return self.artifacts[making.artifact_id]

    def _paper_patch(self, overrides: tuple[str, ...]) -> int:
        groups = [item for item in overrides if item.partition("=")[0] in ("recipe", "model")]
        composed = self.compose.unpinned(merge_overrides(groups, (f"profile={OFFICIAL}",)))
        return composed.config.model.patch_size


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run's directory says; see `PlannedRun`."""

    status: Status
    reason: str | None = None
    result: Result | None = None
    saved: Saved | None = None


def inspect_run(results: Path, name: str, science: Mapping[str, Any]) -> Seen:
    """Return what a run's directory says, after comparing the configuration stored in it.

    A damaged record, or one of another config, is a state: it affects its own cells only.

    Args:
        results: results folder.
        name: run id.
        science: the scientific part of its configuration; what is stored must be the same.
    """
    folder = run_directory(results, name)
    try:
        result = finished_result(folder, science)
    except RecordError as error:
        # The run's id stands beside it; reports do not print local paths.
        reason = str(error).replace(f"{folder}/", "").replace(f"{folder}: ", "")
        return Seen(Status.DAMAGED, reason, saved=read_saved(folder))
    if result is not None:
        return Seen(Status(result.outcome.value), result=result)
    status = unfinished_status(folder)
    reason = read_error(folder) if status is Status.FAILED else None
    return Seen(status, reason, saved=read_saved(folder))


def _is_of_backbone(override: str) -> bool:
    return override.partition("=")[0].partition(".")[0] in GROUPS_OF_A_BACKBONE


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


def _check_metrics(column: Column, config: RunConfig) -> None:
    """Refuse a column whose metric the run will not report, before it is trained.

    Raises:
        TableError: naming the column and what the run reports.
    """
    known = config.evaluation.reported_metrics()
    best = "_best" if config.evaluation.report == "best" else ""
    printed = [f"{column.source}{best}", *(column.judged_on or ())[:1]]
    for metric in printed if known is not None else ():
        if metric not in known:
            raise TableError(
                f"column '{column.name}': the run reports no metric '{metric}'"
                f"{nearest(metric, known)}; allowed: {', '.join(sorted(known))}"
            )
