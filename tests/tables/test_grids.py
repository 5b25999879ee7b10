"""A grid of rates is a table: every combination a row, and runs that tables share trained once."""

from __future__ import annotations

import itertools

import pytest
import yaml

from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import TableError
from scaledrelu.tables.grids import grid_names
from scaledrelu.tables.settings import load_settings
from scaledrelu.tables.spec import load_table, table_names
from tests.helpers.table_fakes import finish, plan_of, write_grid, write_table


@pytest.mark.parametrize("name", grid_names(CONF_DIR))
def test_every_combination_of_a_grid_is_one_row(name) -> None:
    raw = yaml.safe_load((CONF_DIR / "stability" / f"{name}.yaml").read_text())
    rows = [dict(item.split("=") for item in row.run) for row in load_table(name, CONF_DIR).rows]
    found = [
        (r["stem"], r["optimizer"], float(r["lr.base"]), float(r.get("warmup.epochs", 0)))
        for r in rows
    ]
    expected = itertools.product(raw["stems"], raw["optimizers"], raw["multiples"], raw["warmups"])
    wanted = [
        (stem, optimizer, pytest.approx(multiple * raw["optimizers"][optimizer]), warmup)
        for stem, optimizer, multiple, warmup in expected
    ]
    assert len(found) == len(wanted)
    assert all(combination in found for combination in wanted)
    assert load_table(name, CONF_DIR).is_grid


def test_a_grid_is_named_like_no_table_and_only_by_its_name() -> None:
    assert not set(grid_names(CONF_DIR)) & set(table_names(CONF_DIR))
    assert load_settings(["tables=[stems]"]).tables == ("stems",)
    assert "stems" not in load_settings(["tables=all"]).tables


def test_a_table_and_a_grid_of_one_name_are_refused(tmp_path) -> None:
    write_table(tmp_path / "conf", "rates")
    write_grid(tmp_path / "conf")
    both = r"'rates' is the name of conf/table/rates\.yaml and of conf/stability/rates\.yaml"
    for asked in ("rates", *table_names(tmp_path / "conf")):
        with pytest.raises(TableError, match=both):
            load_table(asked, tmp_path / "conf")


def test_a_run_that_a_table_and_a_grid_share_is_one_run(tmp_path) -> None:
    write_table(tmp_path / "conf")  # patchify and conv at 5e-4, warm-up 5
    write_grid(tmp_path / "conf", multiples=[0.5, 1], warmups=[5])  # 5e-4 and 1e-3
    plan = plan_of(tmp_path, "table8", "rates", seeds=(0, 1))
    assert [len(plan.runs_of(table)) for table in plan.tables] == [4, 8]
    assert len(plan.runs) == 8
    finish(plan, plan.cells_of(plan.tables[0])[0].run_ids[0])
    again = plan_of(tmp_path, "rates", seeds=(0, 1))
    assert sum(run.status.done for run in again.runs.values()) == 1


def test_no_warm_up_is_the_option_without_one(tmp_path) -> None:
    write_grid(tmp_path / "conf", warmups=[0, 20])
    rows = load_table("rates", tmp_path / "conf").rows
    assert {row.run[-1] for row in rows} == {"warmup=none", "warmup.epochs=20"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stems": []}, "no 'stems'"),
        ({"stems": ["conv", "conv"]}, "must be different options of conf/stem"),
        ({"multiples": [1, -2]}, "multiples=.*must be different numbers above 0"),
        ({"multiples": [0]}, "above 0"),
        ({"warmups": [-1]}, "warmups=.*from 0 on"),
        ({"warmups": "5"}, "warmups must be a list"),
        ({"optimizers": ["adamw"]}, "optimizers: must be 'key: value' pairs"),
        ({"optimizers": {"adamw": "1e-3"}}, "adamw: '1e-3': must be the rate"),
        ({"blocks": []}, "unknown key 'blocks'"),
        ({"seeds": [0, 0]}, "seeds=.*different whole numbers"),
    ],
)
def test_a_bad_grid_is_refused_in_one_line_that_names_its_file(tmp_path, fields, message) -> None:
    write_grid(tmp_path / "conf", **fields)
    with pytest.raises(TableError, match=message) as caught:
        load_table("rates", tmp_path / "conf")
    assert "conf/stability/rates.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
