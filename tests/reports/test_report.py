import csv
import io
import re

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.reports.crash_rule import crash_sentence
from scaledrelu.reports.footnotes import footnotes
from scaledrelu.reports.report import write_reports
from scaledrelu.runs.lock import only_writer
from scaledrelu.runs.record import run_directory, write_error
from scaledrelu.tables.composer import Composed, Composer
from tests.helpers.table_fakes import finish, plan_of, write_table

COLUMNS = (
    "table,row,block,stem,lr,metric,paper,target,status,n,n_ok,n_crash,n_failed,n_missing,"
    "n_images,mean_all,ci_all,sd,mean_held,ci_held,delta,base,vs_base,ci_vs_base,decided,epoch,"
    "values,mean_last,values_last,mean_best,values_best,judged_losses,judged_limit,run_ids,note"
)


@pytest.fixture
def conf(tmp_path):
    write_table(tmp_path / "conf")
    return tmp_path


def report(tmp_path, **options):
    """Write the reports; return the CSV lines and the markdown."""
    plan = plan_of(tmp_path, **options)
    table, text = write_reports(plan)
    return list(csv.DictReader(io.StringIO(table.read_text()))), text.read_text()


def seeds_of(tmp_path, row, seeds=(0, 1, 2)):
    plan = plan_of(tmp_path, seeds=seeds)
    return plan, plan.cells[row].run_ids


def test_csv_has_exactly_the_agreed_columns(conf):
    plan = plan_of(conf)
    path, _ = write_reports(plan)
    assert path == plan.results / "mini" / "table8.csv"
    assert path.read_text().splitlines()[0] == COLUMNS


def test_every_column_of_the_csv_is_explained(conf):
    text = (CONF_DIR.parent / "docs" / "reports.md").read_text()
    explained = set(re.findall(r"`(\w+)`", text.partition("## Columns of the CSV")[2]))
    assert set(COLUMNS.split(",")) - {"stem", "lr"} <= explained


def test_empty_results_print_holes_and_the_command_that_fills_them(conf):
    lines, text = report(conf, seeds=(0, 1))
    assert [(line["status"], line["n"], line["n_missing"], line["values"]) for line in lines] == [
        ("missing", "0", "2", "")
    ] * 2
    assert "| 1 | ViT_p | 5e-4 | 2 missing | 79.8 | - |" in text
    assert (
        "- 4 runs (rows 1-2); to train what is missing: `make table8 PROFILE=mini SEEDS=0,1" in text
    )
    assert "> compare the pattern" in text


def test_value_and_run_stand_beside_the_papers_without_a_delta_on_other_data(conf):
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0], 76.4)
    lines, text = report(conf)
    assert (lines[0]["mean_all"], lines[0]["paper"], lines[0]["delta"]) == ("76.4000", "79.8", "")
    assert lines[0]["run_ids"] == plan.cells[0].run_ids[0]
    assert "| row | stem | lr | seeds | Top-1, paper | Top-1, ours |" in text
    assert "| 1 | ViT_p | 5e-4 | 0 of 1 crashed | 79.8 | 76.4 |" in text
    assert f"- row 1: seed 0: `{plan.cells[0].run_ids[0]}` 76.4" in text
    assert "One seed per row" in text


@pytest.mark.parametrize(("value", "delta"), [(76.4, "-3.4"), (79.78, "+0.0")])
def test_on_the_papers_data_the_delta_is_printed(conf, value, delta):
    plan = plan_of(conf, profile="paper")
    finish(plan, plan.cells[0].run_ids[0], value)
    lines, text = report(conf, profile="paper")
    assert float(lines[0]["delta"]) == pytest.approx(value - 79.8)
    assert "| row | stem | lr | seeds | Top-1, paper | Top-1, ours | delta |" in text
    assert f"| 0 of 1 crashed | 79.8 | {value:.1f} | {delta} |" in text
    assert "| 1 missing | crash | - | - |" in text


def test_other_data_at_the_paper_profile_have_no_delta_either(conf):
    overrides = ("data.name=cifar10",)
    plan = plan_of(conf, profile="paper", overrides=overrides)
    finish(plan, plan.cells[0].run_ids[0], 76.4)
    lines, text = report(conf, profile="paper", overrides=overrides)
    assert lines[0]["delta"] == ""
    assert "delta" not in text


