"""Generated data sets are artifacts: named before they exist, made once, before their runs."""

import shutil

import pytest
import yaml

from scaledrelu.config.artifacts import (
    MANIFEST,
    artifact_directory,
    artifacts_root,
    data_artifact,
    data_root,
    label_artifact,
)
from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import ConfigError, DataError
from scaledrelu.reports.cells import read_cell
from scaledrelu.runs.record import Status
from scaledrelu.tables.planner import plan_tables
from tests.helpers.sandboxes import Sandbox, prepare, settings_in

TABLE = {
    "source": "Table 8",
    "title": "People",
    "base": ["recipe=reid"],
    "columns": {
        "lr": {"from": "lr.base"},
        "easy": {"metric": "val/map", "run": ["data=market1501"]},
        "hard": {"metric": "val/map", "run": ["data=msmt17"]},
    },
    "blocks": [
        {
            "label": "b",
            "rows": [
                {"run": ["stem=patchify"], "paper": {"easy": 84.1, "hard": 54.9}},
                {
                    "run": ["stem=conv"],
                    "paper": {"easy": 84.3, "hard": 88.6},
                    "misprints": ["hard"],
                },
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def swept(prepared, tmp_path_factory):
    """The sandbox after its sweep, which made both sets."""
    sandbox = Sandbox(prepared, tmp_path_factory.mktemp("swept"))
    sandbox.behave()
    assert sandbox.sweep() == 0
    return sandbox


def test_each_set_is_planned_once_and_made_before_its_runs(swept):
    assert len(swept.plan.artifacts) == 2
    assert len(swept.plan.runs) == 4
    made = [line for line in swept.said if line.startswith("made ")]
    assert len(made) == 2
    for name in swept.plan.artifacts:
        folder = artifact_directory(swept.base / "results", name)
        assert (folder / MANIFEST).exists()
        assert len(list((folder / "query").glob("*.jpg"))) > 50
    assert sorted(swept.started()) == [0, 1, 2, 3]
    plan = plan_tables(settings_in(swept.base))
    assert {item.status for item in plan.artifacts.values()} == {"ok"}


def test_other_options_are_another_set_and_other_runs(sandbox):
    path = sandbox.base / "conf" / "artifact" / "mini_market.yaml"
    making = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(making | {"options": ["--preset", "market", "--seed", 1]}))
    plan = plan_tables(settings_in(sandbox.base))
    assert len(set(plan.artifacts) - set(sandbox.plan.artifacts)) == 1
    assert len(set(plan.runs) - set(sandbox.plan.runs)) == 2


MAKERS = {
    "mini_market": data_artifact,
    "token_labels": lambda config, conf_dir: label_artifact(config, conf_dir, compose),
}
LISTS = {"mini_market": b"options", "token_labels": b"teacher"}
DAMAGED = {  # files of an artifact
    "cut": b"# A small data set",
    "no options": b"script: a.py\n",
    "unknown key": b"script: a.py\noptions: []\nopt: 1\n",
    "no list": b"script: a.py\noptions: --seed\n",
    "no text": b"script: 1\noptions: []\n",
    "no YAML": b"script: a.py\noptions: [--preset",
    "no UTF-8": b"script: \xff",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("name", ["mini_market", "token_labels"])
def test_a_damaged_file_of_an_artifact_is_one_line_that_names_it(content, name, tmp_path):
    config = compose(["recipe=reid"] if name == "mini_market" else ["recipe=volo", "model=volo_d1"])
    path = tmp_path / "artifact" / f"{name}.yaml"
    path.parent.mkdir()
    path.write_bytes(content.replace(b"options", LISTS[name]))
    with pytest.raises(ConfigError) as caught:
        MAKERS[name](config, tmp_path)
    assert str(caught.value).startswith((f"{path}: ", f"{path}, "))
    assert "\n" not in str(caught.value)


def test_a_set_that_was_not_made_names_the_command_that_makes_it(tmp_path):
    config = compose(["recipe=reid", f"paths.results={tmp_path}"])
    with pytest.raises(
        DataError,
        match=r"data\.root=made, but the data set .* `python scripts/make_mini_data\.py --preset",
    ):
        data_root(config)


def test_a_set_that_nothing_makes_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"data\.root=made: no script generates imagefolder"):
        compose(["data=imagefolder", "data.root=made"])


def test_plan_and_job_agree_on_the_set_and_a_folder_of_ones_own_is_another_run(tmp_path):
    made = compose(["recipe=reid"])
    assert made.data.digest == data_artifact(made, CONF_DIR).artifact_id
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "0001_c1s1_000001_00.jpg").write_bytes(b"x")
    own = compose(["recipe=reid", f"data.root={tmp_path}"])
    assert run_id(own) != run_id(made)
    assert data_root(own) == str(tmp_path)


def test_a_crashed_pre_training_is_the_crash_of_a_row_that_also_needs_a_set(swept, tmp_path):
    block = TABLE["blocks"][0] | {"upstream": ["recipe=dino"]}
    base = prepare(tmp_path / "prepared", TABLE | {"blocks": [block]})
    (tmp_path / "run").mkdir()
    sandbox = Sandbox(base, tmp_path / "run")
    assert sandbox.plan.artifacts.keys() == swept.plan.artifacts.keys()
    made = artifacts_root(swept.base / "results")
    shutil.copytree(made, artifacts_root(sandbox.base / "results"))
    parents = [name for name in sandbox.names if name.startswith("dino")]
    sandbox.behave(*(["crash"] if name in parents else ["ok"] for name in sandbox.names))
    sandbox.sweep()
    plan = plan_tables(settings_in(sandbox.base))
    assert {read_cell(plan, cell).status for cell in plan.cells} == {Status.CRASH}


def test_a_misprint_is_shown_and_is_no_target(swept):
    text = (swept.base / "results" / "mini" / "table8.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| 2 |"))
    assert row == "| 2 | 1.6e-3 | 0 of 1 crashed | 84.3 | 90.0 |"
    row = next(line for line in text.partition("## hard")[2].splitlines() if line[:4] == "| 2 ")
    assert row == "| 2 | 1.6e-3 | 0 of 1 crashed | 88.6 (misprint) | 90.0 |"
    noted = [
        line.endswith("misprint: no target")
        for line in (swept.base / "results" / "mini" / "table8.csv").read_text().splitlines()[1:]
    ]
    assert noted == [False, False, False, True]
