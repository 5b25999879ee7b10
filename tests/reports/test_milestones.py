"""The paper's epochs stand beside the epochs of ours that are nearest, and say which those are."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from scaledrelu.reports import milestones as milestones_module
from scaledrelu.reports.milestones import write_milestones
from scaledrelu.reports.reached import epoch_of_run
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import plan_loaded, planner_of
from scaledrelu.tables.settings import Settings, load_settings
from tests.helpers.configs import composed
from tests.helpers.table_fakes import FakeCompose, finish, write_table

RUNS = (["recipe=deit", "model=vit", "stem=conv"], ["recipe=deit", "model=vit", "stem=patchify"])


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two milestones at one epoch, and plans without Hydra."""
    conf = tmp_path / "conf"
    write_table(conf)
    items = [
        {"claim": f"C0{i}", "run": run, "metric": "val/top1", "epoch": 5, "paper": paper}
        for i, (run, paper) in enumerate(zip(RUNS, (18.1, 10.6), strict=True), 1)
    ]
    (conf / "figure").mkdir()
    raw = {"tolerance": "half_gap", "seeds": [0, 1], "milestones": items}
    (conf / "figure" / "curves.yaml").write_text(yaml.safe_dump(raw))
    monkeypatch.setattr(
        milestones_module,
        "plan_loaded",
        lambda tables, asked, **_: plan_loaded(
            tables, asked, planner=planner_of(asked, compose=FakeCompose(conf))
        ),
    )
    asked = load_settings([f"results={tmp_path / 'results'}", "profile=mini", "seeds=table"])
    return replace(asked, conf_dir=conf)


def train(settings: Settings, values: dict[int, list[float]]) -> Plan:
    """Leave runs, by row, that were evaluated with these values after epoch 5, one per seed."""
    milestones = milestones_module.load_milestones(settings.conf_dir)
    plan = milestones_module.plan_loaded(
        [milestones_module._table(milestones, settings.profile)], settings
    )
    for number, cell in enumerate(plan.cells):
        for run_id, value in zip(cell.run_ids, values.get(number, ()), strict=False):
            folder = finish(plan, run_id, steps=3000)
            rows = [
                {"epoch": epoch, "step": 10 * (epoch + 1), "val/top1": value + epoch - 4}
                for epoch in range(8)
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / "metrics.jsonl").write_text(text)
    return plan


def lines_of(settings: Settings) -> list[dict[str, str]]:
    write_milestones(settings)
    place = settings.results / settings.profile / "curves"
    with (place / "milestones.csv").open() as file:
        return list(csv.DictReader(file))


def text_of(settings: Settings) -> str:
    return (settings.results / settings.profile / "curves" / "milestones.md").read_text()


def test_ours_stands_beside_the_papers_with_every_seed(settings: Settings) -> None:
    train(settings, {0: [20.0, 16.0], 1: [9.0, 11.0]})
    conv, patchify = lines_of(settings)
    assert (conv["paper"], conv["epoch"], conv["run_epoch"]) == ("18.1", "5", "5")
    assert (conv["values"], conv["mean"]) == ("0=20.0000 1=16.0000", "18.0000")
    assert (patchify["values"], patchify["mean"]) == ("0=9.0000 1=11.0000", "10.0000")
    assert "(20.0, 16.0)" in text_of(settings)


def test_a_path_that_is_not_shown_is_named_as_left_out(settings: Settings, tmp_path: Path) -> None:
    settings = replace(settings, overrides=(f"data.root={tmp_path}",))
    train(settings, {0: [20.0, 16.0]})
    write_milestones(settings)
    told = "> Extra overrides in every run: `data.root=...` (left out: the path of data.root)\n"
    assert told in text_of(settings)
    assert str(tmp_path) not in text_of(settings)


def test_other_data_than_the_papers_give_no_difference_and_no_verdict(settings: Settings) -> None:
    train(settings, {0: [20.0, 16.0]})
    line = lines_of(settings)[0]
    assert (line["delta"], line["on_track"]) == ("", "")
    assert "delta" not in text_of(settings)


