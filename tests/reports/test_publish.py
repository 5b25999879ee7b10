"""What is published beside the tables: claims, Figure 1, curves, stability maps."""

from __future__ import annotations

import pytest

from scaledrelu.errors import TableError
from scaledrelu.reports.publish import publish
from scaledrelu.reports.report import write_reports
from tests.helpers.table_fakes import finish, plan_of, write_table


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
    leave(plan, "figure1.csv", ["deit-000000000000"])
    leave(plan, "figure1.svg")
    leave(plan, "stability/vit.csv", [plan.cells[0].run_ids[0]])
    leave(plan, "stability/conv.csv", ["deit-000000000000"])
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
