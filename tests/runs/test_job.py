"""One run from configuration to result: done once, crash and failure told apart, evidence left."""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scaledrelu.config.identity import run_id
from scaledrelu.errors import RunError
from scaledrelu.runs import execute as execute_module
from scaledrelu.runs import spawn
from scaledrelu.runs.ending import EXIT_WRONG_INPUT, Ended
from scaledrelu.runs.lock import LOCK, one_of_many, only_writer
from scaledrelu.runs.planned import PlanWriter
from scaledrelu.runs.record import Status, read_error, read_result, read_status
from scaledrelu.runs.spawn import run_job, train_planned
from tests.helpers.tiny_runs import folder_of


def test_a_run_leaves_its_result_its_metrics_and_its_evidence(smoke) -> None:
    config = smoke("stem=conv")
    report = run_job(config)
    assert (report.run_id, report.ended) == (run_id(config), Ended.OK)
    folder = folder_of(config)
    result = read_result(folder)
    assert 0 <= result.metrics["val/top1"] <= result.metrics["val/top1_best"] <= 100
    assert result.provenance["lr_base"] == 5e-4
    assert result.provenance["lr_effective"] == pytest.approx(4e-3)
    evidence = np.load(folder / "evidence.npz")
    assert evidence["val.correct"].mean() * 100 == pytest.approx(result.metrics["val/top1"])
    assert evidence["similarity.absolute"].shape == (6 + 2,)
    assert evidence["stem.alpha"].shape == evidence["stem.beta"].shape == (16,)
    assert evidence["max.activation"] > 0
    assert evidence["max.score"] > 0
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {"train/loss", "train/lr", "train/grad_norm"} <= rows[0].keys()
    assert sum("val/top1" in row for row in rows) == 2, "one evaluation an epoch"