def test_seeds_become_mean_interval_and_sample_deviation(conf):
    plan, names = seeds_of(conf, 0)
    for name, value in zip(names, (70.0, 72.0, 77.0), strict=True):
        finish(plan, name, value)
    lines, text = report(conf, seeds=(0, 1, 2))
    # sd 3.6056; half of the interval 4.302653 x 3.6056 / sqrt(3) = 8.9567
    found = [lines[0][key] for key in ("mean_all", "sd", "ci_all", "n")]
    assert found == ["73.0000", "3.6056", "8.9567", "3"]
    assert "| 0 of 3 crashed | 79.8 | 73.0 +/- 9.0 |" in text
    assert "Top-1, ours: mean over all seeds +/- 95 % t interval" in text


def test_a_crashed_seed_counts_in_the_mean_and_those_that_held_stand_beside_it(conf):
    plan, names = seeds_of(conf, 0)
    finish(plan, names[0], 95.8333)
    finish(plan, names[1], 89.4444)
    finish(plan, names[2], 31.3889, crash="collapsed")
    lines, text = report(conf, seeds=(0, 1, 2))
    found = [lines[0][key] for key in ("status", "n", "n_crash", "mean_all", "mean_held")]
    assert found == ["ok", "3", "1", "72.2222", "92.6388"]
    assert lines[0]["values"] == "0=95.8333 1=89.4444 2=crash:31.3889"
    assert "1 of 3 crashed" in lines[0]["note"]
    # held: sd 4.5177, half 12.7062 x 4.5177 / sqrt(2) = 40.5899
    assert "| 1 of 3 crashed | 79.8 | 72.2 +/- 88.2 | 92.6 +/- 40.6 |" in text
    assert "Top-1, ours: over the seeds that held" in text


def test_crashed_and_missing_seeds_are_told_apart(conf):
    plan, names = seeds_of(conf, 0)
    finish(plan, names[0], 12.0, crash="collapsed")
    finish(plan, names[1], 12.0, crash="collapsed")
    lines, text = report(conf, seeds=(0, 1, 2))
    assert "| 2 of 2 crashed, 1 missing | 79.8 | 12.0 +/- 0.0 |" in text
    assert "of 3" not in text
    assert "2 of 2 crashed, 1 missing" in lines[0]["note"]
    assert lines[0]["values"] == "0=crash:12.0000 1=crash:12.0000 2=missing"
    write_error(run_directory(plan.results, names[2]), "disk full")
    lines, text = report(conf, seeds=(0, 1, 2))
    assert "| 2 of 2 crashed, 1 failed | 79.8 |" in text
    assert (lines[0]["n"], lines[0]["n_failed"], lines[0]["n_missing"]) == ("2", "1", "0")


def test_one_crash_of_two_is_not_most(conf):
    plan, names = seeds_of(conf, 0, seeds=(0, 1))
    finish(plan, names[0], 70.0)
    finish(plan, names[1], 12.0, crash="collapsed")
    lines, text = report(conf, seeds=(0, 1))
    assert (lines[0]["status"], lines[0]["mean_all"], lines[0]["mean_held"]) == (
        "ok",
        "41.0000",
        "70.0000",
    )
    assert "| 1 of 2 crashed | 79.8 | 41.0 +/- 368.5 | 70.0 |" in text  # 12.7062 x 41.01 / sqrt(2)
    assert "the seeds do not settle the mean" in text


def test_most_seeds_crashed_is_a_crash_with_a_mean_over_all(conf):
    plan, names = seeds_of(conf, 1)
    finish(plan, names[0], 30.0, crash="collapsed")
    finish(plan, names[1], 40.0, crash="collapsed")
    finish(plan, names[2], 90.0)
    lines, text = report(conf, seeds=(0, 1, 2))
    assert (lines[1]["status"], lines[1]["mean_all"]) == ("crash", "53.3333")
    assert "| 2 of 3 crashed | crash | 53.3 +/- 79.9 | 90.0 |" in text


