"""What the log says is what a person counts: epochs from 1, and the step that a loss is of."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from scaledrelu.engine.logbook import Logbook, in_words
from scaledrelu.tasks.base import Progress
from tests.helpers.loop_toys import build, go

TOTAL, PER_EPOCH = 352, 22
SHOWN = {"grad_norm": 1.0, "seconds": 10.0, "scale": None, "scalars": {}}


@pytest.fixture
def logbook(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Logbook:
    caplog.set_level(logging.INFO, logger="scaledrelu")
    return Logbook(tmp_path, name="toy", images_per_step=64)


def after(step: int) -> Progress:
    """Return the progress of the update that makes it this many."""
    return Progress(step - 1, TOTAL, (step - 1) // PER_EPOCH, PER_EPOCH)


def line_of(logbook: Logbook, step: int, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    logbook.evaluation(after(step), {"val/top1": 50.0}, observed={}, seconds=10.0)
    return caplog.messages[0]


def test_the_best_epoch_is_counted_as_the_log_counts_epochs() -> None:
    stored = {"val/top1_best": 95.0, "val/top1_best_epoch": 15, "val/top1": 95.0}
    assert in_words(stored) == "val/top1 95.00 val/top1_best 95.00 val/top1_best_epoch 16"
    assert in_words({"val/knn20_best_epoch": 0.0}) == "val/knn20_best_epoch 1"


def test_loss_and_rate_of_an_earlier_step_are_said_to_be_of_that_step(logbook, caplog) -> None:
    logbook.train(after(100), loss=1.914, lr=0.00655, **SHOWN)
    words = "loss 1.914 lr 0.00655"
    assert f"epoch 5 step 110/352 {words} (step 100) val/top1" in line_of(logbook, 110, caplog)
    assert f"epoch 6 step 132/352 {words} (step 100) val/top1" in line_of(logbook, 132, caplog)
    logbook.train(after(154), loss=1.5, lr=0.006, **SHOWN)
    assert "step 154/352 loss 1.500 lr 0.006 val/top1" in line_of(logbook, 154, caplog)


def test_an_evaluation_before_the_first_record_says_nothing_of_the_loss(logbook, caplog) -> None:
    assert line_of(logbook, 22, caplog).startswith("toy epoch 1 step 22/352 val/top1 50.00 eta ")


def test_the_time_left_counts_no_compilation_in_the_first_steps(logbook, caplog) -> None:
    def left(step: int, seconds: float) -> str:
        caplog.clear()
        logbook.evaluation(after(step), {}, observed={}, seconds=seconds)
        return caplog.messages[0].split(" eta ")[1]

    assert left(22, 22.0) == "5m 30s"
    logbook.train(after(50), loss=2.0, lr=0.1, **{**SHOWN, "seconds": 100.0})
    assert left(88, 138.0) == "6m 54s", "too few steps since the first record"
    assert left(132, 182.0) == "3m 40s"
    assert left(352, 402.0) == "0s"


def test_the_lines_of_a_resumed_run_have_no_empty_field(tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO, logger="scaledrelu")
    pace = replace(build().pace, log_every=5)
    go(replace(build(), pace=pace), tmp_path, stop_after=5)  # the first epoch has 6
    caplog.clear()
    go(replace(build(), pace=pace), tmp_path)
    first, second = [line for line in caplog.messages if line.startswith("toy epoch")]
    assert first.startswith("toy epoch 1 step 6/12 val/top1")
    assert second.startswith("toy epoch 2 step 12/12 loss ")
