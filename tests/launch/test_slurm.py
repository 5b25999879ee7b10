"""Sweeps and steps on a real SLURM: what is interrupted goes on, what dies is a failure."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from scaledrelu.runs.attempt import read_attempt

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.engine.checkpoint import read_checkpoint
from scaledrelu.launch import slurm
from scaledrelu.launch.sweep import plan_tables, run_sweep
from scaledrelu.runs.record import Status, read_error, read_result, read_status, run_directory
from scaledrelu.tables.settings import load_settings

TRAIN = CONF_DIR.parent / "scripts" / "train.py"
LONGER = "profile.epoch_scale=0.15"  # 45 epochs of 2 steps: time enough to interrupt


def answers() -> bool:
    if shutil.which("sinfo") is None:
        return False
    asked = subprocess.run(["sinfo", "-h", "-t", "idle,mix"], capture_output=True, text=True)
    return asked.returncode == 0 and bool(asked.stdout.strip())


pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs pip install -e .[slurm]")
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(not answers(), reason="no SLURM with a free node answers here"),
    pytest.mark.timeout(240),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "QUEUE_POLL_S", 1.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(CONF_DIR.parent))


class Cluster:
    """A table of some rows, swept through submitit_slurm into a temporary folder."""

    def __init__(self, base: Path, *rows: list[str], options: tuple[str, ...] = ()) -> None:
        self.results, self.options, self.said = base / "results", options, []
        shutil.copytree(CONF_DIR, base / "conf")
        for path in (base / "conf" / "table").glob("*.yaml"):
            path.unlink()
        block = {"label": "b", "rows": [{"run": run, "paper": {"top1": 1.0}} for run in rows]}
        columns = {"lr": {"from": "lr.base"}, "top1": {"metric": "val/top1"}}
        table = {"source": "Table 8", "title": "Small", "columns": columns, "blocks": [block]}
        (base / "conf" / "table" / "table8.yaml").write_text(yaml.safe_dump(table))
        arguments = [
            "profile=smoke", "launcher=submitit_slurm", f"results={self.results}",
            "hydra.launcher.timeout_min=10", "overrides=[launch.workers=0,launch.device=cpu]",
        ]  # fmt: skip
        self.settings = load_settings([*arguments, *options], conf_dir=base / "conf")
        self.names = list(plan_tables(self.settings).runs)

    def sweep(self, meanwhile: Callable[[Cluster], None] | None = None) -> int:
        self.said.clear()
        if meanwhile is not None:
            threading.Thread(target=meanwhile, args=[self], daemon=True).start()
        return run_sweep(self.settings, self.said.append, train=(sys.executable, str(TRAIN)))

    def folder(self, place: int = 0) -> Path:
        return run_directory(self.results, self.names[place])

    def job_name(self) -> str:
        commands = [line for line in self.said if line.startswith("$ ")]
        return re.search(r"hydra\.launcher\.name=(\S+)", commands[-1])[1]

    def status(self) -> list[Status]:
        return [read_status(run_directory(self.results, name)) for name in self.names]

    def fingerprint(self) -> dict[str, bytes]:
        weights = read_checkpoint(self.folder() / "last.pt")["task"]
        found = {name: value.numpy().tobytes() for name, value in weights.items()}
        return found | {"metrics": (self.folder() / "metrics.jsonl").read_bytes()}


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def until(happened: Callable[[], object], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.1)


def cancel_when_training(cluster: Cluster, *options: str) -> None:
    """Cancel the job of the run, or send it a signal, once it has saved something."""
    until((cluster.folder() / "previous.pt").exists)
    ask("scancel", *options, "--name", cluster.job_name())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    results = tmp_path_factory.mktemp("whole")
    command = [
        sys.executable, str(TRAIN), "profile=smoke", "stem=conv", LONGER, "launch=slurm",
        "launch.workers=0", "launch.device=cpu", f"paths.results={results}",
    ]  # fmt: skip
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    (folder,) = (results / "runs").glob("deit-*")
    weights = read_checkpoint(folder / "last.pt")["task"]
    found = {name: value.numpy().tobytes() for name, value in weights.items()}
    return found | {"metrics": (folder / "metrics.jsonl").read_bytes()}


@pytest.fixture
def long_run(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path, ["stem=conv", LONGER])


def test_each_run_of_a_sweep_is_one_job_and_is_trained_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, ["stem=patchify"], ["stem=conv"])
    assert cluster.sweep() == 0, cluster.said
    assert cluster.status() == [Status.OK, Status.OK]
    jobs = {path.name for path in (cluster.results / "runs/.hydra/.submitit").glob("*_[0-9]*")}
    assert {name.partition("_")[2] for name in jobs} == {"0", "1"}
    assert cluster.sweep() == 0
    assert not any(line.startswith("$ ") for line in cluster.said)


def test_two_tasks_of_a_job_train_one_run_together(tmp_path: Path) -> None:
    options = ("hydra.launcher.tasks_per_node=2",)
    cluster = Cluster(tmp_path, ["stem=conv", "batch.group=32"], options=options)
    assert cluster.sweep() == 0, cluster.said
    assert read_result(cluster.folder()).provenance["processes"] == 2
    assert {path.name for path in cluster.folder().glob("rank*.log")} == {"rank0.log", "rank1.log"}


def test_a_step_of_two_tasks_trains_what_one_process_trains(tmp_path: Path) -> None:
    found = {}
    for tasks in (1, 2):
        results = tmp_path / str(tasks)
        command = [
            "srun", f"--ntasks={tasks}", sys.executable, str(TRAIN), "profile=smoke", "stem=conv",
            "batch.group=32", "launch=slurm", "launch.workers=0", "launch.device=cpu",
            f"paths.results={results}",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        (folder,) = (results / "runs").glob("deit-*")
        found[tasks] = read_result(folder)
    assert found[2].provenance["processes"] == 2
    assert found[1].run_id == found[2].run_id
    assert found[2].metrics["val/loss"] == pytest.approx(found[1].metrics["val/loss"], rel=2e-3)


def test_a_run_near_its_time_limit_saves_and_goes_on_in_the_same_job(
    long_run: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    restarted = []

    def time_is_up(cluster: Cluster) -> None:
        cancel_when_training(cluster, "--signal=USR2")
        queue = ("squeue", "-h", "--name", cluster.job_name(), "-t", "PD", "-o", "%i")
        until(lambda: restarted.extend(ask(*queue).split()) or restarted)
        ask("scontrol", "update", f"JobId={restarted[0]}", "StartTime=now")  # not after 2 minutes

    assert long_run.sweep(time_is_up) == 0, long_run.said
    assert restarted
    assert "resuming at step" in (long_run.folder() / "rank0.log").read_text()
    assert long_run.fingerprint() == uninterrupted


def test_a_cancelled_run_saves_and_the_same_command_goes_on(
    long_run: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    assert long_run.sweep(cancel_when_training) == 1
    assert long_run.status() == [Status.MISSING], read_error(long_run.folder())
    assert any("left (CANCELLED); the same command goes on" in line for line in long_run.said)
    assert long_run.sweep() == 0
    assert "resuming at step" in (long_run.folder() / "rank0.log").read_text()
    assert long_run.fingerprint() == uninterrupted


def test_a_killed_run_is_a_failure_and_no_crash(
    long_run: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    def kill(cluster: Cluster) -> None:
        until((cluster.folder() / "previous.pt").exists)
        os.kill(read_attempt(cluster.folder()).pid, signal.SIGKILL)

    assert long_run.sweep(kill) == 1
    assert long_run.status() == [Status.FAILED], long_run.said
    assert "ended without a word (FAILED)" in read_error(long_run.folder())
    assert long_run.sweep() == 0
    assert long_run.fingerprint() == uninterrupted