def test_a_crash_that_was_never_judged_is_in_no_mean_and_the_cell_says_so(conf):
    plan, names = seeds_of(conf, 1)
    finish(plan, names[0], None, crash="non_finite")
    lines, text = report(conf, seeds=(0,))
    assert (lines[1]["mean_all"], lines[1]["values"]) == ("", "")
    assert "| 1 of 1 crashed | crash | no value |" in text
    assert f"`{names[0]}` crash (non_finite)" in text
    finish(plan, names[1], 70.0)
    finish(plan, names[2], 80.0)
    lines, text = report(conf, seeds=(0, 1, 2))
    assert lines[1]["values"] == "0=crash: 1=70.0000 2=80.0000"
    assert "| 1 of 3 crashed | crash | 75.0 +/- 63.5 (1 without value) | 75.0 +/- 63.5 |" in text
    assert "it counts as crashed and is in no mean" in text


def test_failure_is_not_a_crash_and_says_why(conf):
    plan = plan_of(conf)
    write_error(run_directory(plan.results, plan.cells[0].run_ids[0]), "disk full", "Traceback")
    lines, text = report(conf)
    assert (lines[0]["status"], lines[0]["n_failed"], lines[0]["n_crash"]) == ("failed", "1", "0")
    assert lines[0]["note"] == "disk full"
    assert "| 1 failed | 79.8 | - |" in text
    assert "disk full (`make table8 PROFILE=mini SEEDS=0" in text


def test_run_that_still_goes_is_a_hole(conf):

    plan = plan_of(conf)
    folder = run_directory(plan.results, plan.cells[0].run_ids[0])
    folder.mkdir(parents=True)
    with only_writer(folder):
        lines, _ = report(conf)
    assert lines[0]["status"] == "missing"


def test_the_last_epoch_is_printed_and_both_are_in_the_csv(conf):
    plan, names = seeds_of(conf, 0, seeds=(0, 1))
    finish(plan, names[0], 70.0, best=75.0)
    finish(plan, names[1], 12.0, best=30.0, crash="collapsed")
    lines, text = report(conf, seeds=(0, 1))
    found = [lines[0][key] for key in ("epoch", "mean_all", "mean_last", "mean_best")]
    assert found == ["last", "41.0000", "41.0000", "52.5000"]
    assert lines[0]["values_last"] == "0=70.0000 1=crash:12.0000"
    assert lines[0]["values_best"] == "0=75.0000 1=crash:30.0000"
    assert "- the last epoch is printed in every row; the CSV has the last and the best" in text
    lines, text = report(conf, seeds=(0, 1), overrides=("evaluation.report=best",))
    found = [lines[0][key] for key in ("epoch", "mean_all", "mean_last", "mean_best")]
    assert found == ["best", "43.5000", "41.0000", "52.5000"]  # a crash counts with its end
    assert "the best epoch is printed in every row" in text


def test_rows_that_print_another_epoch_are_named(conf):
    rows = [
        {"run": [f"stem={stem}", f"evaluation.report={epoch}"], "paper": {"top1": 80.0}}
        for stem, epoch in (("patchify", "last"), ("conv", "best"))
    ]
    write_table(conf / "conf", blocks=[{"label": "b", "rows": rows}])
    assert "- row 1: the last epoch is printed; row 2: the best epoch is printed" in report(conf)[1]


def test_notes_that_repeat_are_merged_with_their_rows(conf):
    notes = ["linear evaluation", "", *["linear evaluation"] * 3, "alone"]
    rows = [
        {"run": ["stem=conv", f"lr.base={n}e-3"], "paper": {"top1": 80.0}, "note": note}
        for n, note in enumerate(notes, 1)
    ]
    write_table(conf / "conf", blocks=[{"label": "b", "rows": rows}])
    _, text = report(conf)
    assert "- rows 1, 3-5: linear evaluation\n- row 6: alone\n" in text


def test_a_note_on_the_whole_table_stands_below_its_numbers(conf):
    write_table(conf / "conf", note="These rows crash by the rule alone, see recipes H02.")
    finish(plan_of(conf), plan_of(conf).cells[0].run_ids[0], 70.0)
    _, text = report(conf)
    grid, _, after = text.partition("\n\nThese rows crash by the rule alone, see recipes H02.\n\n")
    assert "| 70.0 |" in grid
    assert "## " not in grid
    assert after.startswith("## ")
    assert text.count("docs/recipes.md") == 1


