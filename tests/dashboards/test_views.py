"""Views at W&B are made from code, and saving them again updates the same ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from scaledrelu.config.naming import row_group
from scaledrelu.dashboards import save
from scaledrelu.dashboards.save import check_installed, save_views, where_of
from scaledrelu.dashboards.views import backend_key
from scaledrelu.errors import ConfigError, RunError
from scaledrelu.runs.mirrored import shown_config
from tests.helpers.configs import composed
from tests.helpers.fake_wandb import FakeWandb
from tests.helpers.table_fakes import plan_of, write_table

SECTIONS = [
    "Accuracy by stem",
    "Crash map",
    "Curves by row",
    "Figure 1: token similarity",
    "Inside the network",
]


@pytest.fixture
def plan(tmp_path: Path):
    write_table(tmp_path / "conf")
    return plan_of(tmp_path)


def test_without_the_extra_one_line_says_how_to_install_it(monkeypatch) -> None:
    monkeypatch.setattr(save, "EXTRA", "no_such_package")
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[dashboards\]'"):
        check_installed()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb_workspaces")
def test_saving_twice_updates_one_workspace_and_one_report_a_table(
    server: FakeWandb, plan: Any
) -> None:
    pytest.importorskip("wandb_workspaces")
    where = where_of(plan, entity=None, project="scaledrelu")
    first = dict(save_views(plan, where))
    assert list(first) == ["workspace mini", "report table8"]
    assert first["workspace mini"].startswith(f"{server.address}/me/scaledrelu?nw=")
    kept = {number: dict(view) for number, view in server.views.items()}
    assert dict(save_views(plan, where)) == first
    assert server.views.keys() == kept.keys()
    for number, view in server.views.items():
        before, now = json.loads(kept[number]["spec"]), json.loads(view["spec"])
        assert without_ids(now) == without_ids(before)
    workspace, report = server.views.values()
    shows_what_was_asked_for(json.loads(workspace["spec"])["section"])
    shows_the_runs_of_its_table(json.loads(report["spec"]))


def without_ids(value: Any) -> Any:
    """A view without what its package draws anew each time, and what the app adds on reading."""
    drawn = ("__id__", "id", "ref", "createdAt", "updatedAt")
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if key not in drawn}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def shows_what_was_asked_for(section: dict[str, Any]) -> None:
    bank = section["panelBankConfig"]["sections"]
    assert [one["name"] for one in bank] == SECTIONS
    text = json.dumps(section)
    for needed in ("val/top1", "crashed", "similarity/absolute_02", "stem/alpha_mean"):
        assert f'"{needed}"' in text or f"summary:{needed}" in text
    (runs,) = section["runSets"]
    names = [one["key"]["name"] for one in runs["filters"]["filters"]]
    assert names == ["jobType", "tags"]
    assert runs["grouping"] == [{"section": "run", "name": "group"}]
    axes = {panel["config"].get("xAxis") for one in bank for panel in one["panels"]}
    assert {"epoch", "global_step", "config:lr.value.base"} <= axes


def shows_the_runs_of_its_table(spec: dict[str, Any]) -> None:
    grids = [block for block in spec["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == len(SECTIONS) + 2
    text = json.dumps(grids)
    assert '"value": ["table8"]' in text
    assert '"table8-mini"' in text
    assert '"figure1_picture"' in text


def test_every_key_that_a_view_groups_by_is_one_that_copies_have(plan: Any) -> None:
    source = Path(save.__file__).with_name("views.py").read_text()
    keys = set(re.findall(r'"((?:stem|lr|warmup|optimizer)\.[a-z]+)"', source))
    assert keys >= {"stem.name", "lr.base", "warmup.epochs", "optimizer.label"}
    shown = shown_config(composed("stem=conv_bn"))
    for key in keys:
        group, leaf = key.split(".")
        assert leaf in shown[group]
    assert backend_key("stem.name") == "stem.value.name", "as W&B stores a nested configuration"
    assert shown["stem"]["name"] == "conv_bn"
    assert row_group(composed("stem=conv_bn")).startswith("conv_bn lr ")


def test_a_server_that_refuses_is_one_line(server: FakeWandb, plan: Any) -> None:
    pytest.importorskip("wandb_workspaces")
    where = where_of(plan, entity="me", project="scaledrelu")
    server.refuse = 403
    with pytest.raises(RunError, match=r"^W&B: ") as refused:
        list(save_views(plan, where))
    assert "\n" not in str(refused.value)
