"""No change of the code renames a run: every cell of every table, at every profile, has its id.

``python -m tests.tables.test_ids table8`` writes down those of a new table. Where a change is meant
to rename runs (SCIENCE_VERSION), the command without names writes those of all tables anew.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from scaledrelu.config.naming import readable_name, row_group
from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import nearest
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import load_table, table_names, tables_of

KNOWN = Path(__file__).resolve().parents[1] / "fixtures" / "run_ids.json"
PROFILES = ("mini", "paper", "official", "small", "smoke", "cifar")
LONG = ("official", "small", "smoke", "cifar")  # composing all tables takes a quarter of a minute


def plan_of(profile: str, results: Path, *, seeds: tuple[int, ...] = (0,)) -> Plan:
    """Plan every table; what is composed is kept in the results folder."""
    composer = Composer(results)
    tables = [load_table(name, CONF_DIR) for name in tables_of(profile, CONF_DIR)]
    plan = Planner(profile, results=results, compose=composer).plan(tables, seeds)
    composer.save()
    return plan


def ids_of(profile: str, results: Path) -> dict[str, str]:
    """Return the run of every cell, seed 0: ``{"table1 row 1 top1": "deit-..."}``."""
    found = {}
    for cell in plan_of(profile, results).cells:
        row = "base" if cell.row.is_baseline else f"row {cell.row.number}"
        (found[f"{cell.table.name} {row} {cell.column.name}"],) = cell.run_ids
    return found


@pytest.mark.parametrize(
    "profile",
    [pytest.param(p, marks=pytest.mark.slow if p in LONG else ()) for p in PROFILES],
)
def test_every_cell_has_the_run_that_it_had(
    profile, tmp_path, monkeypatch, composed_before
) -> None:
    monkeypatch.chdir(tmp_path)  # no data set lies at a relative root here
    known, found = json.loads(KNOWN.read_text())[profile], ids_of(profile, composed_before)
    changed = {cell: run for cell, run in known.items() if found.get(cell) != run}
    assert {cell: found.get(cell) for cell in changed} == changed, (
        "runs of known cells were renamed, so that trained ones are no longer found; where rows "
        "of a table were moved or removed: python -m tests.tables.test_ids <table>"
    )
    if profile in ("mini", "cifar"):  # one of them makes each table; the command writes all
        new = sorted({cell.split()[0] for cell in found.keys() - known.keys()})
        assert not new, (
            f"conf/table/{new[0]}.yaml: has cells without ids in tests/fixtures/run_ids.json; "
            f"write them down by: python -m tests.tables.test_ids {' '.join(new)}"
        )


def test_every_run_has_a_name_of_its_own_and_the_seeds_of_a_row_share_a_group(
    tmp_path, monkeypatch, composed_before
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_of("mini", composed_before, seeds=(0, 1))
    names: dict[str, set[str]] = {}
    groups: dict[str, set[str]] = {}
    for run in plan.runs.values():
        upstream = plan.runs[run.upstream].config if run.upstream else None
        names.setdefault(readable_name(run.config, upstream), set()).add(run.run_id)
        groups.setdefault(row_group(run.config, upstream), set()).add(run.run_id)
    assert [name for name, runs in names.items() if len(runs) > 1] == []
    rows = {frozenset(cell.run_ids) for cell in plan.cells}
    assert len(rows) > 90
    assert rows <= {frozenset(runs) for runs in groups.values()}


def test_ids_of_a_table_that_is_not_there_are_not_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ids_of", lambda profile, results: {})
    monkeypatch.setattr(sys.modules[__name__], "KNOWN", tmp_path / "run_ids.json")
    monkeypatch.chdir(tmp_path)
    known = {profile: {"table0 row 1 top1": "deit-0"} for profile in PROFILES}
    KNOWN.write_text(json.dumps(known))
    with pytest.raises(SystemExit, match="no table 'tabel1'; did you mean 'table1'"):
        write_ids(["table0", "tabel1"])
    assert json.loads(KNOWN.read_text()) == known
    write_ids(["table0"])  # removed since
    assert json.loads(KNOWN.read_text()) == {profile: {} for profile in PROFILES}


def write_ids(tables: Sequence[str]) -> None:
    """Write down the ids of some tables, or those of all anew where none is named.

    Exits with status 1 where a name is neither that of a table nor of one that was removed.
    """
    known = json.loads(KNOWN.read_text())
    names = {*table_names(CONF_DIR), *(cell.split()[0] for ids in known.values() for cell in ids)}
    for wrong in [name for name in tables if name not in names]:
        sys.exit(f"no table '{wrong}'{nearest(wrong, sorted(names))}")
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        found = {profile: ids_of(profile, Path(empty)) for profile in PROFILES}
    if tables:
        for profile, ids in found.items():
            others = {c: run for c, run in known[profile].items() if c.split()[0] not in tables}
            found[profile] = others | {c: ids[c] for c in ids if c.split()[0] in tables}
    KNOWN.write_text(json.dumps(found, indent=0) + "\n")
    sys.stdout.write(f"wrote {KNOWN}\n")


if __name__ == "__main__":
    write_ids(sys.argv[1:])