def test_a_note_of_a_block_is_about_each_of_its_rows(conf):
    rows = [
        {"run": ["stem=conv", f"lr.base={n}e-3"], "paper": {"top1": 80.0}, "note": note}
        for n, note in enumerate(("", "alone", "", ""), 1)
    ]
    blocks = [{"label": "a", "rows": rows[:1]}, {"label": "b", "rows": rows[1:], "note": "new"}]
    write_table(conf / "conf", blocks=blocks)
    lines, text = report(conf)
    assert "- rows 2-4: new\n- row 2: alone\n" in text
    assert [line["note"] for line in lines] == ["", "new; alone", "new", "new"]


def test_every_report_says_what_a_crash_is_and_whose_loss_came_back(conf):
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0], 76.4, remark="dead in epochs 3 to 5")
    lines, text = report(conf)
    sentence = crash_sentence(plan.cells[0].composed.config)
    assert text.count(sentence) == text.count("counts as a crash as soon as") == 1
    assert "- row 1, seed 0: dead in epochs 3 to 5\n" in text
    assert lines[0]["note"] == "seed 0: dead in epochs 3 to 5"


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1 image was damaged and replaced"), (2, "2 images were damaged and replaced")],
)
def test_images_that_others_stood_in_for_are_counted_below_the_table(conf, number, said):
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0], remark="dead in epoch 3", num_skipped_images=number)
    finish(plan, plan.cells[1].run_ids[0], num_skipped_images=0)
    lines, text = report(conf)
    assert f"- row 1, seed 0: dead in epoch 3\n- row 1, seed 0: {said}\n" in text
    assert lines[0]["note"] == f"seed 0: dead in epoch 3; seed 0: {said}"
    assert text.count("replaced") == 1
    assert lines[1]["note"] == ""


def test_two_rules_of_one_method_name_their_rows(conf):
    rows = [
        {"run": ["stem=conv", f"divergence.ratio={ratio}"], "paper": {"top1": 80.0}}
        for ratio in (0.8, 0.9, 0.9)
    ]
    for n, row in enumerate(rows):
        row["run"].append(f"lr.base={n + 1}e-3")
    write_table(conf / "conf", blocks=[{"label": "b", "rows": rows}])
    _, text = report(conf)
    assert re.search(r"\nTop-1, row 1: A deit run .* 0\.8 x ln 10", text)
    assert re.search(r"\nTop-1, rows 2-3: A deit run .* 0\.9 x ln 10", text)


def test_the_head_counts_devices_versions_and_commits(conf):
    plan, names = seeds_of(conf, 0)
    made = {"torch": "2.11.0", "timm": "1.0.31", "device": "CPU A, 2 cores", "commit": "abc"}
    finish(plan, names[0], **made)
    _, text = report(conf, seeds=(0, 1, 2))
    assert "Made on CPU A, 2 cores. With torch 2.11.0, timm 1.0.31. From commit abc.\n" in text
    finish(plan, names[1], **{**made, "commit": "abc-dirty"})
    finish(plan, names[2], **{**made, "device": "NVIDIA H100"})
    _, text = report(conf, seeds=(0, 1, 2))
    assert (
        "Made on CPU A, 2 cores (2 runs); NVIDIA H100 (1 run). The same run can end differently on "
        "another kind of device. With torch 2.11.0, timm 1.0.31. From commit abc (2 runs); commit "
        "abc and files that differ from it (1 run).\n" in text
    )


@pytest.mark.parametrize(
    ("seeds", "said"),
    [((1,), "Seed 1 alone"), ((0, 2), "Seeds 0, 2 alone"), ((2, 1, 0), ""), (None, "")],
)
def test_the_head_says_which_seeds_were_asked_for_instead_of_the_tables_own(conf, seeds, said):
    write_table(conf / "conf", seeds=[0, 1, 2])
    head = report(conf, seeds=seeds)[1].partition("| row |")[0]
    sentence = f"\n> {said}; SEEDS chooses which seeds a report shows.\n"
    assert (sentence in head) == bool(said)
    assert ("SEEDS" in head) == bool(said)