@pytest.mark.parametrize(("value", "verdict"), [(14.4, "yes"), (14.3, "no"), (22.0, "no")])
def test_on_the_papers_data_half_of_the_gap_decides(
    settings: Settings, value: float, verdict: str
) -> None:
    settings = replace(settings, profile="paper")
    train(settings, {0: [value]})
    line = lines_of(settings)[0]
    assert line["on_track"] == verdict
    assert float(line["delta"]) == pytest.approx(value - 18.1)
    assert "than to that of the other stem" in text_of(settings)


def test_a_run_without_a_value_is_named_and_one_that_is_deleted_takes_its_value_along(
    settings: Settings,
) -> None:
    plan = train(settings, {0: [20.0, 16.0], 1: [9.0, 11.0]})
    gone, damaged = plan.cells[0].run_ids[1], plan.cells[1].run_ids[0]
    (settings.results / "runs" / gone / "result.json").unlink()
    (settings.results / "runs" / damaged / "metrics.jsonl").write_text("{")
    conv, patchify = lines_of(settings)
    assert (conv["values"], conv["n"]) == ("0=20.0000", "1")
    assert conv["note"] == f"seed 1, `{gone}`: missing"
    assert patchify["values"] == "1=11.0000"
    assert f"seed 0, `{damaged}`: metrics.jsonl damaged" in text_of(settings)


def test_an_epoch_that_was_not_evaluated_is_no_zero(settings: Settings) -> None:
    plan = train(settings, {0: [20.0, 16.0]})
    path = settings.results / "runs" / plan.cells[0].run_ids[0] / "metrics.jsonl"
    kept = [line for line in path.read_text().splitlines() if '"epoch": 4' not in line]
    path.write_text("\n".join(kept) + "\n")
    line = lines_of(settings)[0]
    assert line["values"] == "1=16.0000"
    assert "not evaluated after epoch 5" in line["note"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            ["profile.epoch_scale=0.05"],
            "C01, C02: epoch 5 of the paper is epoch 0.25 here, and no evaluation lies near it.",
        ),
        (
            ["profile.epoch_scale=0.2", "profile.warmup_scale=4"],
            "C01, C02: epoch 5 of the paper is epoch 1 here, inside our warm-up of 3.2 epochs; the "
            "paper's ends with epoch 4.",
        ),
    ],
)
def test_where_the_claims_have_nothing_to_compare_the_table_has_a_dash_and_the_reason(
    settings: Settings, changes: list[str], why: str
) -> None:
    settings = replace(settings, overrides=("warmup.epochs=4", *changes))
    train(settings, {0: [20.0, 16.0], 1: [9.0, 11.0]})
    reasons = [line["note"].partition("; seed")[0] for line in lines_of(settings)]
    assert reasons == [why.partition(": ")[2][:-1]] * 2
    rows = [line for line in text_of(settings).splitlines() if line.startswith("| C0")]
    assert [row.split(" | ")[3:5] for row in rows] == [["-", "-"]] * 2
    assert f"- {why}\n" in text_of(settings)


def test_nothing_is_written_where_no_run_has_finished(settings: Settings) -> None:
    assert write_milestones(settings) == []
    assert not (settings.results / "mini" / "curves").exists()


def test_written_anew_it_changes_no_byte(settings: Settings) -> None:
    train(settings, {0: [20.0, 16.0]})
    files = write_milestones(settings)
    before = [path.stat().st_mtime_ns for path in files]
    assert [path.stat().st_mtime_ns for path in write_milestones(settings)] == before


def test_a_shorter_run_is_read_at_the_nearest_share_of_its_schedule() -> None:
    config = composed("profile=mini")  # 300 epochs become 16
    assert [epoch_of_run(epoch, config) for epoch in (5, 20, 50, 300)] == [1, 1, 3, 16]
    assert epoch_of_run(400, config) == 16
    sparse = composed("profile=mini", "evaluation.every_epochs=4")
    assert [epoch_of_run(epoch, sparse) for epoch in (50, 150, 300)] == [4, 8, 16]
