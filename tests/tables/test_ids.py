"""No change of the code renames a run: every cell of every table, at every profile, has its id.

Where a change is meant to rename runs (SCIENCE_VERSION), ``python -m tests.tables.test_ids`` writes
the ids anew.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.planner import build_plan
from scaledrelu.tables.spec import load_table, tables_of

KNOWN = Path(__file__).parent.parent / "fixtures" / "run_ids.json"
PROFILES = ("mini", "paper", "small", "smoke", "cifar")
LONG = (
    "small",
    "smoke",
    "cifar",
)  # composing all tables takes a quarter of a minute of a processor


def ids_of(profile: str, results: Path) -> dict[str, str]:
    """Return the run of every cell, seed 0: ``{"table1 row 1 top1": "deit-..."}``."""
    composer = Composer(results)
    tables = [load_table(name, CONF_DIR) for name in tables_of(profile, CONF_DIR)]
    plan = build_plan(tables, profile=profile, seeds=[0], results=results, compose=composer)
    composer.save()
    found = {}
    for cell in plan.cells:
        row = "base" if cell.row.is_baseline else f"row {cell.row.number}"
        (found[f"{cell.table.name} {row} {cell.column.name}"],) = cell.run_ids
    return found


@pytest.mark.parametrize(
    "profile",
    [pytest.param(p, marks=pytest.mark.slow if p in LONG else ()) for p in PROFILES],
)
def test_every_cell_has_the_run_that_it_had(profile, tmp_path, monkeypatch, request) -> None:
    monkeypatch.chdir(tmp_path)  # no data set lies at a relative root here
    cache = Path(request.config.cache.mkdir("composed"))
    assert ids_of(profile, cache) == json.loads(KNOWN.read_text())[profile]


if __name__ == "__main__":
    target = KNOWN.resolve()
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        found = {profile: ids_of(profile, Path(empty)) for profile in PROFILES}
    target.write_text(json.dumps(found, indent=0) + "\n")
    sys.stdout.write(f"wrote {target}\n")
