"""Two processes train what one trains; they crash together; a dead one ends the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.launch import PathsConfig
from scaledrelu.config.run import RunConfig
from scaledrelu.config.shell import planned_run
from scaledrelu.engine.logbook import Logbook
from scaledrelu.engine.saved import read_saved
from scaledrelu.errors import ConfigError
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.lock import is_busy
from scaledrelu.runs.record import read_result
from scaledrelu.runs.spawn import run_job
from scripts import train as script
from tests.helpers.processes import until
from tests.helpers.tiny_runs import assert_same_weights, folder_of

TRAIN = Path(__file__).resolve().parents[2] / "scripts" / "train.py"
# BatchNorm, drop path, mixup, repeated augmentation and SAM, in two groups per update.
SCIENCE = (
    "stem=conv", "optimizer=sam", "model.drop_path=0.2", "augment.mixup=0.8", "augment.cutmix=1.0",
    "augment.repeats=3", "batch.group=32", "data.fraction=0.4", "lr.base=1e-4", "ema={decay: 0.9}",
    "model.depth=2", "launch.device=cpu", "augment.rand_augment=rand-m9-mstd0.5-inc1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The configuration of a finished run of one process."""
    config = compose(["profile=smoke", *SCIENCE, f"paths.results={tmp_path_factory.mktemp('one')}"])
    assert run_job(config).ended == Ended.OK
    return config


def same_training(one: dict, two: dict) -> None:
    assert_same_weights(one, two, atol=2e-3)
    a, b = read_result(folder_of(one)), read_result(folder_of(two))
    assert b.metrics["val/loss"] == pytest.approx(a.metrics["val/loss"], rel=2e-3)


def test_one_process_and_two_ranks_train_the_same_and_have_one_id(one, smoke) -> None:
    two = smoke(*SCIENCE, "launch.nproc=2")
    assert run_id(one) == run_id(two)
    assert run_job(two).ended == Ended.OK
    assert read_result(folder_of(two)).provenance["processes"] == 2
    same_training(one, two)


def test_torchrun_trains_the_same_run_in_one_directory(one, tmp_path) -> None:
    results = tmp_path / "torchrun"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        str(TRAIN), "profile=smoke", *SCIENCE, f"paths.results={results}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    two = replace(one, paths=PathsConfig(results=str(results)))
    assert [p.name for p in (results / "runs").iterdir() if p.name[0] != "."] == [run_id(one)]
    same_training(one, two)


def test_torchrun_hands_a_planned_run_on_behind_two_dashes() -> None:
    from torch.distributed.run import get_args_parser

    words = next(
        line for line in script.__doc__.splitlines() if "--run" in line and "--nproc" in line
    )
    asked = get_args_parser().parse_args(words.partition("(")[0].split()[1:])
    assert asked.training_script == "scripts/train.py"
    assert planned_run(asked.training_script_args).run_id == "deit-0123456789ab"


@pytest.mark.usefixtures("forked_ranks")
def test_a_crash_is_seen_by_every_rank_and_is_one_result(smoke) -> None:
    config = smoke(
        "batch.group=32", "launch.nproc=2", "launch.device=cpu", "lr.base=1e30",
        "optimizer.build.fused=false",
    )  # fmt: skip
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert run_job(config).ended == Ended.CRASH
    assert read_result(folder_of(config)).crash["kind"] == "non_finite"
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert after == handlers, "the next run of a sweep needs its own"


@pytest.mark.skipif(torch.cuda.is_available(), reason="forks, which torch forbids with a GPU")
@pytest.mark.usefixtures("forked_ranks")
def test_a_dead_rank_ends_the_run_with_a_clear_failure_and_no_hang(smoke, monkeypatch) -> None:
    logged = Logbook.train

    def train(logbook: Logbook, t: Any, **what: Any) -> None:
        logged(logbook, t, **what)
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(Logbook, "train", train)
    config = smoke(
        "batch.group=32", "launch.nproc=2", "launch.device=cpu", "model.depth=1",
        "launch.log_every_steps=1", "launch.timeout_s=3600",
    )  # fmt: skip
    report = run_job(config)
    assert report.ended == Ended.FAILED
    assert "of 2 failed" in report.reason
    assert not (folder_of(config) / "result.json").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="forks, which torch forbids with a GPU")
@pytest.mark.usefixtures("forked_ranks")
def test_ranks_save_and_end_when_their_parent_is_killed_and_the_same_command_goes_on(smoke) -> None:
    config = smoke(
        "batch.group=32", "launch.nproc=2", "launch.device=cpu", "model.depth=1",
        "launch.log_every_steps=1", "profile.epoch_scale=0.1",
    )  # fmt: skip
    folder = folder_of(config)
    if (parent := os.fork()) == 0:
        run_job(config)
        os._exit(0)
    until(
        lambda: (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").stat().st_size,
        120,
    )
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    until(lambda: not is_busy(folder), 120)
    saved = read_saved(folder)
    assert 0 < saved.step < saved.total_steps
    assert not (folder / "result.json").exists()
    assert run_job(config).ended == Ended.OK


def ctrl_c(smoke: Callable[..., RunConfig], *, times: int) -> tuple[RunConfig, float]:
    """Start a run of two forked ranks, type Ctrl-C at its first steps; return how long it lived."""
    config = smoke(
        "batch.group=32", "launch.nproc=2", "launch.device=cpu", "model.depth=1",
        "launch.log_every_steps=1", "profile.epoch_scale=3",
    )  # fmt: skip
    rows = folder_of(config) / "metrics.jsonl"
    if (parent := os.fork()) == 0:
        os.setsid()  # a terminal signals a whole group
        os._exit(99 if run_job(config).ended is not Ended.INTERRUPTED else 0)
    until(lambda: rows.exists() and rows.stat().st_size, 120)
    start = time.monotonic()
    for _ in range(times):
        os.killpg(parent, signal.SIGINT)
        time.sleep(0.2)
    _, status = os.waitpid(parent, 0)
    assert status == 0
    assert not is_busy(folder_of(config))
    return config, time.monotonic() - start


@pytest.mark.skipif(torch.cuda.is_available(), reason="forks, which torch forbids with a GPU")
@pytest.mark.usefixtures("forked_ranks")
def test_one_ctrl_c_lets_all_ranks_save_and_leave_at_once(smoke) -> None:
    config, seconds = ctrl_c(smoke, times=1)
    folder = folder_of(config)
    saved = read_saved(folder)
    assert 0 < saved.step < saved.total_steps
    said = ["stopped at step" in (folder / f"rank{rank}.log").read_text() for rank in (0, 1)]
    assert said == [True, False], "one of them says it for all"
    assert seconds < 25, "torch's agent kills after 30 s what it has stopped listening to"


@pytest.mark.skipif(torch.cuda.is_available(), reason="forks, which torch forbids with a GPU")
@pytest.mark.usefixtures("forked_ranks")
def test_a_second_ctrl_c_kills_ranks_that_do_not_leave(smoke, monkeypatch) -> None:
    logged = Logbook.train

    def train(*args: Any, **what: Any) -> None:
        logged(*args, **what)
        time.sleep(600)

    monkeypatch.setattr(Logbook, "train", train)
    _, seconds = ctrl_c(smoke, times=2)
    assert seconds < 25


def test_groups_that_do_not_divide_over_the_ranks_are_refused_before_anything_starts(smoke) -> None:
    with pytest.raises(ConfigError, match="cannot be divided among 2 processes"):
        smoke("launch.nproc=2")
