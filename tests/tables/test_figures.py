"""Figure 1 as data: what the paper prints, and runs that Table 2 has as well."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.identity import run_id
from scaledrelu.config.milestones import load_milestones
from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import TableError
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.figures import FIGURE1, load_figure
from scaledrelu.tables.planner import Planner

PAPER = Path(__file__).parent.parent / "paper" / "figure1.csv"
FILE = f"figure/{FIGURE1}.yaml"


def facts(kind: str) -> list[dict[str, str]]:
    with PAPER.open() as file:
        return [row for row in csv.DictReader(file) if row["kind"] == kind]


def written(tmp_path: Path, change) -> Path:
    raw = yaml.safe_load((CONF_DIR / FILE).read_text())
    change(raw)
    (tmp_path / "figure").mkdir()
    shutil.copytree(CONF_DIR / "profile", tmp_path / "profile")
    (tmp_path / FILE).write_text(yaml.safe_dump(raw, sort_keys=False))
    return tmp_path


def test_axes_and_legend_are_those_of_the_paper() -> None:
    figure, axis = load_figure(CONF_DIR), {row["name"]: row["value"] for row in facts("axis")}
    assert figure.labels == tuple(row["name"] for row in facts("legend"))
    assert figure.axes.x == axis["x label"]
    assert figure.axes.y_ticks == tuple(map(float, axis["y ticks"].split(";")))
    assert figure.table.title == facts("caption")[0]["value"]
    assert len(facts("claim")) == 3, "position embedding, conv-stem against 1Proj, similar trend"


def test_no_value_of_the_papers_curves_is_made_up() -> None:
    assert {row["note"] for row in facts("legend")} == {"values unreadable in the text"}
    assert load_figure(CONF_DIR).values == {}


@pytest.mark.parametrize("profile", ["mini", "paper"])
def test_its_runs_are_rows_of_table_2(
    profile, tmp_path, monkeypatch, composed_before, fixtures
) -> None:
    monkeypatch.chdir(tmp_path)  # no data set lies at a relative root here
    composer = Composer(composed_before)
    table = load_figure(CONF_DIR).table
    plan = Planner(profile, results=tmp_path, compose=composer).plan([table], [0])
    composer.save()
    known = json.loads((fixtures / "run_ids.json").read_text())[profile]
    rows = [f"table2 row {number} top1" for number in (10, 1, 3, 5)]
    assert list(plan.runs) == [known[row] for row in rows]


@pytest.mark.parametrize("profile", ["mini", "smoke"])
def test_the_runs_behind_the_papers_epochs_are_rows_of_table_2(
    profile, tmp_path, monkeypatch, fixtures
) -> None:
    monkeypatch.chdir(tmp_path)  # no data set lies at a relative root here
    known = json.loads((fixtures / "run_ids.json").read_text())[profile]
    runs = dict.fromkeys(one.run for one in load_milestones().items)
    found = [run_id(compose_unpinned([*run, f"profile={profile}"])) for run in runs]
    assert found == [known["table2 row 1 top1"], known["table2 row 10 top1"]]


def test_values_that_somebody_read_off_the_picture_are_taken(tmp_path: Path) -> None:
    curve = [0.7 - 0.01 * i for i in range(14)]
    conf = written(tmp_path, lambda raw: raw["series"][2].update(values=curve))
    assert load_figure(conf).values == {"3Conv+3ReLU+1Proj": tuple(curve)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw["series"][0].update(values=[0.5] * 13), "14 numbers in [0, 1], one per"),
        (lambda raw: raw["series"][0].update(values=[1.5] * 14), "14 numbers in [0, 1], one per"),
        (lambda raw: raw["series"][0].update(values="high"), "values must be 'missing', or 14"),
        (lambda raw: raw["series"][0].update(valus=1), "series 1: unknown key 'valus'; did you"),
        (lambda raw: raw["series"][0].update(label=""), "every series needs a label of its own"),
        (lambda raw: raw["series"][1].update(run=["stem"]), "'stem': write key=value"),
        (lambda raw: raw.update(layers=True), "layers=True: must be a whole number from 3 on"),
        (lambda raw: raw.pop("axes"), "no 'axes'"),
        (lambda raw: raw["axes"].update(y_ticks=["a"]), "y_ticks must be a list of numbers"),
        (lambda raw: raw.update(columns=[1]), "columns: must be 'key: value' pairs"),
        (lambda raw: raw["columns"].update(top1=3), "column 'top1': must be 'key: value' pairs"),
        (lambda raw: raw["statements"][0].update(kind="hight"), "kind=hight; allowed: position,"),
        (lambda raw: raw["statements"][1].update(against="1Proj"), "against='1Proj': no such"),
    ],
)
def test_anything_out_of_place_is_refused_by_name(tmp_path: Path, change, said: str) -> None:
    with pytest.raises(TableError) as refused:
        load_figure(written(tmp_path, change))
    assert f"conf/figure/{FIGURE1}.yaml" in str(refused.value)
    assert said in str(refused.value)
