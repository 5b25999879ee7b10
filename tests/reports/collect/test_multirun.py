"""The table that a multirun ends with: its own jobs and no others, and the way back to it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from scaledrelu.config.identity import run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import RunError
from scaledrelu.reports.collect.multirun import multirun_text
from scaledrelu.runs.ending import Ended, JobReport
from scaledrelu.runs.multirun import FOLDER, write_ending
from scripts import collect
from tests.helpers.run_folders import CRASHED, leave, run_of


def end(folder: Path, number: int, config: RunConfig | None, ended: Ended, reason: str = "") -> str:
    name = run_id(config) if config else ""
    asked = (f"seed={config.seed}" if config else "seed=-1", "profile=smoke")
    write_ending(folder, JobReport(name, ended, reason), number=number, overrides=asked)
    return name


@pytest.fixture
def multirun(tmp_path: Path) -> tuple[Path, list[str]]:
    """Four jobs, one of each kind, beside a run of somebody else; the ids of the runs."""
    good, crashed, failed, other = (run_of(seed=seed) for seed in range(4))
    folder, results = tmp_path / "multirun", tmp_path / "results"
    leave(results, good, 81.25, best=90.0)
    leave(results, crashed, 12.0, crash=CRASHED)
    leave(results, other, 99.0, metric="val/map")
    names = [
        end(folder, 0, good, Ended.OK),
        end(folder, 1, crashed, Ended.CRASH),
        end(folder, 2, failed, Ended.FAILED, "out of memory"),
        end(folder, 3, None, Ended.REFUSED, "seed=-1: must lie in [0, 4294967295]"),
    ]
    return folder, [*names, run_id(other)]


def test_the_table_has_the_runs_of_the_multirun_and_no_others(multirun, tmp_path: Path) -> None:
    folder, (good, crashed, failed, _, other) = multirun
    header, *lines, count, _again = multirun_text(folder, tmp_path / "results").splitlines()
    names = "run asked for val/top1 val/top1_best seconds outcome"
    assert header.split() == names.split()
    assert [line.split()[:5] for line in lines] == [
        [good, "seed=0", "81.25", "90.00", "2s"],
        [crashed, "seed=1", "12.00", "12.00", "2s"],
        [failed, "seed=2", "-", "-", "-"],
        ["-", "seed=-1", "-", "-", "-"],
    ]
    assert [line.split("  ")[-1].strip() for line in lines] == [
        "ok",
        "crash: collapsed at step 7",
        "failed: out of memory",
        "refused: seed=-1: must lie in [0, 4294967295]",
    ]
    assert count == "2 of 4 runs failed"
    assert other not in "".join(lines)


def test_jobs_that_are_one_run_are_said_to_be_one(multirun, tmp_path: Path) -> None:
    folder, (good, crashed, *_) = multirun
    assert "the same run" not in multirun_text(folder, tmp_path / "results")
    for number, seed in ((4, 0), (5, 1), (6, 0)):
        end(folder, number, run_of(seed=seed), Ended.OK)
    end(folder, 7, None, Ended.REFUSED, "seed=-1: must lie in [0, 4294967295]")
    *_, said, count, _again = multirun_text(folder, tmp_path / "results").splitlines()
    assert said == f"the same run: {good} (3 jobs), {crashed} (2 jobs)"
    assert count == "3 of 8 runs failed"


def test_the_last_line_is_a_command_that_shows_the_same_table(
    multirun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "results", Path("results")):
        shown = multirun_text(multirun[0], place)
        _, _, command = shown.splitlines()[-1].partition("this table again: python ")
        assert command == "scripts/collect.py --multirun multirun"
        monkeypatch.setattr("sys.argv", shlex.split(command))
        assert collect.main() == 0
        assert capsys.readouterr().out == f"{shown}\n"
    monkeypatch.chdir(multirun[0])
    command = multirun_text(multirun[0], tmp_path / "results").splitlines()[-1]
    assert command.endswith(f"--multirun . --results {tmp_path / 'results'}")


@pytest.mark.parametrize("has_results", [False, True])
def test_jobs_that_were_all_refused_are_shown_again_without_any_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    has_results: bool,
) -> None:
    end(tmp_path / "multirun", 0, None, Ended.REFUSED, "seed=-1: must lie in [0, 4294967295]")
    if has_results:
        (tmp_path / "results" / "runs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["collect.py", "--multirun", "multirun"])
    assert collect.main() == 0
    assert capsys.readouterr().out == f"{multirun_text(Path('multirun'), 'results')}\n"


def test_results_that_were_moved_as_a_whole_are_found_by_the_folder_of_the_multirun(
    multirun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    (tmp_path / "results").rename(moved)
    place = moved / "runs" / ".hydra" / "2026-01-31_12-00-00-000000"
    place.parent.mkdir()
    multirun[0].rename(place)
    (tmp_path / "results" / "runs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    typed = ["--multirun", str(place)]
    assert collect.collect(collect.parse([*typed, "--keys", "seed"]), print) == 0
    assert capsys.readouterr().out.endswith("2 runs: 1 ok, 1 crash\n")
    assert collect.collect(collect.parse(typed), print) == 0
    shown = capsys.readouterr().out
    assert "81.25" in shown
    assert shown.endswith(f"collect.py --multirun {place.relative_to(tmp_path)}\n")
    again = multirun_text(place, "results").splitlines()[-1]
    assert again.endswith(f"{place.relative_to(tmp_path)} --results results")


def test_runs_of_a_multirun_that_lie_elsewhere_are_asked_for_in_one_line(
    multirun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").rename(tmp_path / "moved")
    (tmp_path / "results" / "runs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert collect.collect(collect.parse(["--multirun", "multirun", "--keys", "seed"]), print) == 1
    line = "results: has none of the runs of multirun; give --results <their folder>\n"
    assert capsys.readouterr().out == line


def test_its_runs_can_be_grouped_and_filtered_like_any_others(
    multirun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, (good, crashed, *_) = multirun
    place = ["--multirun", str(folder), "--results", str(tmp_path / "results")]
    assert collect.collect(collect.parse([*place, "--keys", "seed"]), print) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == [good, crashed]
    assert lines[3] == "2 runs: 1 ok, 1 crash"


def test_a_run_that_was_trained_later_counts_with_its_result(multirun, tmp_path: Path) -> None:
    folder, (_, _, failed, *_) = multirun
    leave(tmp_path / "results", run_of(seed=2), 77.0)
    (line,) = [
        line
        for line in multirun_text(folder, tmp_path / "results").splitlines()
        if line.startswith(failed)
    ]
    assert line.split()[2:] == ["77.00", "77.00", "2s", "ok"]


def test_a_damaged_result_is_said_in_its_line(multirun, tmp_path: Path) -> None:
    folder, (good, *_) = multirun
    (tmp_path / "results" / "runs" / good / "result.json").write_text("{")
    line = multirun_text(folder, tmp_path / "results").splitlines()[1]
    assert "damaged: result.json: damaged" in line


def test_a_damaged_ending_is_one_line(multirun, tmp_path: Path) -> None:
    (multirun[0] / FOLDER / "0.json").write_text("{")
    with pytest.raises(RunError, match=r"0\.json: damaged"):
        multirun_text(multirun[0], tmp_path / "results")
