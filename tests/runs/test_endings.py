"""What the shell is told of many endings, and of a results folder that cannot be written."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest

from scaledrelu.files import cannot_use
from scaledrelu.runs.ending import (
    EXIT_BUSY,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_WRONG_INPUT,
    Ended,
    exit_status,
)
from scaledrelu.runs.spawn import run_job
from tests.helpers.permissions import closed


def test_the_exit_status_says_the_worst_of_all_endings() -> None:
    for size in (1, 2, 3):
        for endings in itertools.product(Ended, repeat=size):
            status = exit_status(endings)
            if set(endings) == {Ended.REFUSED}:
                assert status == EXIT_WRONG_INPUT
            elif Ended.FAILED in endings or Ended.REFUSED in endings:
                assert status == EXIT_FAILED
            elif Ended.INTERRUPTED in endings:
                assert status == EXIT_INTERRUPTED
            elif Ended.BUSY in endings:
                assert status == EXIT_BUSY
            else:
                assert status == 0


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        (errno.EACCES, "results/runs/deit-1/result.json", True),
        (errno.EROFS, "results", True),
        (errno.EACCES, "", True),  # the folder that should hold the results
        (errno.ENOSPC, None, True),
        (errno.EIO, None, False),
        (errno.EACCES, "data/train", False),
    ],
)
def test_only_trouble_with_the_results_folder_is_told_as_such(
    tmp_path: Path, code: int, name: str | None, said: bool
) -> None:
    path = None if name is None else str(tmp_path / name)
    line = cannot_use(OSError(code, "not today", path), tmp_path / "results")
    assert (line is not None) == said
    assert not said or ("not today" in line and "paths.results=" in line)


def test_a_run_without_a_place_for_its_results_is_refused_in_one_line(
    smoke, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    report = run_job(smoke(f"paths.results={tmp_path / 'file'}"))
    assert report.ended == Ended.REFUSED
    assert report.reason.startswith(f"cannot write {tmp_path / 'file'}")
    assert "make room" not in report.reason
    assert "choose another results folder (paths.results=" in report.reason


def test_a_run_whose_folder_may_not_be_read_fails_in_one_line(smoke, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with closed(tmp_path / "runs"):
        report = run_job(smoke(f"paths.results={tmp_path}"))
    assert report.ended == Ended.FAILED
    said = f"{tmp_path / 'runs'}: cannot be read (Permission denied); give read permission"
    assert report.reason == said


@pytest.mark.parametrize(
    ("code", "ended"), [(errno.EACCES, Ended.REFUSED), (errno.ENOSPC, Ended.FAILED)]
)
def test_a_folder_that_may_not_be_written_is_wrong_input_and_a_full_one_is_not(
    smoke, monkeypatch: pytest.MonkeyPatch, code: int, ended: Ended
) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(code, "not today", str(folder))

    monkeypatch.setattr("scaledrelu.runs.spawn.make_writable", refuse)
    report = run_job(smoke())
    assert (report.ended, "not today" in report.reason) == (ended, True)