def test_a_block_may_name_more_seeds_than_its_table(conf):
    rows = [{"run": ["stem=conv"], "paper": {"top1": 80.0}}]
    blocks = [{"label": "edge", "rows": rows, "seeds": [0, 1, 2, 3, 4]}]
    blocks += [{"label": "calm", "run": ["optimizer=sam"], "rows": rows}]
    write_table(conf / "conf", blocks=blocks, seeds=[0, 1, 2])
    assert [len(cell.run_ids) for cell in plan_of(conf, seeds=None).cells] == [5, 3]
    assert [len(cell.run_ids) for cell in plan_of(conf, seeds=(0,)).cells] == [1, 1]
    assert "PROFILE=mini SEEDS=table" in report(conf, seeds=None)[1]


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_missing_metric_is_a_failed_cell_never_a_zero_and_costs_no_other(conf, value):
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0], value)
    finish(plan, plan.cells[1].run_ids[0], 70.0)
    lines, text = report(conf)
    assert [(line["status"], line["mean_all"]) for line in lines] == [
        ("failed", ""),
        ("ok", "70.0000"),
    ]
    assert "no finite metric 'val/top1' (found: " in lines[0]["note"]
    assert "correct the table" in text
    assert not re.search("move|delete|again", lines[0]["note"]), "the run may be good"


def test_regenerating_changes_no_byte(conf):
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0], 70.0)
    first = report(conf)
    stamps = [path.stat().st_mtime_ns for path in sorted(plan.results.glob("mini/*"))]
    assert report(conf) == first
    assert [path.stat().st_mtime_ns for path in sorted(plan.results.glob("mini/*"))] == stamps


@pytest.fixture
def two_sets(conf):
    """A row with three metrics on two data sets, so two runs; the first one has finished."""
    easy, hard = ["data.name=easy"], ["data.name=hard"]
    columns = {
        "lr": {"from": "lr.base"},
        "easy_top1": {
            "metric": "val/top1",
            "header": "Easy",
            "run": easy,
            "judged_on": {"metric": "val/queries", "name": "queries with a match"},
        },
        "easy_top5": {"metric": "val/top5", "header": "Easy, top-5", "run": easy},
        "hard_top1": {"metric": "val/top1", "header": "Hard", "run": hard},
    }
    paper = {"easy_top1": 84.3, "easy_top5": 93.5, "hard_top1": 54.9}
    block = {"label": "b", "rows": [{"run": ["stem=conv"], "paper": paper}]}
    write_table(conf / "conf", columns=columns, blocks=[block])
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0], 70.0, more={"val/top5": 90.0, "val/queries": 3368.0})
    return conf


def test_csv_tells_columns_of_one_metric_apart(two_sets):
    lines, _ = report(two_sets)
    assert [(line["metric"], line["mean_all"]) for line in lines] == [
        ("easy_top1", "70.0000"),
        ("val/top5", "90.0000"),
        ("hard_top1", ""),
    ]


def test_every_data_set_has_a_grid_of_its_own(two_sets):
    _, text = report(two_sets)
    easy, hard = text.partition("## Easy\n\n")[2].split("## Hard\n\n")
    assert easy.startswith(
        "| row | lr | seeds | Easy, paper | Easy, ours | delta | Easy, top-5, paper | "
        "Easy, top-5, ours | delta |\n"
    )
    assert "| 1 | 5e-4 | 0 of 1 crashed | 84.3 | 70.0 | -14.3 | 93.5 | 90.0 | -3.5 |" in easy
    assert hard.startswith("| row | lr | seeds | Hard, paper | Hard, ours |\n")
    assert "| 1 | 5e-4 | 1 missing | 54.9 | - |" in hard


def test_runs_are_listed_and_missed_once_with_all_their_metrics(two_sets):
    easy, _, hard = (cell.run_ids[0] for cell in plan_of(two_sets).cells)
    _, text = report(two_sets)
    assert f"- row 1 (Easy, Easy, top-5): seed 0: `{easy}` 70.0, 90.0\n" in text
    assert f"- row 1 (Hard): seed 0: `{hard}` missing\n" in text
    assert text.count(easy) == 1
    assert "- 1 run (row 1); to train what is missing" in text


