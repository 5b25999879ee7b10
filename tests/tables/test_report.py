import csv
import io
import re

import pytest
from table_fakes import finish, plan_of, write_table

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.errors import TableError
from scaledrelu.runs.attempt import write_attempt
from scaledrelu.runs.record import run_directory, write_error
from scaledrelu.tables.composer import Composed, Composer
from scaledrelu.tables.footnotes import footnotes
from scaledrelu.tables.publish import publish
from scaledrelu.tables.report import write_reports

COLUMNS = (
    "table,row,block,stem,lr,metric,value,std,n_ok,n_crash,n_failed,last_value,paper,delta,"
    "status,run_ids,note"
)


@pytest.fixture
def conf(tmp_path):
    write_table(tmp_path / "conf")
    return tmp_path


OLD = "deit-000000000000"


def report(tmp_path, **options):
    """Write the reports; return the CSV lines and the markdown."""
    plan = plan_of(tmp_path, **options)
    table, text = write_reports(plan, results=plan.results)
    return list(csv.DictReader(io.StringIO(table.read_text()))), text.read_text()


def seeds_of(tmp_path, row, seeds=(0, 1, 2)):
    plan = plan_of(tmp_path, seeds=seeds)
    return plan, plan.cells[row].run_ids


def test_csv_has_exactly_the_agreed_columns(conf):
    plan = plan_of(conf)
    path, _ = write_reports(plan, results=plan.results)
    assert path == plan.results / "mini" / "table8.csv"
    assert path.read_text().splitlines()[0] == COLUMNS


def test_empty_results_print_holes_and_the_command_that_fills_them(conf):
    lines, text = report(conf, seeds=(0, 1))
    assert [(line["status"], line["value"], line["delta"]) for line in lines] == [
        ("missing", "", "")
    ] * 2
    assert "| 1 | ViT_p | 5e-4 | 79.8 | - | - | 0 of 2 |" in text
    assert "4 runs (rows 1, 2); to train them: `make table8 PROFILE=mini SEEDS=0,1`" in text
    assert "> compare the pattern" in text


def test_value_delta_and_run_stand_beside_the_papers(conf):
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0], 76.4)
    lines, text = report(conf)
    assert lines[0]["value"] == "76.4000"
    assert lines[0]["delta"] == "-3.4000"
    assert lines[0]["paper"] == "79.8"
    assert lines[0]["run_ids"] == plan.cells[0].run_ids[0]
    assert "| 1 | ViT_p | 5e-4 | 79.8 | 76.4 | -3.4 | 1 of 1 |" in text
    assert f"- row 1: seed 0: `{plan.cells[0].run_ids[0]}` 76.4" in text


def test_delta_that_rounds_to_nothing_has_no_minus(conf):
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0], 79.78)
    assert "| 79.8 | 79.8 | +0.0 |" in report(conf)[1]


def test_seeds_become_mean_and_sample_deviation(conf):
    plan, names = seeds_of(conf, 0)
    for name, value in zip(names, (70.0, 72.0, 77.0), strict=True):
        finish(plan, name, value)
    lines, text = report(conf, seeds=(0, 1, 2))
    assert (lines[0]["value"], lines[0]["std"], lines[0]["n_ok"]) == ("73.0000", "3.6056", "3")
    assert "73.0 +/- 3.6" in text


def test_one_crash_of_three_keeps_the_mean_of_the_others(conf):
    plan, names = seeds_of(conf, 0)
    finish(plan, names[0], 70.0)
    finish(plan, names[1], 80.0)
    finish(plan, names[2], 12.0, crash="collapsed")
    lines, text = report(conf, seeds=(0, 1, 2))
    assert (lines[0]["status"], lines[0]["value"], lines[0]["n_crash"]) == ("ok", "75.0000", "1")
    assert lines[0]["last_value"] == "12.0000"
    assert "1 of 3 crashed" in lines[0]["note"]
    assert "75.0 +/- 7.1 (1 of 3 crashed)" in text


def test_one_crash_of_two_is_not_most_and_keeps_the_other_value(conf):
    plan, names = seeds_of(conf, 0, seeds=(0, 1))
    finish(plan, names[0], 70.0)
    finish(plan, names[1], 12.0, crash="collapsed")
    lines, text = report(conf, seeds=(0, 1))
    assert (lines[0]["status"], lines[0]["value"], lines[0]["n_crash"]) == ("ok", "70.0000", "1")
    assert "(1 of 2 crashed)" in text


