"""Curves show what a run wrote, mark its crash, and name a run that cannot be read."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scaledrelu.reports import curves_picture
from scaledrelu.reports.curves import read_rows, write_curves
from scaledrelu.reports.drawing import look
from scaledrelu.reports.histories import LOSS, read_history
from scaledrelu.runs.record import run_directory
from scaledrelu.tables.plan import Plan
from tests.helpers.table_fakes import finish, plan_of, write_table

PER_EPOCH, EPOCHS = 10, 300


def leave(plan: Plan, run_id: str, rows: list[dict], *, steps: int = PER_EPOCH * EPOCHS, **more):
    """Leave the result and the metrics of a run; crashes are at ``at`` in ``more``."""
    folder = finish(plan, run_id, steps=steps, **more)
    lines = [json.dumps(row) for row in rows]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


def rows_of(run: int, *, until: int = 4) -> list[dict]:
    """Two training records and one evaluation an epoch; values of this run alone."""
    rows = []
    for epoch in range(until):
        for step in (epoch * PER_EPOCH + 5, (epoch + 1) * PER_EPOCH):
            rows.append({"epoch": epoch, "step": step, LOSS: 3 - 0.01 * step - 0.001 * run})
        rows.append({"epoch": epoch, "step": step, "val/top1": 10.0 * epoch + run})
    return rows


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    write_table(tmp_path / "conf")
    plan = plan_of(tmp_path, seeds=(0, 1))
    for number, name in enumerate(plan.runs):
        leave(plan, name, rows_of(number))
    return plan_of(tmp_path, seeds=(0, 1))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Counter]:
    """What each call draws: the lines of all panels, and the legends; no file is written."""
    calls: list[Counter] = []

    def look_at(picture, _place) -> list[Path]:
        found: Counter = Counter()
        for panel in picture.axes:
            for line in panel.get_lines():
                if len(line.get_xdata()):
                    x, y = np.round(line.get_xdata(), 6), np.round(line.get_ydata(), 6)
                    found[tuple(x), tuple(y), line.get_marker()] += 1
            if panel.get_legend():
                found.update(text.get_text() for text in panel.get_legend().get_texts())
        calls.append(found)
        return []

    monkeypatch.setattr(curves_picture, "save_picture", look_at)
    return calls


def is_line(found: object) -> bool:
    return isinstance(found, tuple)


def again(plan: Plan) -> Plan:
    return plan_of(plan.results.parent, seeds=(0, 1))


def csv_of(plan: Plan) -> list[dict[str, str]]:
    write_curves(plan, plan.tables[0])
    with (plan.results / "mini" / "curves" / "table8.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("drawn")
def test_the_csv_has_what_the_runs_wrote(plan: Plan) -> None:
    lines = csv_of(plan)
    for number, name in enumerate(plan.runs):
        own = [line for line in lines if line["run_id"] == name]
        top1 = {float(x["epoch"]): float(x["value"]) for x in own if x["curve"] == "val/top1"}
        assert top1 == {epoch + 1.0: 10.0 * epoch + number for epoch in range(4)}
        loss = {float(x["epoch"]): float(x["value"]) for x in own if x["curve"] == LOSS}
        written = rows_of(number)
        for epoch in range(4):
            behind = [r[LOSS] for r in written if r["epoch"] == epoch and LOSS in r]
            assert loss[epoch + 1.0] == pytest.approx(np.mean(behind), rel=1e-5)


def test_a_point_is_the_mean_over_the_updates_behind_it(plan: Plan) -> None:
    name = next(iter(plan.runs))
    rows = [
        {"epoch": 0, "step": 4, LOSS: 4.0},
        {"epoch": 0, "step": 10, LOSS: 2.0},
        {"epoch": 1, "step": 14, LOSS: "nan"},
        {"epoch": 2, "step": 25, LOSS: 1.0},
    ]
    leave(plan, name, rows)
    history = read_history(plan, plan.runs[name], "val/top1")
    assert [(p.epochs, p.value) for p in history.loss] == [
        (1.0, pytest.approx((4 * 4.0 + 6 * 2.0) / 10)),
        (2.5, 1.0),
    ]


def test_a_crash_is_marked_where_it_happened(plan: Plan, drawn) -> None:
    name = list(plan.runs)[2]
    folder = leave(plan, name, rows_of(2, until=2), crash="non_finite")
    result = json.loads((folder / "result.json").read_text())
    result["crash"] |= {"step": 24, "epoch": 2}
    (folder / "result.json").write_text(json.dumps(result))
    lines = [line for line in csv_of(again(plan)) if line["run_id"] == name and not line["value"]]
    assert [(line["epoch"], line["note"]) for line in lines] == [("2.5000", "crash: non_finite")]
    last = rows_of(2, until=2)
    assert drawn[0][(2.5,), (last[-1]["val/top1"],), "x"] == 1
    assert "2: ViT_c\n    1 of 2 crashed" in drawn[0]
    assert drawn[0]["crashed here"] == 1


def leave_collapsed(plan: Plan, dead_from: int | None) -> str:
    """Leave a run of 4 epochs that collapsed at its end; the judge looked from step 20 on."""
    name = list(plan.runs)[2]
    folder = leave(plan, name, rows_of(2), steps=PER_EPOCH * EPOCHS, crash="collapsed")
    result = json.loads((folder / "result.json").read_text())
    result["crash"] |= {"step": 39, "epoch": 3}
    result["judgement"] |= {"judge_step": 25, "window_steps": 5}
    if dead_from is not None:
        stretches = [(5, 9, True), (dead_from, 39, False)]
        keys = ("first_step", "last_step", "left")
        result["judgement"]["dead_stretches"] = [dict(zip(keys, x, strict=True)) for x in stretches]
    (folder / "result.json").write_text(json.dumps(result))
    return name


@pytest.mark.parametrize(
    ("dead_from", "epochs", "top1", "doubt"),
    [
        (25, 2.5, 17.0, ""),
        (20, 2.0, 12.0, "dead already when first judged"),
        (None, 4.0, 32.0, "at the end: when is not recorded"),
    ],
)
def test_a_collapse_is_marked_where_the_dead_stretch_begins_that_it_ended_in(
    plan: Plan, drawn, dead_from: int | None, epochs: float, top1: float, doubt: str
) -> None:
    name = leave_collapsed(plan, dead_from)
    lines = [line for line in csv_of(again(plan)) if line["run_id"] == name and not line["value"]]
    note = f"crash: collapsed, {doubt}" if doubt else "crash: collapsed"
    assert [(float(line["epoch"]), line["note"]) for line in lines] == [(epochs, note)]
    assert drawn[0][(epochs,), (top1,), "x"] == 1
    assert drawn[0][f"crashed here,\n    or {doubt}" if doubt else "crashed here"] == 1


def test_a_collapse_before_the_first_point_is_marked_beside_it(plan: Plan, drawn) -> None:
    leave_collapsed(plan, 5)
    csv_of(again(plan))
    assert drawn[0][(0.5,), (2.0,), "x"] == 1
    assert drawn[0][(0.5, 1.0), (2.0, 2.0), "None"] == 1


def seeds_and_means(plan: Plan, drawn_lines: list) -> tuple[list, list]:
    """Draw table8; return the lines of validation of its first row: seeds, and means."""
    write_curves(plan, plan.tables[0])
    colour = look(0).colour
    found = [line for line in drawn_lines if line.get_color() == colour]
    found = [line for line in found if len(line.get_xdata()) > 1]
    return [x for x in found if x.get_linewidth() < 2], [x for x in found if x.get_linewidth() > 2]


@pytest.fixture
def of_validation(monkeypatch: pytest.MonkeyPatch) -> list:
    """The lines of the right panel."""
    lines: list = []

    def look_at(picture, _place) -> list[Path]:
        lines.extend(picture.axes[1].get_lines())
        return []

    monkeypatch.setattr(curves_picture, "save_picture", look_at)
    return lines


@pytest.mark.parametrize(("count", "means"), [(5, 0), (6, 1)])
def test_many_seeds_are_faint_lines_under_a_bold_mean(
    tmp_path: Path, of_validation: list, count: int, means: int
) -> None:
    write_table(tmp_path / "conf")
    plan = plan_of(tmp_path, seeds=range(count))
    for number, name in enumerate(plan.runs):
        leave(plan, name, rows_of(number, until=2 if number == 1 else 4))
    seeds, bold = seeds_and_means(plan_of(tmp_path, seeds=range(count)), of_validation)
    values = [tuple(line.get_ydata()) for line in seeds]
    expected = [tuple(10.0 * e + n for e in range(2 if n == 1 else 4)) for n in range(count)]
    assert values == expected, "every seed is there"
    assert {line.get_alpha() for line in seeds} == {0.5 if means else 0.8}
    assert len(bold) == means
    for line in bold:
        assert list(line.get_xdata()) == [1.0, 2.0], "no mean over those that went on alone"
        assert list(line.get_ydata()) == [2.5, 12.5]
        assert line.get_zorder() > max(seed.get_zorder() for seed in seeds)


def test_a_crash_before_anything_was_recorded_is_an_open_mark_below_the_axis(
    plan: Plan, drawn
) -> None:
    name = list(plan.runs)[2]
    folder = leave(plan, name, [], crash="non_finite")
    result = json.loads((folder / "result.json").read_text())
    result["crash"]["step"] = 4
    (folder / "result.json").write_text(json.dumps(result))
    csv_of(again(plan))
    assert drawn[0][(0.5,), (0,), look(1).marker] == 2, "below the axes of both panels"
    assert drawn[0]["crashed without a value"] == 1
    assert not any("x" in mark for _, _, *mark in filter(is_line, drawn[0])), "no cross"
    assert "crashed here" not in drawn[0]


def test_a_result_that_is_deleted_takes_its_lines_along_and_no_others(plan: Plan, drawn) -> None:
    before = csv_of(plan)
    gone = list(plan.runs)[1]
    (run_directory(plan.results, gone) / "result.json").unlink()
    after = csv_of(again(plan))
    assert [x for x in before if x["run_id"] != gone] == [x for x in after if x["run_id"] != gone]
    assert [(x["value"], x["note"]) for x in after if x["run_id"] == gone] == [("", "missing")]
    lost = {what for what in drawn[0] - drawn[1] if isinstance(what, tuple)}
    top1 = tuple(10.0 * epoch + 1 for epoch in range(4))
    assert {y for _, y, marker in lost if y in (top1, top1[-1:])} == {top1, top1[-1:]}
    assert len(lost) == 4, "its two lines and the dots at their ends"
    assert "1: ViT_p\n    1 of 2 missing" in drawn[1]


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "no metrics.jsonl"),
        (lambda path: path.write_text(""), "metrics.jsonl damaged (no rows)"),
        (lambda path: path.write_text('{"epoch": 0, "step": 5}\n{"epo'), "damaged in line 2"),
        (lambda path: path.write_text('{"epoch": 0}\n'), "damaged in line 1 (no 'step')"),
        (lambda path: path.write_text("[1]\n"), "damaged in line 1"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "metrics.jsonl cannot be read"),
        (
            lambda path: path.write_text('{"epoch": 0, "step": 5, "train/loss": [1]}\n'),
            "damaged (train/loss is not a number)",
        ),
    ],
)
def test_a_damaged_file_is_named_and_costs_its_own_curves(plan: Plan, harm, said: str) -> None:
    name = list(plan.runs)[3]
    harm(run_directory(plan.results, name) / "metrics.jsonl")
    written = write_curves(plan, plan.tables[0])
    (line,) = written.lines
    assert line.startswith(f"table8, row 2, seed 1, {name}: ")
    assert said in line
    assert str(plan.results) not in line
    rows = read_rows(plan, plan.tables[0])
    assert sum(bool(history.loss) for row in rows for history in row.histories) == 3


@pytest.mark.usefixtures("drawn")
def test_a_run_that_crashed_before_its_first_record_has_no_rows_and_no_damage(plan: Plan) -> None:
    name = list(plan.runs)[3]
    leave(plan, name, [], outcome="crash", crash={"kind": "non_finite", "step": 2})
    plan = again(plan)
    assert read_history(plan, plan.runs[name], "val/top1").absent == ""


def test_runs_that_are_missing_are_one_line_with_the_command(tmp_path: Path) -> None:
    write_table(tmp_path / "conf")
    plan = plan_of(tmp_path, seeds=(0, 1))
    written = write_curves(plan, plan.tables[0])
    assert written.files == ()
    assert written.lines[0].startswith("table8: 4 runs have not finished; to train what is missing")
    assert "make table8 PROFILE=mini SEEDS=0,1" in written.lines[0]


def test_written_anew_they_change_no_byte_and_touch_no_file(plan: Plan) -> None:
    first = write_curves(plan, plan.tables[0]).files
    assert [path.name for path in first] == ["table8.csv", "table8.png", "table8.svg"]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first}
    write_curves(again(plan), plan.tables[0])
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first} == before


def test_many_rows_are_several_panels_of_nearly_the_same_size() -> None:
    for count in range(1, 40):
        sizes = [len(panel) for panel in curves_picture._panels(list(range(count)))]
        assert sum(sizes) == count
        assert max(sizes) <= curves_picture.MOST_ROWS
        assert len(sizes) == math.ceil(count / curves_picture.MOST_ROWS)
