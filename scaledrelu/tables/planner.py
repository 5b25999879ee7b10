"""Which runs stand behind some tables, in which order, and what is known of each.

A plan is a pure function of table files, configuration and run directories. It trains nothing and
imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scaledrelu.config.artifacts import MADE, Artifact, data_artifact, label_artifact
from scaledrelu.config.identity import TRANSIENT, canonical, run_id
from scaledrelu.errors import TableError
from scaledrelu.runs.record import Status, read_config, read_error, read_status, run_directory
from scaledrelu.tables.artifacts import PlannedArtifact, inspect_artifact
from scaledrelu.tables.captions import Subject, label
from scaledrelu.tables.composer import Compose, Composed
from scaledrelu.tables.plan import Cell, Plan, PlannedRun
from scaledrelu.tables.spec import Column, Row, Table, merge_overrides

GROUPS_OF_A_BACKBONE = ("model", "stem", "ffn")  # what a run shares with the run it starts from
PLACEHOLDER = "upstream"


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
        TableError: a row that contradicts the configuration, or a stored run that is not what
            its name says.
        ConfigError: an override that does not compose.
    """
    planner = _Planner(profile, results, compose, tuple(overrides))
    cells = []
    for table in tables:
        for row in table.rows:
            for column in table.metrics:
                wanted = tuple(seeds or row.seeds or table.seeds)
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
        outside = row.external.get(self.profile_name)
        child = merge_overrides(row.run, column.run, outside or (), self.extra)
        parent = self._parent(row, child) if outside is None else None
        composed = self._composed(child, has_parent=parent is not None)
        above = self._composed(parent) if parent is not None else None
        run_ids = tuple(self._plan(child, parent, seed) for seed in seeds)
        subject = Subject(
            config=composed.config,
            upstream=above.config if above else None,
            paper_patch=self._paper_patch(child),
        )
        labels = {item.name: label(item, subject) for item in table.labels}
        same = composed.config["data"]["name"] == self._papers_data(row, column)
        return Cell(table, row, column, labels, run_ids, composed, above, same)

    def _composed(self, overrides: tuple[str, ...], *, has_parent: bool = False) -> Composed:
        start = ("init=run", f"init.run={PLACEHOLDER}") if has_parent else ()
        return self.compose(merge_overrides(overrides, start, self.profile))

    def _parent(self, row: Row, child: tuple[str, ...]) -> tuple[str, ...] | None:
        if row.upstream is None:
            return None
        own = [
            item
            for item in child
            if item.partition("=")[0].partition(".")[0] in GROUPS_OF_A_BACKBONE
        ]
        return merge_overrides(own, row.upstream, self.extra)

    def _plan(self, child: tuple[str, ...], parent: tuple[str, ...] | None, seed: int) -> str:
        if parent is None:
            return self._add(child, self._composed(child), seed, parent=None)
        above = self._add(parent, self._composed(parent), seed, parent=None)
        start = merge_overrides(child, ("init=run", f"init.run={above}"))
        return self._add(start, self._composed(child, has_parent=True), seed, parent=above)

    def _add(
        self, overrides: tuple[str, ...], composed: Composed, seed: int, *, parent: str | None
    ) -> str:
        config = {**composed.config, "seed": seed}
        if parent is not None:
            config["init"] = {**config["init"], "run": parent}
        name = run_id(config)
        if name not in self.runs:
            artifact = self._artifact(config)
            above = [self.runs[parent].wave] if parent else []
            above += [artifact.wave] if artifact else []
            status, reason = inspect_run(self.results, name, config)
            self.runs[name] = PlannedRun(
                run_id=name,
                overrides=overrides,
                seed=seed,
                config=config,
                parent=parent,
                artifact=artifact.artifact_id if artifact else None,
                wave=1 + max(above, default=-1),
                status=status,
                reason=reason,
            )
        return name

    def _artifact(self, config: Mapping[str, Any]) -> PlannedArtifact | None:
        """Plan the data or the label maps that a run needs, and the teacher that makes these."""
        if config["data"]["root"] == MADE:
            return self._known(data_artifact(dict(config), self.compose.conf_dir), wave=0)
        if config["data"]["token_labels"] != MADE:
            return None
        making = label_artifact(
            dict(config), self.compose.conf_dir, lambda teacher: self.compose(teacher).config
        )
        place = [item for item in self.extra if _is_transient(item)]  # its science is its own
        teacher = merge_overrides(making.teacher, place)
        name = self._add(teacher, self._composed(teacher), seed=0, parent=None)
        if name != making.teacher_id:
            raise TableError(f"the teacher of {making.artifact_id} composes to {name} in a plan")
        return self._known(making, wave=self.runs[name].wave + 1)

    def _known(self, making: Artifact, *, wave: int) -> PlannedArtifact:
        if making.artifact_id not in self.artifacts:
            self.artifacts[making.artifact_id] = inspect_artifact(self.results, making, wave=wave)
        return self.artifacts[making.artifact_id]

    def _papers_data(self, row: Row, column: Column) -> str:
        chosen = [
            item
            for item in merge_overrides(row.run, column.run)
            if item.partition("=")[0] in ("recipe", "model", "data", "data.name")
        ]
        return self.compose(merge_overrides(chosen, ("profile=paper",))).config["data"]["name"]

    def _paper_patch(self, overrides: tuple[str, ...]) -> int:
        groups = [item for item in overrides if item.partition("=")[0] in ("recipe", "model")]
        composed = self.compose(merge_overrides(groups, ("profile=paper",)))
        return composed.config["model"]["patch_size"]


def inspect_run(results: Path, name: str, config: Mapping[str, Any]) -> tuple[Status, str | None]:
    """Return what a run's directory says, after comparing the config stored in it.

    Raises:
        TableError: the directory holds the result of another config.
    """
    folder = run_directory(results, name)
    status = read_status(folder)
    if status.done and read_config(folder) != canonical(dict(config)):
        raise TableError(
            f"{folder}: its config.json is not the config that the name stands for; "
            "move the folder away and run again"
        )
    return status, read_error(folder) if status is Status.FAILED else None


def _is_transient(override: str) -> bool:
    key = override.partition("=")[0]
    return any(key == known or key.startswith(f"{known}.") for known in TRANSIENT)