def test_most_seeds_crashed_is_a_crash_without_a_value(conf):
    plan, names = seeds_of(conf, 1)
    finish(plan, names[0], 30.0, crash="collapsed")
    finish(plan, names[1], 40.0, crash="collapsed")
    finish(plan, names[2], 90.0)
    lines, text = report(conf, seeds=(0, 1, 2))
    assert (lines[1]["status"], lines[1]["value"], lines[1]["std"]) == ("crash", "", "")
    assert lines[1]["last_value"] == "35.0000"
    assert "crash (collapsed; ended at 35.0; 2 of 3 crashed)" in text
    assert "as in the paper in 1 of 1 finished cells" in text


def test_crash_that_was_never_evaluated_prints_without_a_number(conf):
    plan = plan_of(conf)
    finish(plan, plan.cells[1].run_ids[0], None, crash="non_finite")
    lines, text = report(conf)
    assert lines[1]["last_value"] == ""
    assert "crash (non_finite)" in text


def test_failure_is_not_a_crash_and_says_why(conf):
    plan = plan_of(conf)
    write_error(run_directory(plan.results, plan.cells[0].run_ids[0]), "disk full", "Traceback")
    lines, text = report(conf)
    assert (lines[0]["status"], lines[0]["n_failed"], lines[0]["n_crash"]) == ("failed", "1", "0")
    assert lines[0]["note"] == "disk full"
    assert "| failed |" in text
    assert "disk full (`make table8 PROFILE=mini SEEDS=0` retries)" in text


def test_run_that_still_goes_is_a_hole(conf):
    import os

    plan = plan_of(conf)
    write_attempt(run_directory(plan.results, plan.cells[0].run_ids[0]), pid=os.getpid(), started=0)
    lines, _ = report(conf)
    assert lines[0]["status"] == "missing"


def test_two_of_three_seeds_show_the_hole_beside_the_mean(conf):
    plan, names = seeds_of(conf, 0)
    finish(plan, names[0], 70.0)
    finish(plan, names[1], 80.0)
    lines, text = report(conf, seeds=(0, 1, 2))
    assert lines[0]["status"] == "ok"
    assert "1 of 3 missing" in lines[0]["note"]
    assert "| 2 of 3 |" in text


@pytest.mark.parametrize(("which", "value"), [("last", "70.0000"), ("best", "75.0000")])
def test_last_or_best_epoch_is_a_field(conf, which, value):
    overrides = (f"evaluation.report={which}",)
    plan = plan_of(conf, overrides=overrides)
    finish(plan, plan.cells[0].run_ids[0], 70.0, best=75.0)
    lines, text = report(conf, overrides=overrides)
    assert lines[0]["value"] == value
    assert f"the {which} epoch is printed" in text


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_missing_metric_is_a_failed_cell_never_a_zero_and_costs_no_other(conf, value):
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0], value)
    finish(plan, plan.cells[1].run_ids[0], 70.0)
    lines, text = report(conf)
    assert [(line["status"], line["value"]) for line in lines] == [
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


def test_deltas_against_the_baseline_of_the_block(conf):
    rows = [{"run": ["stem=conv"], "paper": {"top1": 80.3}}]
    block = {"label": "b", "baseline": {"paper": {"top1": 81.9}}, "rows": rows}
    write_table(conf / "conf", blocks=[block])
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0], 70.0)
    finish(plan, plan.cells[1].run_ids[0], 72.5)
    lines, text = report(conf)
    assert [(line["row"], line["note"]) for line in lines] == [("0", "baseline"), ("1", "")]
    assert "| 1 | ViT_c | 5e-4 | 80.3 | 72.5 | -7.8 | 1 of 1 | -1.6 | +2.5 |" in text
    assert "in 1 of 1 finished cells" in text


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
            "over": {"metric": "val/queries", "name": "queries with a match"},
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
    assert [(line["metric"], line["value"]) for line in lines] == [
        ("easy_top1", "70.0000"),
        ("val/top5", "90.0000"),
        ("hard_top1", ""),
    ]


def test_runs_are_listed_and_missed_once_with_all_their_metrics(two_sets):
    easy, _, hard = (cell.run_ids[0] for cell in plan_of(two_sets).cells)
    _, text = report(two_sets)
    assert f"- row 1 (Easy, Easy, top-5): seed 0: `{easy}` 70.0, 90.0\n" in text
    assert f"- row 1 (Hard): seed 0: `{hard}` missing\n" in text
    assert text.count(easy) == 1
    assert "- 1 runs (rows 1); to train them" in text


def test_crashes_are_compared_once_for_all_metrics_of_a_run(two_sets):
    _, text = report(two_sets)
    assert "Crash or no crash: as in the paper in 1 of 1 finished cells." in text


