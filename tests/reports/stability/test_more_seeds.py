"""A grid of few seeds shows what a table says of the same settings with more of them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import TableError
from scaledrelu.reports.published_tables import read_published
from scaledrelu.reports.stability.files import write_stability
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import load_table
from tests.helpers.table_fakes import FakeCompose, finish, plan_of, write_grid, write_table

pytestmark = pytest.mark.usefixtures("no_pictures")
PUBLISHED = CONF_DIR.parent / "results" / "published" / "mini"


def page_of(place: Path, *, finished: int) -> str:
    """Return the page of a grid of two seeds beside a table of four at one of its rates."""
    conf = place / "conf"
    rows = [
        {"run": [f"stem={s}", "lr.base=1e-3"], "paper": {"top1": 1}} for s in ("conv", "patchify")
    ]
    write_table(conf, "table1", seeds=[0, 1, 2, 3], blocks=[{"label": "b", "rows": rows}])
    write_grid(conf, seeds=[0, 1], more_seeds="table1")
    for name in ("table1", "rates"):
        plan = plan_of(place, name, seeds=None)
        for cell in plan.cells:
            is_conv = cell.composed.choices["stem"] == "conv"
            for seed, run in enumerate(cell.run_ids[:finished]):
                finish(plan, run, crash="collapsed" if is_conv and seed > 1 else None)
    plan = plan_of(place, "rates", seeds=None)
    planner = Planner(plan.profile, results=plan.results, compose=FakeCompose(conf))
    files = write_stability(plan, plan.tables[0], planner=planner)
    return next(path for path in files if path.suffix == ".md").read_text()


def test_what_a_table_says_with_more_seeds_stands_beside_the_grid(tmp_path) -> None:
    page = page_of(tmp_path, finished=4)
    section = page.partition("## More seeds\n\n")[2].partition("\n\n## ")[0]
    assert section.split("\n")[2:] == [
        "|  | lr | crashed here | crashed in Table 1 |",
        "| --- | --- | --- | --- |",
        "| patchify, adamw, warm-up 5 | 1e-3 | 0 of 2 | 0 of 4 (row 2) |",
        "| conv, adamw, warm-up 5 | 1e-3 | 0 of 2 | 2 of 4 (row 1) |",
    ]


def test_a_table_whose_other_seeds_have_not_run_adds_nothing(tmp_path) -> None:
    assert "More seeds" not in page_of(tmp_path, finished=2)


def test_a_grid_without_such_a_table_has_no_such_section(tmp_path) -> None:
    write_grid(tmp_path / "conf")
    plan = plan_of(tmp_path, "rates")
    (page, *_) = write_stability(plan, plan.tables[0])
    assert "More seeds" not in page.read_text()


def test_a_table_that_does_not_exist_is_one_line(tmp_path) -> None:
    write_grid(tmp_path / "conf", more_seeds="table9")
    with pytest.raises(TableError, match=r"conf/stability/rates\.yaml, more_seeds: no table"):
        load_table("rates", tmp_path / "conf")


@cache
def table1():
    (table,) = [t for t in read_published(PUBLISHED) if t.name == "table1"]
    return {line.row: line for line in table.lines}


def test_the_published_map_shows_every_count_of_table_1() -> None:
    page = (PUBLISHED / "stability" / "stems.md").read_text()
    found = re.findall(r"\| (\d+) of 3 \| (\d+) of (\d+) \(row (\d+)\) \|", page)
    assert {int(row): (int(c), int(n)) for _, c, n, row in found} == {
        row: (table1()[row].n_crash, table1()[row].n) for row in (1, 2, 3, 7, 8, 9)
    }
