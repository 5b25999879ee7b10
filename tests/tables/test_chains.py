"""Rows that start from other runs: what reports, publications and profiles make of them."""

import csv
import io
from dataclasses import replace

from scaledrelu.launch.sweep import runs_to_train
from scaledrelu.reports.cells import cell_notes, read_cell
from scaledrelu.reports.publish import publish
from scaledrelu.reports.published_tables import read_published
from scaledrelu.reports.report import csv_text, write_reports
from scaledrelu.runs.record import Status
from tests.helpers.table_fakes import finish, plan_of, write_table

CHAIN = {
    "label": "two stages",
    "run": ["recipe=probe"],
    "upstream": ["recipe=dino"],
    "released_weights": {"paper": ["init.kind=checkpoint", "init.path=dino.pth"]},
    "rows": [{"run": ["stem=conv"], "paper": {"top1": 76.0}}],
}


def chain_of(tmp_path, **options):
    write_table(tmp_path / "conf", blocks=[CHAIN])
    plan = plan_of(tmp_path, **options)
    child = next(run for run in plan.runs.values() if run.upstream)
    return plan, plan.runs[child.upstream], child


def report(plan):
    table, text = write_reports(plan)
    return list(csv.DictReader(io.StringIO(table.read_text()))), text.read_text()


def test_a_row_links_and_publishes_the_run_that_it_starts_from(tmp_path):
    plan, parent, child = chain_of(tmp_path)
    finish(plan, parent.run_id)
    finish(plan, child.run_id, 70.0)
    plan, parent, child = chain_of(tmp_path)
    lines, text = report(plan)
    assert f"seed 0: `{child.run_id}` 70.0 (from `{parent.run_id}`)" in text
    assert lines[0]["run_ids"] == child.run_id
    names = {path.parent.name for path in publish(plan.results, "mini")}
    assert {child.run_id, parent.run_id} <= names


def test_a_crash_upstream_is_the_rows_crash_and_nothing_is_trained_below_it(tmp_path):
    plan, parent, _ = chain_of(tmp_path)
    finish(plan, parent.run_id, crash="non_finite")
    plan, parent, _ = chain_of(tmp_path)
    assert runs_to_train(plan, "none") == []
    value = read_cell(plan, plan.cells[0])
    assert value.status is Status.CRASH
    assert value.value is None
    lines, text = report(plan)
    assert lines[0]["note"].endswith(f"; upstream crashed ({parent.run_id})")
    assert "| 1 | ViT_c | 5e-4 | 1 of 1 crashed | 76.0 | no value |" in text
    assert f"crash (upstream crashed ({parent.run_id}))" in text


def test_seeds_that_start_from_one_crashed_run_are_counted_one_by_one(tmp_path):
    plan, parent, _ = chain_of(tmp_path, seeds=(0, 1, 2))
    finish(plan, parent.run_id, crash="non_finite")
    plan, _, _ = chain_of(tmp_path, seeds=(0, 1, 2))
    value = read_cell(plan, plan.cells[0])
    lost, other, itself = value.seeds
    other = replace(other, status=Status.CRASH, why=lost.why)
    itself = replace(itself, status=Status.CRASH, why="non_finite")
    (tmp_path / "table8.csv").write_text(csv_text([replace(value, seeds=(lost, other, itself))]))
    line = read_published(tmp_path)[0].lines[0]
    assert line.crashed_starts == (parent.run_id, parent.run_id)
    assert line.started == (1, 1)


def test_a_finished_row_stays_what_it_is_whatever_its_upstream_says_now(tmp_path):
    plan, parent, child = chain_of(tmp_path)
    finish(plan, parent.run_id, crash="non_finite")
    finish(plan, child.run_id, 70.0)
    plan, _, _ = chain_of(tmp_path)
    assert read_cell(plan, plan.cells[0]).status is Status.OK


def test_a_profile_may_start_from_an_external_file_instead(tmp_path):
    write_table(tmp_path / "conf", blocks=[CHAIN])
    plan = plan_of(tmp_path, profile="paper")
    (run,) = plan.runs.values()
    assert run.upstream is None
    assert run.config.init.kind == "checkpoint"
    assert cell_notes(plan.cells[0]) == []
    (mini,) = plan_of(tmp_path).cells
    assert cell_notes(mini) == [
        "starts from our own pre-training; profile paper: from released weights"
    ]


