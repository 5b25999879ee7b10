"""Every published number is that of the published record that its row names, at every profile."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from scaledrelu.config.places import CONF_DIR

TABLES = sorted((CONF_DIR.parent / "results" / "published").glob("*/*.csv"))


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows with numbers, of a table of runs; none of a file of another kind."""
    rows = list(csv.DictReader(path.read_text().splitlines()))
    return [row for row in rows if row.get("run_ids") and row.get("values")]


# Columns of Table 4 whose names say the data set, too.
METRICS = {"map": "val/map", "r1": "val/rank1"}
RUN_TABLES = [path for path in TABLES if path.stem.startswith(("table", "edge"))]


@pytest.mark.parametrize("path", RUN_TABLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_published_number_is_that_of_its_record(path: Path) -> None:
    rows = rows_of(path)
    assert rows
    for row in rows:
        metric = METRICS.get(row["metric"].rpartition("_")[2], row["metric"])
        cells = [cell.split("=")[1] for cell in row["values_last"].split()]
        for run, cell in zip(row["run_ids"].split(), cells, strict=True):
            record = path.parent / "runs" / run / "result.json"
            if cell == "crash:" and not record.exists():
                continue  # what the run starts from crashed, so that it never trained
            result = json.loads(record.read_text())
            assert cell.startswith("crash:") == (result["outcome"] == "crash"), run
            if cell == "crash:":  # before its first evaluation
                assert metric not in result["metrics"], run
                continue
            found = float(cell.removeprefix("crash:"))
            assert found == pytest.approx(result["metrics"][metric], abs=1e-4), run
        assert int(row["n_crash"]) == sum(cell.startswith("crash:") for cell in cells), row["row"]
