"""Figure 1 shows what the runs left, dot by dot, and nothing else."""

from __future__ import annotations

import csv
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scaledrelu.reports.figure1 import picture as figure1_picture
from scaledrelu.reports.figure1.write import write_figure1
from scaledrelu.runs.record import run_directory
from scaledrelu.tables.plan import Plan
from tests.helpers.figure_fakes import (
    LAYERS,
    SEEDS,
    evidence_of,
    figure_plan,
    finish_figure,
    leave_evidence,
    write_figure,
)

KINDS = ("absolute", "signed")
VERDICTS = {"supported", "contradicted", "undecided"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The figure with all its runs."""
    base = tmp_path_factory.mktemp("figure")
    write_figure(base / "conf")
    finish_figure(base)
    return base


@pytest.fixture
def base(finished: Path, tmp_path: Path) -> Path:
    """A copy of its own."""
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Counter]:
    """What each call draws: how often every series of values, by panel; no file is written."""
    calls: list[Counter] = []

    def look_at(picture, _place) -> list[Path]:
        lines = Counter(
            (panel.get_title(), tuple(np.round(line.get_ydata(), 9)))
            for panel in picture.axes
            for line in panel.get_lines()
            if len(line.get_ydata())
        )
        words = [text.get_text() for legend in picture.legends for text in legend.get_texts()]
        calls.append(lines + Counter(words))
        return []

    monkeypatch.setattr(figure1_picture, "save_picture", look_at)
    return calls


def lines_of(plan: Plan) -> list[dict[str, str]]:
    write_figure1(plan)
    with (plan.results / "mini" / "figure1.csv").open() as file:
        return list(csv.DictReader(file))


def text_of(plan: Plan) -> str:
    return (plan.results / "mini" / "figure1.md").read_text()


@pytest.mark.usefixtures("drawn")
def test_every_number_is_that_of_the_evidence(base: Path) -> None:
    plan = figure_plan(base)
    lines = lines_of(plan)
    assert len(lines) == 4 * 2 * len(SEEDS) * LAYERS
    for line in lines:
        array = evidence_of(plan, line["run_id"])[f"similarity.{line['metric']}"]
        assert float(line["value"]) == pytest.approx(array[int(line["layer"]) - 1], abs=1e-6)
        assert line["seed"] == str(plan.runs[line["run_id"]].seed)
    names = [line["name"] for line in lines[:LAYERS]]
    assert names == ["stem", "position embedding", "block 1", "block 2"]
    means = text_of(plan).partition("## Our means, signed")[2].splitlines()[4]
    stems = [evidence_of(plan, name)["similarity.signed"][0] for name in plan.cells[0].run_ids]
    assert f"| stem | {np.mean(stems):.3f} +/-" in means


def test_a_result_that_is_deleted_takes_its_dots_along_and_no_others(base: Path, drawn) -> None:
    plan = figure_plan(base)
    before = lines_of(plan)
    gone = plan.cells[1].run_ids[1]
    values = evidence_of(plan, gone)
    (run_directory(plan.results, gone) / "result.json").unlink()
    plan = figure_plan(base)
    after = lines_of(plan)
    assert [line for line in before if line["run_id"] != gone] == [
        line for line in after if line["run_id"] != gone
    ]
    left = [
        (line["metric"], line["value"], line["note"]) for line in after if line["run_id"] == gone
    ]
    assert left == [("absolute", "", "missing"), ("signed", "", "missing")]
    lost = {what: n for what, n in (drawn[0] - drawn[1]).items() if isinstance(what, tuple)}
    own = {tuple(np.round(values[f"similarity.{kind}"], 9)) for kind in KINDS}
    lost_curves = Counter(y for _, y in lost)
    assert all(lost[what] == 2 for what in lost if what[1] in own), "its line and its dots"
    assert len(lost_curves) == 4, "its two curves and the two means that it was part of"
    assert own <= set(lost_curves)
    assert "b (mean of 3 seeds)" in drawn[0]
    assert "b (mean of 2 seeds, 1 absent)" in drawn[1]
    assert f"b, seed 1, `{gone}`: missing" in text_of(plan)
    assert "1 run; to train: `make figure1 PROFILE=mini SEEDS=0,1,2" in text_of(plan)


def test_a_crashed_run_without_finite_similarity_is_absent_with_a_word(base: Path, drawn) -> None:
    plan = figure_plan(base)
    crashed = plan.cells[3].run_ids[-1]
    leave_evidence(plan, crashed, [0.5, math.nan, 0.5, 0.5], crash="non_finite")
    lines = [line for line in lines_of(figure_plan(base)) if line["run_id"] == crashed]
    assert {(line["value"], line["note"]) for line in lines} == {("", "similarity not finite")}
    assert f"d, seed 2, `{crashed}`: similarity not finite (crash)" in text_of(plan)
    assert "d (mean of 2 seeds, 1 absent)" in drawn[0]


@pytest.mark.usefixtures("drawn")
def test_verdicts_follow_from_the_numbers_as_they_are_printed(base: Path) -> None:
    plan = figure_plan(base)
    for cell, step in zip(plan.cells, (-3e-4, 3e-4, -1e-5, 0.2), strict=True):
        for number, run_id in enumerate(cell.run_ids, start=1):
            # The steps of the third series are -1e-5, 1e-5 and -1e-5: undecided.
            own = -step if step == -1e-5 and number == 2 else step * (1 + number / 10)
            leave_evidence(plan, run_id, [0.5, 0.5 + own, 0.5, 0.5])
    lines_of(figure_plan(base))
    rows = [line.split(" | ") for line in text_of(plan).splitlines() if "+/-" in line]
    found = [row for row in rows if len(row) == 7 and row[2] in VERDICTS]
    assert {row[2] for row in found} == VERDICTS
    for row in found:
        mean, half = map(float, row[3].split(" +/- "))
        read = "undecided" if abs(mean) <= half else "supported" if mean < 0 else "contradicted"
        assert read == row[2], row


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "no evidence.npz"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "evidence.npz damaged"),
        (lambda path: path.write_bytes(b"\x80\x04"), "evidence.npz damaged"),
        (lambda path: np.savez(path, other=1), "similarity.absolute not recorded"),
        (
            lambda path: np.savez(
                path, **{f"similarity.{k}": [1.0] for k in ("absolute", "signed")}
            ),
            "evidence.npz damaged: not 4 layers",
        ),
        (
            lambda path: np.savez(path, **{"similarity.absolute": ["a"], "similarity.signed": [1]}),
            "evidence.npz damaged",
        ),
    ],
)
def test_a_damaged_file_costs_its_own_curve(base: Path, harm, said: str) -> None:
    plan = figure_plan(base)
    name = plan.cells[0].run_ids[0]
    harm(run_directory(plan.results, name) / "evidence.npz")
    lines = lines_of(plan)
    assert {line["note"] for line in lines if line["run_id"] == name} == {said}
    assert sum(bool(line["value"]) for line in lines) == (4 * len(SEEDS) - 1) * 2 * LAYERS
    assert f"a, seed 0, `{name}`: {said} (ok)" in text_of(plan)


def test_a_crashed_run_is_marked_and_counts(base: Path, drawn) -> None:
    plan = figure_plan(base)
    lines_of(plan)
    values = evidence_of(plan, plan.cells[3].run_ids[-1])
    for title, kind in zip(figure1_picture.TITLES.values(), KINDS, strict=True):
        assert drawn[0][title, tuple(np.round(values[f"similarity.{kind}"], 9))] == 3
    assert drawn[0]["a run that crashed"] == 1


def test_what_was_read_off_the_paper_is_drawn_and_listed_as_its_own(tmp_path: Path, drawn) -> None:
    values = [round(0.7 - 0.02 * i, 2) for i in range(14)]
    write_figure(tmp_path / "conf", b=values)
    plan = finish_figure(tmp_path)
    papers = [line for line in lines_of(plan) if line["source"] == "paper"]
    assert [float(line["value"]) for line in papers] == values
    assert {(line["series"], line["seed"], line["run_id"]) for line in papers} == {("b", "", "")}
    assert drawn[0][figure1_picture.TITLES["absolute"], tuple(values)] == 1
    assert drawn[0]["b, the paper"] == 1
    assert "read off its picture: b." in text_of(plan)


def test_without_such_values_the_text_says_so(base: Path, drawn) -> None:
    plan = figure_plan(base)
    assert {line["source"] for line in lines_of(plan)} == {"ours"}
    assert not any("paper" in what for what in drawn[0] if isinstance(what, str))
    text = text_of(plan)
    assert "whose values are not available to us" in text
    for said in ("The class token is left out", "all validation images", "Eq. 6 does not bound"):
        assert said in text
    assert "Its axis goes from 0.2 to 0.7." in text


def test_written_anew_it_changes_no_byte_and_touches_no_file(base: Path) -> None:
    plan = figure_plan(base)
    files = write_figure1(plan)
    assert [path.suffix for path in files] == [".csv", ".md", ".png", ".svg"]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    write_figure1(figure_plan(base))
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files} == before
    assert not [path for path in files[:2] if str(base) in path.read_text().replace("results=", "")]


def test_a_figure_without_a_run_names_the_command(base: Path, drawn) -> None:
    shutil.rmtree(base / "results")
    plan = figure_plan(base)
    assert {line["note"] for line in lines_of(plan)} == {"missing"}
    assert "12 runs; to train: `make figure1" in text_of(plan)
    assert drawn[0]["a (none of 3 runs is here)"] == 1
    assert "not run" in text_of(plan)
