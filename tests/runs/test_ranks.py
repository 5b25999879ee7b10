"""Two processes train what one trains; they crash together; a dead one ends the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from scaledrelu.config.identity import run_id
from scaledrelu.errors import ConfigError
from scaledrelu.runs.record import read_result
from scaledrelu.runs.spawn import Ended, run_job

from .conftest import folder_of, weights_of

TRAIN = Path(__file__).resolve().parents[2] / "scripts" / "train.py"
# BatchNorm, drop path, mixup, repeated augmentation and SAM, in two groups per update.
SCIENCE = (
    "stem=conv", "optimizer=sam", "model.drop_path=0.2", "augment.mixup=0.8", "augment.cutmix=1.0",
    "augment.repeats=3", "batch.group=32", "data.fraction=0.4", "lr.base=1e-4", "ema={decay: 0.9}",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def same_training(one: dict, two: dict) -> None:
    first, second = weights_of(one), weights_of(two)
    for name, value in first.items():
        scale = max(1e-3, np.abs(value).max())
        np.testing.assert_allclose(second[name], value, atol=2e-3 * scale, err_msg=name)
    a, b = read_result(folder_of(one)), read_result(folder_of(two))
    assert b.metrics["val/loss"] == pytest.approx(a.metrics["val/loss"], rel=2e-3)


def test_one_process_and_two_ranks_train_the_same_and_have_one_id(smoke, tmp_path) -> None:
    one = smoke(*SCIENCE, "launch.device=cpu")
    two = smoke(
        *SCIENCE, "launch.device=cpu", "launch.nproc=2", f"paths.results={tmp_path / 'two'}"
    )
    assert run_id(one) == run_id(two)
    assert run_job(one).ended == Ended.OK
    assert run_job(two).ended == Ended.OK
    assert read_result(folder_of(two)).provenance["processes"] == 2
    same_training(one, two)


def test_torchrun_trains_the_same_run_in_one_directory(smoke, tmp_path) -> None:
    one = smoke(*SCIENCE, "launch.device=cpu")
    assert run_job(one).ended == Ended.OK
    results = tmp_path / "torchrun"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        str(TRAIN), "profile=smoke", *SCIENCE, "launch.device=cpu", f"paths.results={results}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    two = {**one, "paths": {"results": str(results)}}
    assert [p.name for p in (results / "runs").iterdir() if p.name[0] != "."] == [run_id(one)]
    same_training(one, two)


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


def test_a_dead_rank_ends_the_run_with_a_clear_failure_and_no_hang(smoke) -> None:
    config = smoke(
        "batch.group=32", "launch.nproc=2", "launch.device=cpu", "profile.epoch_scale=3",
        "launch.timeout_s=60",
    )  # fmt: skip
    killed: list[int] = []

    def kill_one() -> None:
        log = folder_of(config) / "metrics.jsonl"
        while not (log.exists() and log.stat().st_size):
            time.sleep(0.1)
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        for child in reversed(children):
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"spawn_main" in command:
                os.kill(int(child), signal.SIGKILL)
                killed.append(int(child))
                return

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    started = time.monotonic()
    report = run_job(config)
    killer.join(timeout=5)
    assert killed
    assert report.ended == Ended.FAILED
    assert "of 2 failed" in report.reason
    assert time.monotonic() - started < 120
    assert not (folder_of(config) / "result.json").exists()


def test_groups_that_do_not_divide_over_the_ranks_are_refused_before_anything_starts(smoke) -> None:
    with pytest.raises(ConfigError, match="2 processes cannot share"):
        smoke("launch.nproc=2")
