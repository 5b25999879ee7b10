"""Which finished runs and tables are sent to W&B, and what is said about each; once each.

Reads run directories and tables on disk; what the tables of today say of a run (their names, the
paper's values) is looked up by its row, so that a run trained by hand is found, too.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scaledrelu.config.identity import run_id
from scaledrelu.config.naming import row_key
from scaledrelu.config.places import runs_root
from scaledrelu.config.run import PathsConfig, RunConfig
from scaledrelu.errors import ConfigError, ScaledReluError, TableError
from scaledrelu.runs.mirrored import Sender, told_of, upstream_of
from scaledrelu.runs.planned import config_or_none
from scaledrelu.runs.record import read_result, run_directory
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.printed import Printed, printed_of, with_printed
from scaledrelu.tables.spec import load_table, table_names
from scaledrelu.text import Say, duration, plural

BESIDE = ("figure1", "claims")  # other reports of a profile, sent with its tables where written
TABLE_JOB = "table"
MOST_IN_A_ROW = 3  # failures one after the other: the server is away, or refuses the key


@dataclass(frozen=True, slots=True)
class Copy:
    """One thing to send: a finished run, or a table with its files."""

    name: str
    folder: Path
    told: Mapping[str, Any]  # see ``WandbMirror``; of a table also columns, rows and files


@dataclass(slots=True)
class Counts:
    """How it went, thing by thing."""

    sent: int = 0
    known: int = 0
    failed: int = 0
    left: list[str] = field(default_factory=list)  # not tried


class Printers:
    """What the tables of today say of runs of any seed, by profile; planned when first asked.

    Args:
        conf_dir: the configuration tree.
        results: results folder.
    """

    def __init__(self, conf_dir: Path, results: Path) -> None:
        self._conf_dir, self._results = conf_dir, results
        self._known: dict[str, dict[str, Printed]] = {}

    def of(self, config: RunConfig, upstream: RunConfig | None) -> Printed | None:
        """Return what the tables say of a run; None where none prints it.

        Args:
            config: the run's configuration.
            upstream: configuration of the run that it starts from.
        """
        profile = config.profile.name
        if profile not in self._known:
            try:
                self._known[profile] = self._of_profile(profile)
            except ScaledReluError:  # a profile or table that is no more: the run's own words stay
                self._known[profile] = {}
        return self._known[profile].get(row_key(config, upstream))

    def _of_profile(self, profile: str) -> dict[str, Printed]:
        composer = Composer(self._results, conf_dir=self._conf_dir)
        tables = [load_table(name, self._conf_dir) for name in table_names(self._conf_dir)]
        plan = Planner(profile, results=self._results, compose=composer).plan(tables, [0])
        found: dict[str, Printed] = {}
        for name, printed in printed_of(plan).items():
            key = row_key(*_with_upstream(plan, name))
            found[key] = found.get(key, Printed()).beside(printed)
        return found


def copies_of_plan(plan: Plan, printers: Printers) -> list[Copy]:
    """Return the finished runs of some tables, upstream ones included.

    Args:
        plan: the tables.
        printers: what all tables say of a run.
    """
    printed, copies = printed_of(plan), []
    for name in [name for name, run in plan.runs.items() if run.status.done]:
        config, upstream = _with_upstream(plan, name)
        config = with_printed(config, printed.get(name))  # of rows that overrides have changed
        copies.append(_copy_of(config, upstream, plan.results, printers))
    return copies


def copies_of_folder(
    results: Path, printers: Printers, names: Sequence[str] = (), *, say: Say
) -> list[Copy]:
    """Return finished runs of a results folder; say how many of them cannot be sent by themselves.

    Args:
        results: results folder.
        printers: what all tables say of a run.
        names: their ids; empty = every run.
        say: prints one line.

    Raises:
        ConfigError: a run that was named and is not there, has not finished, or lacks its file.
    """
    found, unlabelled = [], 0
    for name in names or _all_runs(results):
        if read_result(run_directory(results, name)) is None:
            if names:
                raise ConfigError(
                    f"{name}: has no result in {runs_root(results)}; only finished runs are sent"
                )
            continue
        config = config_or_none(results, name)
        if config is not None:
            found.append(_copy_of(config, upstream_of(config), results, printers))
        elif names:
            raise ConfigError(
                f"{name}: has no config.yaml, which holds its labels; send it with its table: "
                "tables=[table1] profile=mini"
            )
        else:
            unlabelled += 1
    if unlabelled:
        has, them = ("has", "it") if unlabelled == 1 else ("have", "them")
        say(f"{plural(unlabelled, 'run')} {has} no config.yaml: send {them} with tables=[...]")
    return found


def copies_of_tables(plan: Plan) -> list[Copy]:
    """Return the tables of a plan as they were written, each with its files, and what is beside.

    Raises:
        TableError: a table that has not been written yet.
    """
    folder = plan.results / plan.profile
    beside = [name for name in BESIDE if (folder / f"{name}.csv").is_file()]
    return [_copy_of_files(plan, name) for name in (*(t.name for t in plan.tables), *beside)]


def send_all(copies: Sequence[Copy], sender: Sender, say: Say) -> Counts:
    """Send one thing after the other, a line each; give up when nothing arrives any more.

    Args:
        copies: what to send.
        sender: the process that talks to W&B.
        say: prints one line.
    """
    counts, started, in_a_row = Counts(), time.monotonic(), 0
    for number, copy in enumerate(copies, 1):
        answer = sender.send(copy.told, copy.folder)
        if "trouble" in answer:
            counts.failed, in_a_row = counts.failed + 1, in_a_row + 1
            ending = f"failed: {answer['trouble']}"
        elif answer.get("known"):
            counts.known, in_a_row, ending = counts.known + 1, 0, "there already"
        else:
            counts.sent, in_a_row = counts.sent + 1, 0
            ending = f"sent {answer['sent']} rows"
        elapsed = time.monotonic() - started
        left = elapsed / number * (len(copies) - number)
        say(
            f"[{number}/{len(copies)}] {copy.name} {copy.told['name']}: {ending}  "
            f"{duration(elapsed)} ETA {duration(left)}"
        )
        if in_a_row == MOST_IN_A_ROW:
            counts.left = [one.name for one in copies[number:]]
            break
    return counts


def typed_rows(path: Path) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of a CSV; a column of numbers alone as numbers, holes as None."""
    with path.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    columns = [_typed([row[place] for row in rows]) for place in range(len(header))]
    return header, [list(row) for row in zip(*columns, strict=True)]


