"""Which runs stand behind one cell of a table, and the state of each.

Every record is read once: runs that several cells share, whichever tables these belong to, are
planned as they were when first looked at. Trains nothing and imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaledrelu.config.artifacts import Artifact, data_artifact, label_artifact
from scaledrelu.config.data import MADE
from scaledrelu.config.identity import canonical, id_of, is_transient, with_start
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import TableError, nearest
from scaledrelu.tables.captions import Subject, label
from scaledrelu.tables.composer import Compose, Composed
from scaledrelu.tables.inspection import Seen, inspect_artifact, inspect_run
from scaledrelu.tables.plan import Cell, PlannedArtifact, PlannedRun
from scaledrelu.tables.spec import merge_overrides
from scaledrelu.tables.starts import overrides_of_start
from scaledrelu.tables.table import Column, Row, Table

PLACEHOLDER_START = ("init=run", "init.run=upstream")
OFFICIAL = "official"  # the profile that other profiles are compared with


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell, and what it adds to a plan: runs and artifacts, each after those that it needs."""

    cell: Cell
    runs: tuple[PlannedRun, ...]
    artifacts: tuple[PlannedArtifact, ...]


@dataclass(frozen=True, slots=True)
class _Alike:
    """What runs have in common that differ in nothing but their seed and what they start from.

    Attributes:
        overrides: of every run of them.
        config: their configuration, with some seed.
        science: its canonical form.
        artifacts: the data or label maps that they need come last, after those of a teacher.
        runs: the teacher of the label maps, after what it needs itself.
    """

    overrides: tuple[str, ...]
    config: RunConfig
    science: Mapping[str, Any]
    artifacts: tuple[PlannedArtifact, ...] = ()
    runs: tuple[PlannedRun, ...] = ()

    @property
    def artifact(self) -> PlannedArtifact | None:
        """What they need; None without any."""
        return self.artifacts[-1] if self.artifacts else None