def test_note_says_over_how_many_things_a_column_is_the_mean(two_sets):
    _, text = report(two_sets)
    assert "- Easy: over 3,368 queries with a match\n" in text
    assert text.count("queries with a match") == 1


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
    blocks = [{"label": "b", "rows": [{**row, "corrected": {"top1": 71.5}}, row]}]
    write_table(conf / "conf", blocks=blocks)
    finish(plan_of(conf), plan_of(conf).cells[0].run_ids[0], 70.0)
    lines, text = report(conf)
    assert "| 77.5 (corrected from 71.5) | 70.0 | - |" in text
    assert "| 77.5 (misprint) | 70.0 | - |" in text
    assert lines[0]["note"].startswith("corrected from 71.5: no target")
    assert lines[0]["delta"] == ""


def test_publish_copies_tables_and_the_record_of_every_printed_run(conf):
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0])
    (run_directory(plan.results, plan.cells[0].run_ids[0]) / "last.pt").write_text("weights")
    report(conf)
    files = publish(plan.results, "mini")
    names = {str(path.relative_to(plan.results / "published" / "mini")) for path in files}
    run = f"runs/{plan.cells[0].run_ids[0]}"
    expected = {"table8.csv", "table8.md", f"{run}/config.json", f"{run}/result.json"}
    assert names == expected
    assert publish(plan.results, "mini") == files


def test_one_seed_never_replaces_published_three_seed_evidence(conf):
    plan, names = seeds_of(conf, 0)
    for name in names:
        finish(plan, name)
    report(conf, seeds=(0, 1, 2))
    publish(plan.results, "mini")
    report(conf, seeds=(0,))
    with pytest.raises(TableError, match="rests on 3 finished runs"):
        publish(plan.results, "mini")
    assert publish(plan.results, "mini", force=True)


def test_publishing_removes_records_that_no_table_names_and_says_so(conf, caplog):
    plan = plan_of(conf)
    for run_id in plan.runs:
        finish(plan, run_id)
    report(conf)
    published = plan.results / "published"
    kept = [published / "mini" / "runs" / "notes", published / "small" / "runs" / OLD]
    named_by_an_older_table = published / "mini" / "runs" / OLD.replace("0", "1")
    (published / "mini").mkdir(parents=True)
    (published / "mini" / "table9.csv").write_text(f"run_ids\n{named_by_an_older_table.name}\n")
    unnamed = published / "mini" / "runs" / OLD
    for record in (*kept, named_by_an_older_table, unnamed):
        record.mkdir(parents=True)
        (record / "result.json").write_text("{}")
    publish(plan.results, "mini")
    assert not unnamed.exists()
    assert all((r / "result.json").exists() for r in (*kept, named_by_an_older_table))
    assert all((published / "mini" / "runs" / name).is_dir() for name in plan.runs)
    assert [r.getMessage() for r in caplog.records if "removed" in r.getMessage()] == [
        f"{published / 'mini'}: removed 1 record(s) that no table names: {OLD}"
    ]


def test_publishing_nothing_says_what_to_do_first(tmp_path):
    with pytest.raises(TableError, match="make report PROFILE=mini"):
        publish(tmp_path, "mini")


def test_publishing_without_a_finished_run_publishes_and_removes_nothing(conf):
    plan = plan_of(conf)
    published = plan.results / "published" / "mini"
    record = published / "runs" / OLD
    record.mkdir(parents=True)
    (published / "table8.csv").write_text("n_ok,n_crash\n1,0\n")
    report(conf)
    with pytest.raises(TableError, match=r"nothing is published: no run of table8 has finished"):
        publish(plan.results, "mini", force=True)
    assert record.exists()
    assert (published / "table8.csv").read_text() == "n_ok,n_crash\n1,0\n"


def test_a_table_of_any_name_is_published_and_one_without_results_is_not(conf):
    write_table(conf / "conf", "stems_of_mine")
    blocks = [{"label": "b", "rows": [{"run": ["lr.base=1"], "paper": {"top1": 1}}]}]
    write_table(conf / "conf", "empty", blocks=blocks)
    plan = plan_of(conf, "stems_of_mine", "empty")
    finish(plan, plan.cells[0].run_ids[0])
    write_reports(plan_of(conf, "stems_of_mine", "empty"), results=plan.results)
    publish(plan.results, "mini")
    published = plan.results / "published" / "mini"
    assert {path.name for path in published.glob("*.*")} == {
        "stems_of_mine.csv",
        "stems_of_mine.md",
    }


def test_only_the_tables_that_are_asked_for_are_published(conf):
    write_table(conf / "conf", "table9")
    plan = plan_of(conf, "table8", "table9")
    finish(plan, plan.cells[0].run_ids[0])
    write_reports(plan_of(conf, "table8", "table9"), results=plan.results)
    files = publish(plan.results, "mini", tables=("table9",))
    assert {path.stem for path in files if path.suffix in (".csv", ".md")} == {"table9"}