def test_crashes_are_compared_once_for_all_metrics_of_a_run(two_sets):
    _, text = report(two_sets)
    assert "As in the paper: 1 of 1 rows (2 data sets, each row of each once)." in text


def test_what_the_images_resolve_is_said_below_the_grid(two_sets):
    _, text = report(two_sets)
    # 70 %: Wilson 0.684377 to 0.715231 of 3,368; hypot(0.015623, 0.015231) = 2.18 points
    assert (
        "- Easy, Easy, top-5: 3,368 queries with a match; one query is 0.03 points. Two runs that "
        "differ by less than 2.2 points at 70 % or 1.4 points at 90 % cannot be told apart" in text
    )


def conf_with_remarks(tmp_path):
    conf = tmp_path / "conf"
    files = {
        "recipe/deit": "# @package _global_\ndefaults:\n"
        "  - override /precision: half  # assumption: half\n"
        "augment:\n  repeats: 3  # assumption: repeats on\nlr: {base: 1e-3}  # assumption: lr\n",
        "optimizer/sam": "defaults: [adamw, _self_]\nsam:\n  rho: 0.1  # assumption: rho\n",
        "optimizer/adamw": "eps: 1.0e-8  # deviation: eps\n",
    }
    for name, text in files.items():
        path = conf / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return conf


@pytest.mark.parametrize(
    ("repeats", "precision", "named", "expected"),
    [
        (3, "half", [], {"eps", "half", "lr", "repeats on", "rho"}),
        (1, "half", [], {"eps", "half", "lr", "rho"}),
        (3, "full", [], {"eps", "lr", "repeats on", "rho"}),
        (1, "half", ["augment.repeats=1"], {"eps", "half", "lr", "repeats on", "rho"}),
    ],
)
def test_remarks_are_footnotes_while_their_value_is_in_force(
    tmp_path, repeats, precision, named, expected
):
    conf = conf_with_remarks(tmp_path)
    config = {
        "augment": {"repeats": repeats},
        "lr": {"base": 0.001},
        "optimizer": {"sam": {"rho": 0.1}, "eps": 1e-8},
    }
    choices = {"recipe": "deit", "optimizer": "sam", "precision": precision, "stem": "none"}
    lines = footnotes([(Composed(config, choices), named)], conf)
    assert {line.partition(": ")[2].partition(" (")[0] for line in lines} == expected
    assert "assumption: rho (`optimizer.sam.rho` in conf/optimizer/sam.yaml)" in lines


@pytest.mark.parametrize(("epoch", "stays"), [("last", True), ("best", False)])
def test_a_setting_of_a_person_does_away_with_the_remark_on_another_value(conf, epoch, stays):
    remark = "# @package _global_\nevaluation: {report: last}  # assumption: last epoch\n"
    (conf / "conf" / "recipe" / "deit.yaml").write_text(remark)
    text = report(conf, overrides=(f"evaluation.report={epoch}",))[1]
    assert ("assumption: last epoch" in text) == stays


def test_a_remark_that_several_files_make_stands_once_with_all_of_them(tmp_path):
    for recipe, line in (("deit", "{a: 1, b: 2}"), ("volo", "{a: 1, b: 2}"), ("dino", "{a: 1}")):
        path = tmp_path / "conf" / "recipe" / f"{recipe}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# @package _global_\nrule: {line}  # deviation: a common rule\n")
    config = {"rule": {"a": 1, "b": 2}}
    used = [(Composed(config, {"recipe": name}), ()) for name in ("volo", "deit", "dino")]
    assert footnotes(used, tmp_path / "conf") == [
        "deviation: a common rule (`rule.a, rule.b` in conf/recipe/deit.yaml, "
        "conf/recipe/volo.yaml; `rule.a` in conf/recipe/dino.yaml)"
    ]


def test_mini_lists_its_own_radius_and_not_the_papers(tmp_path):
    composer = Composer(tmp_path)
    overrides = ["optimizer=sam", "profile=mini"]
    text = "\n".join(footnotes([(composer(overrides), overrides)], CONF_DIR))
    assert "conf/profile_optimizer/mini_sam.yaml" in text
    assert "Chen et al." not in text
    assert "synchronised first pass" in text
    assert "repeated augmentation on" not in text