def test_a_run_needs_no_wandb_unless_it_asks_for_it(smoke, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it now fails
    assert run_job(smoke()).ended == Ended.OK


@pytest.mark.parametrize(
    ("overrides", "exit_code"), [((), 0), (("data.num_classes=3",), 1)], ids=["ok", "failed"]
)
def test_the_copy_on_wandb_is_closed_when_the_lock_is_free(
    smoke, monkeypatch, overrides, exit_code
) -> None:
    config = smoke("wandb=online", *overrides)
    ended = []

    class Copy:
        def end(self, **how: Any) -> None:
            with (folder_of(config) / "run.lock").open("w") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where it is held
            ended.append(how)

    monkeypatch.setattr(spawn, "open_mirrors", lambda *_: [Copy()])
    run_job(config)
    assert [(how["exit_code"], how["preempted"]) for how in ended] == [(exit_code, False)]


def test_a_run_that_is_done_is_not_trained_again(smoke, monkeypatch) -> None:
    config = smoke()
    run_job(config)
    before = (folder_of(config) / "result.json").read_bytes()

    def explode(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr(execute_module, "execute", explode)
    assert run_job(config).ended == Ended.OK
    assert (folder_of(config) / "result.json").read_bytes() == before


def test_a_result_of_another_configuration_under_the_same_id_is_not_reused(smoke) -> None:
    config = smoke()
    run_job(config)
    stored = folder_of(config) / "config.json"
    stored.write_text(stored.read_text().replace('"seed": 0', '"seed": 7'))
    report = run_job(config)
    assert report.ended == Ended.FAILED
    assert "another configuration" in report.reason
    assert f"redo={report.run_id}" in report.reason
    stored.unlink()
    assert "config.json is missing" in run_job(config).reason


def test_a_damaged_result_is_one_line_and_nothing_is_lost(smoke) -> None:
    config = smoke()
    run_job(config)
    folder = folder_of(config)
    good, metrics = (folder / "result.json").read_bytes(), (folder / "metrics.jsonl").read_bytes()
    (folder / "result.json").write_bytes(b"\xff\x00" * 100)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    report = run_job(config)
    assert report.ended == Ended.FAILED
    assert "result.json: damaged" in report.reason
    assert "\n" not in report.reason
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: data for name, data in after.items() if name != "error.txt"} == before
    (folder / "result.json").rename(folder / "result.json.old")  # as the line says
    assert run_job(config).ended == Ended.OK
    assert (folder / "metrics.jsonl").read_bytes() == metrics, "not trained, only ended again"
    old, new = json.loads(good), json.loads((folder / "result.json").read_bytes())
    assert new["metrics"] == old["metrics"]


def test_a_damaged_checkpoint_is_passed_over_and_the_run_ends_the_same(smoke) -> None:
    config = smoke()
    run_job(config)
    folder = folder_of(config)
    metrics = (folder / "metrics.jsonl").read_bytes()
    (folder / "result.json").unlink()
    data = bytearray((folder / "last.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "last.pt").write_bytes(data)
    assert run_job(config).ended == Ended.OK
    assert (folder / "metrics.jsonl").read_bytes() == metrics
    assert "Resuming from previous.pt instead" in (folder / "rank0.log").read_text()


@pytest.mark.parametrize("name", ["run.lock", "rank0.log", "metrics.jsonl"])
def test_a_run_writes_through_no_link(smoke, tmp_path: Path, name: str) -> None:
    config = smoke()
    folder = folder_of(config)
    folder.mkdir(parents=True)
    (tmp_path / "precious").write_text("precious")
    (folder / name).symlink_to(tmp_path / "precious")
    report = run_job(config)
    assert report.ended == Ended.FAILED
    assert f"{name}: is a link" in report.reason
    assert (tmp_path / "precious").read_text() == "precious"


def test_the_lock_itself_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / LOCK).symlink_to(tmp_path / "made")
    with pytest.raises(RunError, match="a link"), only_writer(tmp_path):
        pass
    assert not (tmp_path / "made").exists()


def test_a_crash_is_a_result_with_its_kind_and_its_step(smoke) -> None:
    config = smoke("lr.base=1e30", "optimizer.build.fused=false")
    assert run_job(config).ended == Ended.CRASH
    result = read_result(folder_of(config))
    assert result.crash["kind"] == "non_finite"
    assert result.crash["epoch"] == result.crash["step"] // 2
    for line in (folder_of(config) / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert len(result.crash["last"]) == result.crash["step"] + 1
    assert read_status(folder_of(config)) == Status.CRASH
    assert run_job(config).ended == Ended.CRASH, "a crash is done: never retried"


def test_no_poisoned_state_is_ever_saved(smoke) -> None:
    config = smoke("lr.base=1e30", "launch.checkpoint_every_steps=1")
    assert run_job(config).ended == Ended.CRASH
    from scaledrelu.engine.checkpoint import load_latest

    state = load_latest(folder_of(config))
    assert state is None or not bool(state["judge"]["flag"])


def test_checkpoints_of_another_run_are_refused_and_its_numbers_never_recorded(smoke) -> None:
    own, other = smoke(), smoke("seed=1")
    for config in (own, other):
        assert run_job(config).ended == Ended.OK
    (folder_of(own) / "result.json").unlink()
    for name in ("last.pt", "previous.pt"):
        shutil.copy(folder_of(other) / name, folder_of(own) / name)
    report = run_job(own)
    assert report.ended == Ended.FAILED
    assert f"is the checkpoint of {run_id(other)}, not of {run_id(own)}" in report.reason
    assert "Restore one from a copy, or move them away" in report.reason
    assert not (folder_of(own) / "result.json").exists()


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError("out of memory"), MemoryError()])
def test_whatever_a_job_raises_becomes_a_failure_that_is_tried_again(
    smoke, monkeypatch, caplog, error
) -> None:
    config = smoke()

    def explode(*_args: object, **_kwargs: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(execute_module, "execute", explode)
        report = run_job(config)
    assert report.ended == Ended.FAILED
    path = folder_of(config) / "error.txt"
    text = path.read_text()
    assert type(error).__name__ in text.splitlines()[0]
    assert caplog.messages[-1].endswith(f" ({path})")
    assert "Traceback" in text
    assert read_status(folder_of(config)) == Status.FAILED
    assert run_job(config).ended == Ended.OK
    assert read_status(folder_of(config)) == Status.OK
    assert not (folder_of(config) / "error.txt").exists()


EIGHT = ("batch.group=8", "launch.nproc=8")


def test_a_missing_data_folder_is_refused_in_one_line_and_nothing_is_left(
    smoke, tmp_path: Path
) -> None:
    config = smoke("data=imagefolder", f"data.root={tmp_path / 'nowhere'}", *EIGHT)
    report = run_job(config)
    assert report.ended == Ended.REFUSED
    assert str(tmp_path / "nowhere") in report.reason
    assert "\n" not in report.reason
    assert not folder_of(config).exists()


@pytest.mark.parametrize(
    ("place", "overrides"),
    [
        ("scaledrelu.runs.spawn._unresolved", ()),
        ("torch.distributed.launcher.api.elastic_launch", ("launch.nproc=2", "batch.group=32")),
    ],
)
def test_ctrl_c_before_the_first_step_is_said_in_one_line(
    smoke, monkeypatch, caplog, place, overrides
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    config = smoke(*overrides)
    with caplog.at_level("INFO", logger="scaledrelu.runs.spawn"):
        assert run_job(config).ended == Ended.INTERRUPTED
    again = "stopped before it could save (again); the same command continues"
    assert caplog.messages == [f"{run_id(config)} {again}"]


def test_two_processes_never_train_one_run(smoke) -> None:
    config = smoke()
    folder = folder_of(config)
    folder.mkdir(parents=True)
    with (folder / LOCK).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        report = run_job(config)
    assert report.ended == Ended.BUSY
    assert "another process is working on it" in report.reason
    assert not (folder / "error.txt").exists(), "the other process will say how it ended"


def test_the_same_run_is_not_trained_while_ranks_of_a_killed_parent_still_save(smoke) -> None:
    config = smoke()
    folder = folder_of(config)
    folder.mkdir(parents=True)
    with one_of_many(folder):
        assert run_job(config).ended == Ended.BUSY
        assert read_status(folder) == Status.RUNNING
    assert run_job(config).ended == Ended.OK


def test_a_full_disk_is_a_failure_and_the_next_attempt_goes_on(smoke, monkeypatch) -> None:
    config = smoke()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("scaledrelu.engine.checkpoint.os.fsync", full)
        report = run_job(config)
    assert report.ended == Ended.FAILED
    assert "No space left on device" in report.reason
    assert run_job(config).ended == Ended.OK


def test_an_error_nobody_foresaw_says_what_the_run_was_doing(smoke, monkeypatch) -> None:
    def explode(*_args: object, **_kwargs: object) -> None:
        raise KeyError("width\nand more")

    for name, doing in (("build_optimizer", "building the run"), ("train_loader", "building")):
        with monkeypatch.context() as patch:
            patch.setattr(f"scaledrelu.runs.build.{name}", explode)
            report = run_job(smoke())
        assert report.reason.startswith(f"while {doing}")
        assert "(tests/runs/test_job.py:" in report.reason
        assert report.reason.endswith("KeyError: 'width\\nand more'")


def test_fp16_on_a_cpu_is_refused_with_the_way_out(smoke, tmp_path) -> None:
    for device in ("auto", "cpu") if not torch.cuda.is_available() else ("cpu",):
        config = smoke("precision=fp16", f"launch.device={device}")
        report = run_job(config)
        assert report.ended == Ended.REFUSED
        assert not (tmp_path / "results" / "runs").exists(), "nothing was tried"
        folder = tmp_path / "results" / "runs" / report.run_id
        PlanWriter().write(config, folder, planned_as="recipe=deit")
        assert train_planned(tmp_path / "results", report.run_id) == EXIT_WRONG_INPUT
        assert read_error(folder) == report.reason, "a sweep looks there"
        shutil.rmtree(folder.parent)
        assert (
            f"precision.autocast=fp16: a CPU only emulates it (launch.device={device})"
            in report.reason
        )
        assert "launch.fp16_on_cpu=true" in report.reason
