"""Which runs stand behind some tables, in which order, and the state of each.

A plan is a pure function of table files, configuration and run directories. It trains nothing and
imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from scaledrelu.config.artifacts import Artifact, data_artifact, label_artifact
from scaledrelu.config.data import MADE
from scaledrelu.config.identity import TRANSIENT, canonical, run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import ConfigError, TableError, nearest
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.record import (
    Status,
    finished_result,
    read_error,
    read_saved,
    read_status,
    run_directory,
)
from scaledrelu.tables.artifacts import PlannedArtifact, inspect_artifact
from scaledrelu.tables.captions import Subject, label
from scaledrelu.tables.composer import Compose, Composed, Composer
from scaledrelu.tables.plan import Cell, Plan, PlannedRun
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.spec import Column, Row, Table, load_table, merge_overrides

GROUPS_OF_A_BACKBONE = ("model", "stem", "ffn")  # a run has them from the run it starts from
PLACEHOLDER_START = ("init=run", "init.run=upstream")
PAPER = "paper"  # the profile that other profiles are compared with


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
    """
    planner = _Planner(profile, results, compose, tuple(overrides))
    cells = []
    for table in tables:
        for row in table.rows:
            for column in table.metrics:
                wanted = tuple(seeds or row.seeds or table.seeds)
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
    composer = compose or Composer(settings.results, conf_dir=settings.conf_dir)
    plan = build_plan(
        [load_table(name, settings.conf_dir) for name in settings.tables],
        profile=settings.profile,
        seeds=settings.seeds,
        results=settings.results,
        compose=composer,
        overrides=settings.overrides,
    )
    if isinstance(composer, Composer):
        composer.save()
    return plan


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
        run_ids = tuple(self._plan(child, start, seed) for seed in seeds)
        subject = Subject(
            config=composed.config,
            upstream=upstream.config if upstream else None,
            paper_patch=self._paper_patch(child),
        )
        labels = {item.name: label(item, subject) for item in table.labels}
        paper, paper_upstream = self._at_paper(row, column)
        return Cell(table, row, column, labels, run_ids, composed, upstream, paper, paper_upstream)

    def _composed(self, overrides: tuple[str, ...], *, has_upstream: bool = False) -> Composed:
        start = PLACEHOLDER_START if has_upstream else ()
        return self.compose(merge_overrides(overrides, start, self.profile))

    def _start(self, row: Row, child: tuple[str, ...]) -> tuple[str, ...] | None:
        if row.upstream is None:
            return None
        own = [item for item in child if _is_of_backbone(item)]
        return merge_overrides(own, row.upstream, self.extra)

    def _at_paper(self, row: Row, column: Column) -> tuple[Composed, Composed | None]:
        """Compose a row as the table file has it, and what it starts from, at paper scale.

        Extra overrides are left out: they are differences from the paper, too.
        """
        outside = row.released_weights.get(PAPER)
        own = merge_overrides(row.run, column.run)
        start = PLACEHOLDER_START if row.upstream is not None and outside is None else ()
        child = merge_overrides(own, outside or (), start, (f"profile={PAPER}",))
        upstream = None
        if row.upstream is not None:
            backbone = [item for item in own if _is_of_backbone(item)]
            first = merge_overrides(backbone, row.upstream, (f"profile={PAPER}",))
            upstream = self.compose.unpinned(first)
        return self.compose.unpinned(child), upstream

    def _plan(self, child: tuple[str, ...], start: tuple[str, ...] | None, seed: int) -> str:
        if start is None:
            return self._add(child, self._composed(child), seed, upstream=None)
        upstream = self._add(start, self._composed(start), seed, upstream=None)
        overrides = merge_overrides(child, ("init=run", f"init.run={upstream}"))
        composed = self._composed(child, has_upstream=True)
        return self._add(overrides, composed, seed, upstream=upstream)

    def _add(
        self, overrides: tuple[str, ...], composed: Composed, seed: int, *, upstream: str | None
    ) -> str:
        config = replace(composed.config, seed=seed)
        if upstream is not None:
            config = replace(config, init=replace(config.init, run=upstream))
        name = run_id(config)
        if name not in self.runs:
            artifact = self._artifact(config)
            waves = [self.runs[upstream].wave] if upstream else []
            waves += [artifact.wave] if artifact else []
            status, reason = inspect_run(self.results, name, config)
            self.runs[name] = PlannedRun(
                run_id=name,
                overrides=overrides,
                seed=seed,
                config=config,
                upstream=upstream,
                artifact=artifact.artifact_id if artifact else None,
                wave=1 + max(waves, default=-1),
                status=status,
                reason=reason,
                saved=None if status.done else read_saved(run_directory(self.results, name)),
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
        place = [item for item in self.extra if _is_transient(item)]  # its science is its own
        teacher = merge_overrides(making.teacher, place)
        name = self._add(teacher, self._composed(teacher), seed=0, upstream=None)
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
        composed = self.compose.unpinned(merge_overrides(groups, (f"profile={PAPER}",)))
        return composed.config.model.patch_size


def inspect_run(results: Path, name: str, config: RunConfig) -> tuple[Status, str | None]:
    """Return the state of a run's directory, after comparing the config stored in it.

    A damaged record, or one of another config, is a state: it affects its own cells only.

    Args:
        results: results folder.
        name: run id.
        config: the run's configuration.
    """
    folder = run_directory(results, name)
    try:
        finished_result(folder, canonical(config))
        status = read_status(folder)
    except RecordError as error:
        # The run's id stands beside it; reports do not print local paths.
        return Status.DAMAGED, str(error).replace(f"{folder}/", "").replace(f"{folder}: ", "")
    return status, read_error(folder) if status is Status.FAILED else None


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


def _is_transient(override: str) -> bool:
    key = override.partition("=")[0]
    return any(key == known or key.startswith(f"{known}.") for known in TRANSIENT)
