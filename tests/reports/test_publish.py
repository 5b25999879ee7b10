"""What is published: tables, their records, and claims, Figure 1, curves and stability maps."""

from __future__ import annotations

import pytest

from scaledrelu.errors import TableError
from scaledrelu.reports.publish import publish
from scaledrelu.reports.report import write_reports
from scaledrelu.runs.record import run_directory
from tests.helpers.table_fakes import finish, plan_of, write_table

OLD = "deit-000000000000"


@pytest.fixture
def conf(tmp_path):
    """A folder with one table of two rows."""
    write_table(tmp_path / "conf")
    return tmp_path


@pytest.fixture
def plan(tmp_path):
    """Two finished tables; the runs of the second are not in the first."""
    write_table(tmp_path / "conf")
    other = [{"run": ["stem=conv", "lr.base=1"], "paper": {"top1": 1.0}}]
    write_table(tmp_path / "conf", "table9", blocks=[{"label": "b", "rows": other}])
    first = plan_of(tmp_path, "table8", "table9", seeds=(0, 1))
    for run_id in first.runs:
        finish(first, run_id, 70.0)
    write_reports(plan_of(tmp_path, "table8", seeds=(0, 1)))
    return first


def leave(plan, name, runs=(), text=""):
    path = plan.results / "mini" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["run_ids", " ".join(runs), text]))
    return path


def published(plan):
    folder = plan.results / "published" / "mini"
    files = (path.relative_to(folder) for path in folder.rglob("*.*") if path.is_file())
    return {str(path) for path in files if path.parts[0] != "runs"}


def records(plan):
    return {p.parent.name for p in (plan.results / "published").rglob("result.json")}


BESIDE = ("claims.csv", "claims.md", "figure1.csv", "figure1.md", "figure1.svg", "figure1.png")
CURVES = ("curves/table8.csv", "curves/table8.svg", "curves/milestones.csv", "curves/milestones.md")
MAPS = ("stability/vit.csv", "stability/vit.md", "stability/vit.png", "stability/vit_edges.csv")


def test_everything_beside_the_tables_goes_with_the_records_behind_it(plan):
    run, elsewhere = plan.cells[0].run_ids[0], plan.cells[2].run_ids[0]
    for name in (*BESIDE, *CURVES):
        leave(plan, name, [run])
    leave(plan, MAPS[0], [elsewhere])  # a run of no published table
    for name in MAPS[1:]:
        leave(plan, name)
    publish(plan.results, "mini")
    assert published(plan) == {"table8.csv", "table8.md", *BESIDE, *CURVES, *MAPS}
    assert records(plan) == {*plan.cells[0].run_ids, *plan.cells[1].run_ids, elsewhere}
    publish(plan.results, "mini")
    assert elsewhere in records(plan)  # named by a map, so not removed


def test_of_curves_the_svg_is_enough_and_only_those_of_the_tables_asked_for(plan):
    run = plan.cells[0].run_ids[0]
    for name in ("table8.svg", "table8.png", "table8.csv", "table9.svg", "milestones.md"):
        leave(plan, f"curves/{name}", [run])
    publish(plan.results, "mini", tables=("table8",))
    found = {name for name in published(plan) if name.startswith("curves/")}
    assert found == {"curves/table8.svg", "curves/table8.csv", "curves/milestones.md"}


def test_what_no_finished_run_is_behind_is_left_out_and_named(plan, caplog):
    leave(plan, "figure1.csv", [OLD])
    leave(plan, "figure1.svg")
    leave(plan, "stability/vit.csv", [plan.cells[0].run_ids[0]])
    leave(plan, "stability/conv.csv", [OLD])
    publish(plan.results, "mini", force=True)
    assert published(plan) == {"table8.csv", "table8.md", "stability/vit.csv"}
    assert "figure1.csv: not published, no run behind it has finished" in caplog.text


@pytest.mark.parametrize(
    "name", ["claims.csv", "figure1.csv", "curves/table8.csv", "stability/v.csv"]
)
def test_what_rests_on_fewer_runs_replaces_nothing(plan, name):
    both = plan.cells[0].run_ids
    leave(plan, name, both)
    publish(plan.results, "mini")
    leave(plan, name, both[:1])
    with pytest.raises(TableError, match=r"rests on 2 finished runs, .* only on 1; report with"):
        publish(plan.results, "mini")
    assert both[1] in (plan.results / "published" / "mini" / name).read_text()
    publish(plan.results, "mini", force=True)
    assert both[1] not in (plan.results / "published" / "mini" / name).read_text()


def test_what_is_no_report_stays_where_it_is(plan):
    leave(plan, "notes.txt")
    leave(plan, "curves/notes.txt")
    leave(plan, "stability/.vit.svg.tmp")
    publish(plan.results, "mini")
    assert published(plan) == {"table8.csv", "table8.md"}


def test_publish_copies_tables_and_the_record_of_every_printed_run(conf):
    plan = plan_of(conf)
    finish(plan, plan.cells[0].run_ids[0])
    (run_directory(plan.results, plan.cells[0].run_ids[0]) / "last.pt").write_text("weights")
    write_reports(plan_of(conf))
    files = publish(plan.results, "mini")
    names = {str(path.relative_to(plan.results / "published" / "mini")) for path in files}
    run = f"runs/{plan.cells[0].run_ids[0]}"
    expected = {"table8.csv", "table8.md", f"{run}/config.json", f"{run}/result.json"}
    assert names == expected
    assert publish(plan.results, "mini") == files


def test_one_seed_never_replaces_published_three_seed_evidence(conf):
    plan = plan_of(conf, seeds=(0, 1, 2))
    for name in plan.cells[0].run_ids:
        finish(plan, name)
    write_reports(plan_of(conf, seeds=(0, 1, 2)))
    publish(plan.results, "mini")
    write_reports(plan_of(conf, seeds=(0,)))
    with pytest.raises(TableError, match="rests on 3 finished runs"):
        publish(plan.results, "mini")
    assert publish(plan.results, "mini", force=True)


def test_publishing_removes_records_that_no_table_names_and_says_so(conf, caplog):
    plan = plan_of(conf)
    for run_id in plan.runs:
        finish(plan, run_id)
    write_reports(plan_of(conf))
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
        f"{published / 'mini'}: removed 1 record(s) that no report names: {OLD}"
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
    write_reports(plan_of(conf))
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
    write_reports(plan_of(conf, "stems_of_mine", "empty"))
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
    write_reports(plan_of(conf, "table8", "table9"))
    files = publish(plan.results, "mini", tables=("table9",))
    assert {path.stem for path in files if path.suffix in (".csv", ".md")} == {"table9"}
