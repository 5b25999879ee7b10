"""The table files against the paper's tables, cell by cell."""

import csv
from pathlib import Path

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import load_table, table_names

HERE = Path(__file__).parent
NUMBERS = sorted(path.stem.removeprefix("table") for path in HERE.glob("table*.csv"))
# label column of a table file -> column of the paper's CSV
PAPER_COLUMN = {"wm-epoch": "warmup_epochs"}
# Table 3 prints the warm-up inside the components column, so its CSV lists it as read from there.
PRINTED_ELSEWHERE = {"3": {"warmup_epochs"}}


def paper_rows(number):
    with (HERE / f"table{number}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def plan(composed_before):
    """Every table at paper scale."""
    composer = Composer(composed_before)
    tables = [load_table(name, CONF_DIR) for name in table_names(CONF_DIR)]
    plan = Planner("paper", results=composed_before, compose=composer).plan(tables, [0])
    composer.save()
    return plan


def table_of(plan, number):
    return next(table for table in plan.tables if table.name == f"table{number}")


def cells_of(plan, number, metric=0):
    """The cells of one printed column, row by row."""
    table = table_of(plan, number)
    column = table.metrics[metric]
    return [c for c in plan.cells_of(table) if c.column is column and not c.row.is_baseline]


@pytest.mark.parametrize("number", NUMBERS)
def test_every_paper_row_has_its_cell_and_its_value(plan, number):
    rows = paper_rows(number)
    for metric, column in enumerate(table_of(plan, number).metrics):
        cells = cells_of(plan, number, metric)
        ours = [(str(cell.row.number), as_text(cell.row.paper[column.name])) for cell in cells]
        assert ours == [(row["row"], row[column.name]) for row in rows]


def test_printed_values_in_doubt_are_no_targets(plan):
    doubted = {row["row"] for row in paper_rows("4") if row["note"].startswith("msmt17_r1")}
    ours = {str(row.number) for row in table_of(plan, 4).rows if row.misprints == ("msmt17_r1",)}
    assert ours == doubted == {"6", "12", "13"}


@pytest.mark.parametrize("number", NUMBERS)
def test_every_label_equals_the_printed_one(plan, number):
    checked = 0
    for cell, row in zip(cells_of(plan, number), paper_rows(number), strict=True):
        derived = set(row["derived"].split(";")) - PRINTED_ELSEWHERE.get(number, set())
        for name, ours in cell.labels.items():
            column = PAPER_COLUMN.get(name, name)
            if column in row and column not in derived:
                assert ours == row[column], f"table {number}, row {row['row']}, {name}"
                checked += 1
    assert checked >= 2 * len(cells_of(plan, number))


def test_base_rows_are_those_that_the_paper_calls_its_baseline(plan):
    for number in ("1", "2", "3", "4", "6", "7"):
        printed = {int(r["row"]) for r in paper_rows(number) if "(baseline)" in r["printed_as"]}
        assert {row.number for row in table_of(plan, number).rows if row.is_reference} == printed


@pytest.mark.parametrize("number", NUMBERS)
def test_the_paper_profile_has_the_papers_data(plan, number):
    assert all(cell.on_papers_data for cell in plan.cells_of(table_of(plan, number)))


def test_every_method_prints_its_last_epoch(plan):
    configs = [cell.composed.config for cell in plan.cells]
    assert {c.evaluation.report for c in configs} == {"last"}
    assert {c.method for c in configs} == {"deit", "volo", "dino", "linear_probe", "reid"}


def test_table5_deltas_are_those_of_its_baselines(plan):
    table = next(table for table in plan.tables if table.name == "table5")
    for row, printed in zip(
        (row for row in table.rows if not row.is_baseline), paper_rows("5"), strict=True
    ):
        if printed["delta_vs_table2"]:
            base = table.baseline_of(row)
            delta = row.paper["top1"] - base.paper["top1"]
            assert f"{delta:+.1f}" == printed["delta_vs_table2"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[((1, a), (2, b)) for a, b in [(1, 10), (2, 9), (8, 1), (12, 11)]],
        *[((3, a), (2, b)) for a, b in [(1, 1), (3, 4), (5, 5), (7, 6)]],
    ],
)
def test_rows_that_the_tables_share_are_one_run(plan, one, other):
    first, second = (runs_of(plan, *place) for place in (one, other))
    assert first == second != ()


def test_supervised_rows_are_34_distinct_runs(plan):
    cells = [cell for n in (1, 2, 3, 5) for cell in cells_of(plan, n) if of_method(cell, "deit")]
    assert len(cells) == 13 + 16 + 8 + 5
    assert len({run_id for cell in cells for run_id in cell.run_ids}) == 42 - 8


def test_volo_rows_are_12_distinct_runs(plan):
    cells = [cell for n in (2, 5) for cell in cells_of(plan, n) if of_method(cell, "volo")]
    assert len(cells) == 7 + 5
    assert len({run_id for cell in cells for run_id in cell.run_ids}) == 12


def test_reid_rows_are_28_distinct_runs_below_the_pre_trainings_of_table_2(plan):
    cells = plan.cells_of(table_of(plan, 4))
    assert len(cells) == 14 * 4
    ids = {run_id for cell in cells for run_id in cell.run_ids}
    assert len(ids) == 28
    assert {run_id.partition("-")[0] for run_id in ids} == {"reid"}
    probes = [cell for cell in cells_of(plan, 2) if of_method(cell, "linear_probe")]
    parents = {plan.runs[cell.run_ids[0]].upstream for cell in probes}
    assert {plan.runs[run_id].upstream for run_id in ids} == parents
    assert len(parents) == 7


def test_table5_baseline_is_table2_row_1(plan):
    table = next(table for table in plan.tables if table.name == "table5")
    assert plan.cells_of(table)[0].run_ids == runs_of(plan, 2, 1)


def test_every_row_runs_at_paper_scale(plan):
    assert [cell for cell in plan.cells if not cell.run_ids] == []


def runs_of(plan, number, row):
    return next(cell.run_ids for cell in cells_of(plan, number) if cell.row.number == row)


def of_method(cell, method):
    return any(run_id.startswith(method) for run_id in cell.run_ids)


def as_text(value):
    return value if isinstance(value, str) else f"{value:.1f}"