MARKED = """\
source: Table 8
title: Rows with remarks
# assumption: of the table (recipes H24)
base: [recipe=deit, model=vit]  # deviation: of its base
columns:
  top1: {metric: val/top1}
blocks:
  - label: one
    rows:
      - {run: [stem=conv], paper: {top1: 1.0}}
      - {run: [stem=patchify], paper: {top1: 2.0}}  # assumption: of a row
  - label: two
    # assumption: of a block
    run: [stem=conv]
    rows:
      - run: [lr.base=1e-3]
        paper: {top1: 3.0}  # deviation: of a longer row
      - {run: [lr.base=2e-3], paper: {top1: 4.0}}
      - {run: [lr.base=3e-3], paper: {top1: 5.0}}
"""


def test_remarks_in_a_table_file_name_the_rows_that_they_are_about(conf):
    (conf / "conf" / "table" / "table8.yaml").write_text(MARKED)
    _, text = report(conf)
    notes = [line for line in text.splitlines() if line.endswith("(conf/table/table8.yaml)")]
    assert [note.removesuffix(" (conf/table/table8.yaml)") for note in notes] == [
        "- assumption: of the table (recipes H24)",
        "- deviation: of its base",
        "- row 2: assumption: of a row",
        "- rows 3-5: assumption: of a block",
        "- row 3: deviation: of a longer row",
    ]


@pytest.mark.parametrize(
    ("note", "said"), [("see recipes H02", 1), ("recipes and rows", 0), ("", 0)]
)
def test_notes_that_cite_the_recipes_say_where_they_are(conf, note, said):
    rows = [{"run": ["stem=conv"], "paper": {"top1": 1.0}, "note": note}]
    write_table(conf / "conf", blocks=[{"label": "b", "rows": rows}])
    _, text = report(conf)
    assert text.count("docs/recipes.md") == said


def test_a_corrected_value_names_what_is_printed_and_is_no_target(conf):
    row = {"run": ["stem=conv"], "paper": {"top1": 77.5}, "misprints": ["top1"]}
    same = {**row, "run": ["stem=conv", "stem.label=again"]}
    blocks = [{"label": "b", "rows": [{**row, "corrected": {"top1": 71.5}}, same]}]
    write_table(conf / "conf", blocks=blocks)
    finish(plan_of(conf), plan_of(conf).cells[0].run_ids[0], 70.0)
    lines, text = report(conf)
    assert "| 77.5 (corrected from 71.5) | 70.0 |" in text
    assert "| 77.5 (misprint) | 70.0 |" in text
    assert lines[0]["note"].startswith("corrected from 71.5: no target")
    assert lines[0]["delta"] == ""


def test_the_judged_loss_stands_beside_its_limit_where_the_table_asks_for_it(tmp_path):
    write_table(tmp_path / "conf", judged=True)
    plan, (first, second) = seeds_of(tmp_path, 0, seeds=(0, 1))
    finish(plan, first, 40.0, judged=(2.0165, 2.0723))
    finish(plan, second, 20.0, crash="collapsed", judged=(2.15, 2.0723))
    lines, text = report(tmp_path, seeds=(0, 1))
    assert "judged loss by seed, a crash above 2.072 |" in text
    assert "| 1 of 2 crashed | 79.8 |" in text
    assert "| 2.017, 2.150 |\n" in text
    assert (lines[0]["judged_losses"], lines[0]["judged_limit"]) == (
        "0=2.0165 1=crash:2.1500",
        "2.0723",
    )
    assert lines[1]["judged_losses"] == lines[1]["judged_limit"] == ""


def test_a_loss_that_was_not_finite_has_no_number_as_judged_loss(tmp_path):
    write_table(tmp_path / "conf", judged=True)
    plan, (name,) = seeds_of(tmp_path, 0, seeds=(0,))
    finish(plan, name, None, crash="non_finite", judged=(float("nan"), 2.0723))
    assert "| - |\n" in report(tmp_path)[1]