def test_a_report_names_the_weights_that_finished_runs_started_from(tmp_path):
    def planned_from(path, sha256):
        start = ["init.kind=checkpoint", f"init.path={path}", f"init.sha256={sha256}"]
        rows = [{"run": [f"stem={s}"], "paper": {"top1": 1.0}} for s in ("conv", "patchify")]
        block = {**CHAIN, "released_weights": {"paper": start}, "rows": rows}
        write_table(tmp_path / "conf", blocks=[block])
        return plan_of(tmp_path, profile="paper")

    plan = planned_from("data/dino.pth", "ab" * 32)
    assert "SHA-256" not in report(plan)[1]
    finish(plan, plan.cells[1].run_ids[0], 70.0)
    _, text = report(planned_from("data/dino.pth", "ab" * 32))
    assert (
        "- row 2: started from the weights in `data/dino.pth` with SHA-256 `abababababab...`; "
        "whether these are the released ones is not known here (docs/methods.md)\n"
    ) in text
    _, text = report(planned_from("/home/me/dino.pth", "ab" * 32))
    assert "weights in `<init.path>` with SHA-256 `abababababab...`" in text
    assert "SHA-256" not in report(planned_from("data/dino.pth", "cd" * 32))[1], "other runs"


def test_deviations_of_the_pre_training_stand_below_the_table_too(tmp_path):
    write_table(tmp_path / "conf", blocks=[CHAIN])
    recipe = tmp_path / "conf" / "recipe"
    head = "# @package _global_\nmethod: "
    (recipe / "dino.yaml").write_text(f"{head}dino  # deviation: shorter")
    (recipe / "probe.yaml").write_text(f"{head}probe  # assumption: the default")
    _, text = report(plan_of(tmp_path))
    assert "deviation: shorter (`method` in conf/recipe/dino.yaml)" in text
    assert "assumption: the default (`method` in conf/recipe/probe.yaml)" in text


def test_a_column_that_the_paper_does_not_have_stands_alone(tmp_path):
    blocks = [{"label": "b", "rows": [{"run": ["stem=conv"], "paper": {"top1": "missing"}}]}]
    write_table(tmp_path / "conf", blocks=blocks)
    plan = plan_of(tmp_path)
    finish(plan, plan.cells[0].run_ids[0], 70.0)
    lines, text = report(plan_of(tmp_path))
    assert "| row | stem | lr | seeds | Top-1 |" in text
    assert "| 1 | ViT_c | 5e-4 | 0 of 1 crashed | 70.0 |" in text
    assert "Agreement with the paper" not in text
    assert (lines[0]["paper"], lines[0]["delta"]) == ("", "")


def test_a_row_may_be_what_the_others_of_its_block_are_compared_with(tmp_path):
    rows = [
        {"run": ["stem=patchify"], "paper": {"top1": 79.8}, "baseline": True},
        {"run": ["stem=conv"], "paper": {"top1": 81.9}},
    ]
    write_table(tmp_path / "conf", blocks=[{"label": "b", "rows": rows}])
    plan = plan_of(tmp_path)
    for value, cell in zip((70.0, 92.5), plan.cells, strict=True):
        finish(plan, cell.run_ids[0], value)
    lines, text = report(plan_of(tmp_path))
    assert "| 1 (base) | ViT_p | 5e-4 | 0 of 1 crashed | 79.8 | 70.0 | - | - |" in text
    assert "| 2 | ViT_c | 5e-4 | 0 of 1 crashed | 81.9 | 92.5 | +2.1 | +22.5 |" in text
    assert "- row 1: the paper's baseline, which the other rows of its block" in text
    assert [line["row"] for line in lines] == ["1", "2"]
    assert [(line["vs_base"], line["decided"]) for line in lines] == [("", ""), ("22.5000", "no")]


def test_volo_without_token_labels_says_so(tmp_path):
    write_table(tmp_path / "conf")
    (cell, _) = plan_of(tmp_path).cells
    assert cell_notes(cell) == []
    task = {"_target_": "volo", "token_weight": 0.5}
    own = replace(cell.composed, config=replace(cell.composed.config, task=task))
    assert cell_notes(replace(cell, composed=own)) == ["trained without token labels"]
