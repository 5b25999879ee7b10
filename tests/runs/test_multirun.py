"""What a multirun leaves: a folder of its own, and a number for a sweeper that searches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from scaledrelu.runs.ending import Ended, JobReport
from scaledrelu.runs.multirun import (
    RECORD,
    MultirunFolder,
    how_to_continue,
    score_of,
    take_folder,
)
from scaledrelu.runs.result import Outcome, Result
from tests.helpers.run_folders import leave, run_of

COLLAPSED = {"kind": "collapsed", "step": 9}
NOT_FINITE = {"kind": "non_finite", "step": 9}


def test_multiruns_that_ask_for_one_folder_at_once_get_one_each(tmp_path: Path) -> None:
    asked = tmp_path / "runs" / "2026-01-31"
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take_folder, [asked] * 24))
    names = [asked.name, *(f"{asked.name}-{number}" for number in range(2, 25))]
    assert sorted(taken) == sorted(asked.with_name(name) for name in names)


def test_a_folder_with_the_record_of_another_multirun_is_left_alone(tmp_path: Path) -> None:
    asked = tmp_path / "mine"
    asked.mkdir()
    (asked / "notes.txt").touch()
    assert take_folder(asked) == asked, "a folder that a person made"
    other = tmp_path / "old"
    other.mkdir()
    (other / RECORD).touch()
    assert take_folder(other) == tmp_path / "old-2"


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            take_folder(place)


@pytest.mark.parametrize(
    ("value", "crash", "report", "score"),
    [
        (81.5, None, "last", 81.5),
        (81.5, None, "best", 90.0),
        (11.0, COLLAPSED, "last", 11.0),
        (11.0, COLLAPSED, "best", 11.0),
        (None, COLLAPSED, "last", 0.0),
        (60.0, NOT_FINITE, "last", 0.0),
        (None, NOT_FINITE, "last", 0.0),
        (float("nan"), None, "last", None),
        (None, None, "last", None),
    ],
)
def test_a_run_is_worth_its_headline_metric_and_a_crash_what_is_left(
    tmp_path: Path, value: float | None, crash: dict | None, report: str, score: float | None
) -> None:
    config = run_of(evaluation__report=report, paths__results=str(tmp_path))
    name = leave(tmp_path, config, value, best=90.0, crash=crash).name
    ended = Ended.CRASH if crash else Ended.OK
    assert score_of(config, JobReport(name, ended)) == score


@pytest.mark.parametrize("ended", [Ended.FAILED, Ended.REFUSED, Ended.INTERRUPTED, Ended.BUSY])
def test_a_job_without_a_result_has_no_number(tmp_path: Path, ended: Ended) -> None:
    config = run_of(paths__results=str(tmp_path))
    name = leave(tmp_path, config, 80.0).name  # of an earlier attempt, say
    assert score_of(config, JobReport(name, ended)) is None
    assert score_of(config, JobReport("deit-000000000000", Ended.OK)) is None


def test_the_headline_is_the_metric_whose_best_value_is_kept() -> None:
    metrics = {"val/knn10": 1.0, "val/knn20": 2.0, "val/knn20_best": 3.0, "val/loss": 1.0}
    result = Result("dino-0", Outcome.OK, metrics | {"val/knn20_best_epoch": 1.0})
    assert (result.headline, result.score(), result.score(best=True)) == ("val/knn20", 2.0, 3.0)


@pytest.mark.parametrize(
    ("sampler", "goes_on"),
    [("{seed: 3}", True), ("{seed: null}", False), ("{search_space: 1}", True), ("null", True)],
)
def test_only_a_search_with_a_seed_is_continued_by_the_same_command(
    tmp_path: Path, sampler: str, goes_on: bool
) -> None:
    (tmp_path / RECORD).write_text(f"hydra: {{sweeper: {{sampler: {sampler}}}}}\n")
    said = how_to_continue(tmp_path)
    assert ("draws other trials" in said) == (not goes_on)
    assert how_to_continue(None) == how_to_continue(tmp_path / "none")


def test_every_multirun_leaves_the_settings_it_was_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MultirunFolder, "path", None)
    monkeypatch.setattr(MultirunFolder, "results", "results")
    (tmp_path / RECORD).touch()  # of another one
    config = OmegaConf.create(
        {
            "seed": 3,
            "paths": {"results": "results"},
            "hydra": {"sweep": {"dir": str(tmp_path)}, "overrides": {"hydra": []}},
        }
    )
    MultirunFolder().on_multirun_start(config)
    assert MultirunFolder.path == tmp_path.with_name(f"{tmp_path.name}-2")
    assert OmegaConf.load(MultirunFolder.path / RECORD) == config