class CellPlanner:
    """Turns cells into runs; what was hashed or read from disk once is kept.

    Args:
        profile: option of ``conf/profile``.
        results: folder that holds ``runs/``.
        compose: overrides -> composed config.
        extra: overrides for every run, strongest.
    """

    def __init__(
        self, profile: str, results: Path, compose: Compose, extra: tuple[str, ...]
    ) -> None:
        self.profile_name = profile
        self.profile = (f"profile={profile}",)
        self.results = results
        self.compose = compose
        self.extra = extra
        self._alikes: dict[tuple[tuple[str, ...], bool], _Alike] = {}
        self._runs: dict[tuple[tuple[str, ...], int, str | None], PlannedRun] = {}
        self._seen: dict[str, Seen] = {}
        self._artifacts: dict[str, PlannedArtifact] = {}

    def cell(self, table: Table, row: Row, column: Column, seeds: tuple[int, ...]) -> PlannedCell:
        """Return one metric of a row with its runs.

        Args:
            table: the table.
            row: one of its rows.
            column: one of its metrics.
            seeds: one run for each.

        Raises:
            TableError: the row contradicts the configuration.
            ConfigError: an override that does not compose.
        """
        outside = row.released_weights.get(self.profile_name)
        child = merge_overrides(row.run, column.run, outside or (), self.extra)
        has_upstream = row.upstream is not None and outside is None
        composed = self._composed(child, has_upstream=has_upstream)
        _check_metrics(column, composed.config)
        start = self._start(row, child, composed.config) if has_upstream else None
        upstream = self._composed(start) if start is not None else None
        first = self._alike(start, upstream) if upstream else None
        alike = self._alike(child, composed, has_upstream=has_upstream)
        subject = Subject(
            config=composed.config,
            upstream=upstream.config if upstream else None,
            paper_patch=self._paper_patch(child),
        )
        labels = {item.name: label(item, subject) for item in table.labels}
        paper, paper_upstream = compose_at_paper(self.compose, row, column)
        chains = [self._chain(alike, first, seed) for seed in seeds]
        run_ids = tuple(chain[-1].run_id for chain in chains)
        behind = [one for one in (first, alike) if one]
        return PlannedCell(
            Cell(table, row, column, labels, run_ids, composed, upstream, paper, paper_upstream),
            runs=(*(r for one in behind for r in one.runs), *(r for c in chains for r in c)),
            artifacts=tuple(artifact for one in behind for artifact in one.artifacts),
        )

    def _composed(self, overrides: tuple[str, ...], *, has_upstream: bool = False) -> Composed:
        start = PLACEHOLDER_START if has_upstream else ()
        return self.compose(merge_overrides(overrides, start, self.profile))

    def _start(self, row: Row, child: tuple[str, ...], config: RunConfig) -> tuple[str, ...]:
        start = overrides_of_start(
            self.compose, child, config, upstream=row.upstream or (), profile=self.profile
        )
        return merge_overrides(start, self.extra)

    def _alike(
        self, overrides: tuple[str, ...], composed: Composed, *, has_upstream: bool = False
    ) -> _Alike:
        key = (overrides, has_upstream)
        if key not in self._alikes:
            config = composed.config
            alike = _Alike(overrides, config, canonical(config))
            self._alikes[key] = self._with_artifact(alike)
        return self._alikes[key]

    def _chain(self, alike: _Alike, first: _Alike | None, seed: int) -> tuple[PlannedRun, ...]:
        """Return the run of a seed, behind the one that it starts from."""
        if first is None:
            return (self._run(alike, seed),)
        upstream = self._run(first, seed)
        return upstream, self._run(alike, seed, upstream=upstream)

    def _run(self, alike: _Alike, seed: int, *, upstream: PlannedRun | None = None) -> PlannedRun:
        start = upstream.run_id if upstream else None
        key = (alike.overrides, seed, start)
        if key not in self._runs:
            self._runs[key] = self._planned(alike, seed, upstream)
        return self._runs[key]

    def _planned(self, alike: _Alike, seed: int, upstream: PlannedRun | None) -> PlannedRun:
        start = upstream.run_id if upstream else None
        science = with_start(alike.science, seed=seed, upstream=start)
        name = id_of(science, method=alike.config.method)
        overrides, config = alike.overrides, replace(alike.config, seed=seed)
        if start is not None:
            overrides = merge_overrides(overrides, ("init=run", f"init.run={start}"))
            config = replace(config, init=replace(config.init, run=start))
        artifact = alike.artifact
        waves = [needed.wave for needed in (upstream, artifact) if needed]
        if name not in self._seen:
            self._seen[name] = inspect_run(self.results, name, science)
        seen = self._seen[name]
        return PlannedRun(
            run_id=name,
            overrides=overrides,
            seed=seed,
            config=config,
            science=science,
            upstream=start,
            artifact=artifact.artifact_id if artifact else None,
            wave=1 + max(waves, default=-1),
            status=seen.status,
            reason=seen.reason,
            result=seen.result,
            saved=seen.saved,
        )

    def _with_artifact(self, alike: _Alike) -> _Alike:
        """Plan the data or the label maps that runs need, and the teacher of the maps."""
        config = alike.config
        if config.data.root == MADE:
            made = self._artifact(data_artifact(config, self.compose.conf_dir), wave=0)
            return replace(alike, artifacts=(made,))
        if config.data.token_labels != MADE:
            return alike
        making = label_artifact(
            config, self.compose.conf_dir, lambda teacher: self.compose(teacher).config
        )
        # Its science is its own; extra overrides tell it only where to run.
        place = [item for item in self.extra if is_transient(item.partition("=")[0])]
        overrides = merge_overrides(making.teacher, place)
        behind = self._alike(overrides, self._composed(overrides))
        teacher = self._run(behind, seed=0)
        if teacher.run_id != making.teacher_id:
            raise TableError(
                f"{making.artifact_id}: its teacher is {making.teacher_id}, but composes to "
                f"{teacher.run_id} in this plan; leave out the overrides that change it"
            )
        maps = self._artifact(making, wave=teacher.wave + 1)
        return replace(alike, artifacts=(*behind.artifacts, maps), runs=(*behind.runs, teacher))

    def _artifact(self, making: Artifact, *, wave: int) -> PlannedArtifact:
        if making.artifact_id not in self._artifacts:
            self._artifacts[making.artifact_id] = inspect_artifact(self.results, making, wave=wave)
        return self._artifacts[making.artifact_id]

    def _paper_patch(self, overrides: tuple[str, ...]) -> int:
        groups = [item for item in overrides if item.partition("=")[0] in ("recipe", "model")]
        composed = self.compose.unpinned(merge_overrides(groups, (f"profile={OFFICIAL}",)))
        return composed.config.model.patch_size


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
    profile = (f"profile={OFFICIAL}",)
    child = compose.unpinned(merge_overrides(own, outside or (), start, profile))
    upstream = None
    if row.upstream is not None:
        first = overrides_of_start(
            compose, own, child.config, upstream=row.upstream, profile=profile
        )
        upstream = compose.unpinned(merge_overrides(first, profile))
    return child, upstream


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