def _copy_of(
    config: RunConfig, upstream: RunConfig | None, results: Path, printers: Printers
) -> Copy:
    config = replace(config, paths=PathsConfig(results=str(results)))
    printed = printers.of(config, upstream)
    if printed is not None:
        config = with_printed(config, printed)
    name = run_id(config)
    return Copy(name, run_directory(results, name), told_of(config, upstream))


def _copy_of_files(plan: Plan, name: str) -> Copy:
    """Return a table, or another report of the same form, with the files that go with it."""
    folder = plan.results / plan.profile
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise TableError(
            f"{path}: no such file; write the table first: make report PROFILE={plan.profile}"
        )
    columns, rows = typed_rows(path)
    here = [path.with_suffix(suffix) for suffix in (".csv", ".md", ".png", ".svg")]
    here += sorted((folder / "curves").glob(f"{name}.*"))
    files = [one for one in here if one.is_file()]
    config = next(iter(plan.runs.values())).config.wandb
    told = {
        "run_id": f"{name}-{plan.profile}",
        "name": f"{name} {plan.profile}",
        "project": config.project,
        "entity": config.entity,
        "group": "tables",
        "job_type": TABLE_JOB,
        "tags": [name, plan.profile],
        "paper": {},
        "config": {"table": name},
        "key": name,
        "columns": columns,
        "rows": rows,
        "files": [str(one) for one in files],
        "pictures": {  # their folders tell them apart
            f"{name}_{'curves' if one.parent.name == 'curves' else 'picture'}": str(one)
            for one in files
            if one.suffix == ".png"
        },
    }
    return Copy(told["run_id"], folder, told)


def _typed(values: Sequence[str]) -> list[Any]:
    try:
        return [float(value) if value else None for value in values]
    except ValueError:
        return list(values)


def _with_upstream(plan: Plan, name: str) -> tuple[RunConfig, RunConfig | None]:
    run = plan.runs[name]
    return run.config, plan.runs[run.upstream].config if run.upstream else None


def _all_runs(results: Path) -> Iterator[str]:
    for path in sorted(runs_root(results).glob("*/result.json")):
        if not path.parent.name.startswith("."):
            yield path.parent.name
