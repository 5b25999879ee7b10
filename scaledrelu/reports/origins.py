"""Where the runs of a table were made: devices, versions, commits, each with its count."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from scaledrelu.runs.record import RecordError, read_result, run_directory
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.spec import Table

DIRTY = "-dirty"  # as git describe marks a checkout whose files differ from its commit


def made_on(plan: Plan, table: Table) -> str:
    """Return one sentence each on devices, versions and commits; empty when nothing has finished.

    Runs that the table's own start from count as well.
    """
    found = list(_provenances(plan, table))
    if not found:
        return ""
    devices = _counted(p.get("device") or "an unknown device" for p in found)
    kinds = len({p.get("device") for p in found})
    warning = " The same run can end differently on another kind of device." if kinds > 1 else ""
    versions = _counted(f"torch {p.get('torch', '?')}, timm {p.get('timm', '?')}" for p in found)
    commits = _counted(_commit(p.get("commit")) for p in found)
    return f"Made on {devices}.{warning} With {versions}. From {commits}."


def _provenances(plan: Plan, table: Table) -> Iterable[Mapping[str, Any]]:
    for run in plan.runs_of(table):
        result = None
        with contextlib.suppress(RecordError):  # its cells say so
            result = read_result(run_directory(plan.results, run.run_id))
        if result is not None:
            yield result.provenance


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names).most_common()
    if len(counts) == 1:
        return counts[0][0]
    ordered = sorted(counts, key=lambda item: (-item[1], item[0]))
    return "; ".join(f"{name} ({n} run{'s' if n > 1 else ''})" for name, n in ordered)


def _commit(commit: str | None) -> str:
    if not commit:
        return "no known commit"
    name = commit.removesuffix(DIRTY)
    return f"commit {name}" + (" and files that differ from it" if commit != name else "")
