"""Sweeps and steps on a real SLURM: what is interrupted goes on, what dies is a failure.

Two nodes are enough, virtual ones too; without two the tests that need them are skipped.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from scaledrelu.config.places import CONF_DIR
from scaledrelu.engine.checkpoint import read_checkpoint
from scaledrelu.launch import sent, slurm
from scaledrelu.launch.executor import Files, Job
from scaledrelu.launch.jobs import write_plan
from scaledrelu.launch.queue import queued_jobs, read_job
from scaledrelu.launch.slurm import SlurmExecutor
from scaledrelu.launch.status import status_lines
from scaledrelu.launch.submission import jobs_folder
from scaledrelu.runs.lock import read_attempt
from scaledrelu.runs.record import Status, read_error, read_result, read_status, run_directory
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import load_settings
from scripts.sweep import sweep

TRAIN = CONF_DIR.parent / "scripts" / "train.py"
LONGER = "profile.epoch_scale=0.15"  # 45 epochs of 2 steps: time enough to interrupt


def answers() -> bool:
    if shutil.which("sinfo") is None:
        return False
    asked = subprocess.run(["sinfo", "-h", "-t", "idle,mix"], capture_output=True, text=True)
    return asked.returncode == 0 and bool(asked.stdout.strip())


pytest.importorskip("submitit", reason="needs pip install -e .[slurm]")
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(not answers(), reason="no SLURM with a free node answers here"),
    pytest.mark.timeout(240),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent, "QUEUE_POLL_S", 1.0)
    monkeypatch.setattr(slurm, "QUEUE_POLL_S", 1.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    paths = [str(CONF_DIR.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


class Cluster:
    """A table of some rows, swept on SLURM into a temporary folder."""

    def __init__(self, base: Path, *rows: list[str], upstream: list[str] | None = None) -> None:
        self._open(base)
        shutil.copytree(CONF_DIR, base / "conf")
        for path in (base / "conf" / "table").glob("*.yaml"):
            path.unlink()
        block = {"label": "b", "rows": [{"run": run, "paper": {"top1": 1.0}} for run in rows]}
        if upstream is not None:
            block["upstream"] = upstream
        columns = {"lr": {"from": "lr.base"}, "top1": {"metric": "val/top1"}}
        table = {"source": "Table 8", "title": "Small", "columns": columns, "blocks": [block]}
        (base / "conf" / "table" / "table8.yaml").write_text(yaml.safe_dump(table))
        self.names = list(self.plan().runs)

    @classmethod
    def load(cls, base: Path) -> Cluster:
        """Return the one that another process made."""
        cluster = cls.__new__(cls)
        cluster._open(base)
        return cluster

    def _open(self, base: Path) -> None:
        self.base, self.results, self.said, self.more = base, base / "results", [], []

    def settings(self, *options: str, script: str = "sweep"):
        more = ["launch=slurm", "launch.workers=0", "launch.device=cpu", *self.more]
        arguments = [
            "profile=smoke", f"results={self.results}", f"overrides=[{','.join(more)}]",
        ]  # fmt: skip
        if script == "sweep":
            arguments.append("launcher=slurm")
        return load_settings([*arguments, *options], conf_dir=self.base / "conf", script=script)

    def plan(self):
        return plan_tables(self.settings(script="status"))

    def sweep(self, *options: str, meanwhile: Callable[[Cluster], None] | None = None) -> int:
        """Submit and watch until all jobs have ended."""
        if meanwhile is not None:
            threading.Thread(target=meanwhile, args=[self], daemon=True).start()
        return self.submit("wait=true", *options)

    def submit(self, *options: str) -> int:
        self.said.clear()
        return sweep(self.settings("slurm.timeout_min=10", *options), self.said.append)

    def files(self) -> Files:
        return Files(self.results)

    def folder(self, place: int = 0) -> Path:
        return run_directory(self.results, self.names[place])

    def job(self, place: int = 0) -> str:
        return read_job(self.folder(place)).job_id

    def table_lines(self) -> list[str]:
        return list(status_lines(self.plan()))

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


def when_training(cluster: Cluster) -> str:
    """Return the job of the run once it has saved something."""
    until((cluster.folder() / "previous.pt").exists)
    return cluster.job()


def when_starting(cluster: Cluster, after_s: float = 1.0) -> str:
    """Return the job of the run so long after submitit's first line; it then imports torch."""
    logs = jobs_folder(cluster.files())
    until(lambda: any("Loading pickle" in path.read_text() for path in logs.glob("*/*_0_log.out")))
    time.sleep(after_s)
    return cluster.job()


def start_again_at_once(job: str) -> None:
    """Spare a job that was queued again the two minutes that SLURM lets it wait."""
    until(lambda: ask("squeue", "-h", "-j", job, "-t", "PD", "-o", "%i").strip())
    time.sleep(1.5)  # a node refuses a job that it has ended in the same second
    ask("scontrol", "update", f"JobId={job}", "StartTime=now")


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


def test_a_run_is_a_job_with_a_name_and_a_record_and_a_second_sweep_has_none(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path, ["stem=patchify"], ["stem=conv"])
    assert cluster.sweep() == 0, cluster.said
    assert cluster.status() == [Status.OK, Status.OK]
    for place, name in enumerate(cluster.names):
        job = read_job(cluster.folder(place))
        assert job.name == f"table8-{place + 1}-{name}"
        assert "val/top1" in Path(job.log).read_text()
    assert cluster.sweep() == 0
    assert not any("job " in line for line in cluster.said)


def test_the_command_returns_after_submitting_and_the_next_one_adopts_the_jobs(
    long_run: Cluster,
) -> None:
    assert long_run.submit() == 0
    job = long_run.job()
    assert any("make status" in line for line in long_run.said)
    assert long_run.status()[0] in (Status.MISSING, Status.RUNNING)
    assert "(job " in long_run.table_lines()[0] or "running" in long_run.table_lines()[0]
    assert long_run.sweep() == 0
    assert any(f"queued already: job {job}" in line for line in long_run.said)
    assert long_run.job() == job
    assert long_run.table_lines()[0].split()[2] == "ok"


def test_a_chain_is_queued_at_once_and_each_run_waits_for_its_own(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, ["recipe=linear_probe"], upstream=["recipe=dino"])
    assert cluster.sweep() == 0, cluster.said
    assert cluster.status() == [Status.OK, Status.OK]


def test_a_run_whose_upstream_run_failed_says_so_itself(tmp_path: Path) -> None:
    broken = ["recipe=dino", "data=imagefolder", f"data.root={tmp_path / 'none'}"]
    broken += ["data.image_size=16"]
    cluster = Cluster(tmp_path, ["recipe=linear_probe"], upstream=broken)
    assert cluster.sweep() == 1
    assert cluster.status() == [Status.FAILED, Status.FAILED]
    assert read_error(cluster.folder(1)).startswith(f"upstream failed: {cluster.names[0]}: ")
    shown = ask("scontrol", "show", "job", cluster.job(0), "-o")
    assert "JobState=FAILED" in shown, "accounting, mail and afterok see it"


def test_two_tasks_of_a_job_train_one_run_together(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, ["stem=conv", "batch.group=32"])
    assert cluster.sweep("slurm.tasks_per_node=2") == 0, cluster.said
    assert read_result(cluster.folder()).provenance["processes"] == 2
    assert {path.name for path in cluster.folder().glob("rank*.log")} == {"rank0.log", "rank1.log"}


def test_a_step_of_two_tasks_trains_what_one_process_trains(tmp_path: Path) -> None:
    found = {}
    for tasks in (1, 2):
        cluster = Cluster(tmp_path / str(tasks), ["stem=conv", "batch.group=32"])
        write_plan(cluster.plan(), list(cluster.plan().runs.values()))
        command = [
            "srun", f"--ntasks={tasks}", sys.executable, str(TRAIN), "--run", cluster.names[0],
            f"paths.results={cluster.results}",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        found[tasks] = read_result(cluster.folder())
    assert found[2].provenance["processes"] == 2
    assert found[1].run_id == found[2].run_id
    assert found[2].metrics["val/loss"] == pytest.approx(found[1].metrics["val/loss"], rel=2e-3)


def test_a_run_near_its_time_limit_saves_and_goes_on_in_the_same_job(
    long_run: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    restarted = []

    def time_is_up(cluster: Cluster) -> None:
        restarted.append(when_training(cluster))
        ask("scancel", "--signal=USR2", restarted[0])
        start_again_at_once(restarted[0])

    assert long_run.sweep(meanwhile=time_is_up) == 0, long_run.said
    assert restarted == [long_run.job()]
    assert "resuming at step" in (long_run.folder() / "rank0.log").read_text()
    assert long_run.fingerprint() == uninterrupted


def test_a_cancelled_run_saves_and_the_same_command_goes_on(
    long_run: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    def cancel(cluster: Cluster) -> None:
        ask("scancel", when_training(cluster))

    assert long_run.sweep(meanwhile=cancel) == 1
    assert long_run.status() == [Status.MISSING], read_error(long_run.folder())
    assert any(
        "ended (CANCELLED); run the same command again to continue" in line
        for line in long_run.said
    )
    assert long_run.sweep() == 0
    assert "resuming at step" in (long_run.folder() / "rank0.log").read_text()
    assert long_run.fingerprint() == uninterrupted


def test_a_killed_run_is_a_failure_and_no_crash(
    long_run: Cluster, uninterrupted: dict[str, bytes]
) -> None:
    def kill(cluster: Cluster) -> None:
        when_training(cluster)
        os.kill(read_attempt(cluster.folder()).pid, signal.SIGKILL)

    assert long_run.sweep(meanwhile=kill) == 1
    assert long_run.status() == [Status.FAILED], long_run.said
    assert "SLURM state FAILED before a result was written" in read_error(long_run.folder())
    assert long_run.sweep() == 0
    assert long_run.fingerprint() == uninterrupted


def test_both_tasks_of_a_job_leave_at_its_time_limit_and_go_on(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, ["stem=conv", LONGER, "batch.group=32"])

    def time_is_up(cluster: Cluster) -> None:
        job = when_training(cluster)
        ask("scancel", "--signal=USR2", job)
        start_again_at_once(job)

    assert cluster.sweep("slurm.tasks_per_node=2", meanwhile=time_is_up) == 0, cluster.said
    assert read_result(cluster.folder()).provenance["processes"] == 2
    first, second = ((cluster.folder() / f"rank{rank}.log").read_text() for rank in (0, 1))
    assert "stopped at step" in first, "the first task says it for both"
    assert "resuming at step" in first
    assert "resuming at step" in second


@pytest.mark.parametrize(("tasks", "after_s"), [(1, 0.0), (1, 1.0), (2, 1.0)])
def test_a_job_whose_time_is_up_while_it_starts_is_queued_again(
    tmp_path: Path, tasks: int, after_s: float
) -> None:
    cluster = Cluster(tmp_path, ["stem=conv", "batch.group=32"])
    restarted = []

    def time_is_up(cluster: Cluster) -> None:
        restarted.append(when_starting(cluster, after_s))
        ask("scancel", "--signal=USR2", restarted[0])
        start_again_at_once(restarted[0])

    assert cluster.sweep(f"slurm.tasks_per_node={tasks}", meanwhile=time_is_up) == 0, cluster.said
    assert restarted == [cluster.job()]
    assert "Restarts=1" in ask("scontrol", "show", "job", restarted[0], "-o")
    assert read_result(cluster.folder()).provenance["processes"] == tasks


@pytest.mark.parametrize("tasks", [1, 2])
def test_a_job_that_may_not_be_queued_again_leaves_while_it_starts_and_is_no_failure(
    tmp_path: Path, tasks: int
) -> None:
    cluster = Cluster(tmp_path, ["stem=conv", "batch.group=32"])
    cluster.more, option = ["launch.requeue=false"], f"slurm.tasks_per_node={tasks}"

    def time_is_up(cluster: Cluster) -> None:
        ask("scancel", "--signal=USR2", when_starting(cluster))

    assert cluster.sweep(option, meanwhile=time_is_up) == 1
    assert cluster.status() == [Status.MISSING], read_error(cluster.folder())
    assert any("run the same command again to continue" in line for line in cluster.said)
    assert cluster.sweep(option) == 0, cluster.said


def test_a_run_that_may_not_be_queued_again_saves_and_is_no_failure(
    tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    cluster = Cluster(tmp_path, ["stem=conv", LONGER])
    cluster.more = ["launch.requeue=false"]

    def time_is_up(cluster: Cluster) -> None:
        ask("scancel", "--signal=USR2", when_training(cluster))

    assert cluster.sweep(meanwhile=time_is_up) == 1
    assert cluster.status() == [Status.MISSING], read_error(cluster.folder())
    assert any("(the run saved); run the same command" in line for line in cluster.said)
    assert "stopped; will continue at step" in cluster.table_lines()[0]
    assert cluster.sweep() == 0
    assert cluster.fingerprint() == uninterrupted


def test_a_run_waits_for_an_upstream_run_that_is_queued_again(tmp_path: Path) -> None:
    upstream = ["recipe=dino", "profile.epoch_scale=0.1"]
    cluster = Cluster(tmp_path, ["recipe=linear_probe"], upstream=upstream)

    def preempt(cluster: Cluster) -> None:
        job = when_training(cluster)
        ask("scontrol", "requeue", job)
        start_again_at_once(job)

    assert cluster.sweep(meanwhile=preempt) == 0, cluster.said
    assert "resuming at step" in (cluster.folder() / "rank0.log").read_text()
    assert cluster.status() == [Status.OK, Status.OK]


def test_more_jobs_than_slurm_takes_follow_as_others_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "sbatch"
    fake.parent.mkdir()
    refusal = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
    fake.write_text(
        f"#!/bin/sh\nif squeue -h --me -t PD,R -o %k | grep -q {tmp_path}; then\n"
        f"  echo '{refusal}' >&2; exit 1\nfi\n"
        f'exec {shutil.which("sbatch")} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    cluster = Cluster(tmp_path, ["stem=patchify"], ["stem=conv"])
    assert cluster.submit() == 1
    assert any("accepts no more jobs now (QOSMax" in line for line in cluster.said)
    again = "run the same command again to submit them"
    assert cluster.said[-1] == f"jobs not submitted yet: 1; {again}"
    assert cluster.sweep() == 0, cluster.said
    assert cluster.status() == [Status.OK, Status.OK]
    numbers = {cluster.job(place) for place in (0, 1)}
    assert {
        path.name for path in jobs_folder(cluster.files()).iterdir() if path.is_dir()
    } == numbers


def test_a_command_that_is_killed_while_it_submits_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path, *([f"lr.base={number}e-4"] for number in range(1, 7)))
    code = (
        "import sys; from tests.launch.test_slurm import Cluster; from pathlib import Path; "
        "Cluster.load(Path(sys.argv[1])).submit()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=CONF_DIR.parent) as killed:
        until(lambda: queued_jobs(cluster.results))
        killed.kill()
    assert cluster.sweep() == 0, cluster.said
    assert cluster.status() == [Status.OK] * 6
    kept = {cluster.job(place) for place in range(6)}
    assert len(kept) == 6
    for place in range(6):
        assert "val/top1" in Path(read_job(cluster.folder(place)).log).read_text()


@pytest.mark.usefixtures("in_a_terminal")
def test_ctrl_c_cancels_the_jobs_which_save(long_run: Cluster) -> None:
    def interrupt(cluster: Cluster) -> None:
        when_training(cluster)
        os.kill(os.getpid(), signal.SIGINT)

    assert long_run.sweep(meanwhile=interrupt) == 130
    assert "stopped; will continue at step" in long_run.table_lines()[0]
    assert queued_jobs(long_run.results) == {}


@pytest.mark.usefixtures("in_a_terminal")
def test_a_lost_terminal_cancels_nothing(long_run: Cluster) -> None:
    def hang_up(cluster: Cluster) -> None:
        when_training(cluster)
        os.kill(os.getpid(), signal.SIGHUP)

    assert long_run.sweep(meanwhile=hang_up) == 130
    job = long_run.job()
    assert long_run.sweep() == 0, "the same command adopts it"
    assert long_run.job() == job


def note_gpus(path: Path) -> int:
    path.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    return 0


def test_a_job_keeps_the_gpus_that_slurm_assigned(tmp_path: Path) -> None:
    if "gpu" not in ask("sinfo", "-h", "-o", "%G"):
        pytest.skip("needs GPUs, of any kind")
    options = {"gpus_per_node": 2, "timeout_min": 5}
    seen = [tmp_path / name for name in "ab"]
    jobs = [
        Job(f"deit-{letter * 12}", partial(note_gpus, path), lambda: None, caption=f"gpus-{letter}")
        for letter, path in zip("ab", seen, strict=True)
    ]
    SlurmExecutor(Files(tmp_path / "results"), options).submit(jobs)
    until(lambda: all(path.exists() and path.read_text() for path in seen))
    assert all(len(path.read_text().split(",")) == 2 for path in seen)


def test_two_nodes_and_a_preempted_job_end_in_a_correct_table(tmp_path: Path) -> None:
    if len(ask("sinfo", "-h", "-N", "-o", "%N").split()) < 2:
        pytest.skip("needs two nodes")
    cluster = Cluster(tmp_path, ["stem=conv", LONGER, "batch.group=32"], ["batch.group=32"])
    preempted = []

    def preempt(cluster: Cluster) -> None:
        preempted.append(when_training(cluster))
        ask("scontrol", "requeue", preempted[0])
        start_again_at_once(preempted[0])

    options = ("slurm.nodes=2", "slurm.tasks_per_node=1")
    assert cluster.sweep(*options, meanwhile=preempt) == 0, cluster.said
    assert preempted == [cluster.job()]
    assert "resuming at step" in (cluster.folder() / "rank0.log").read_text()
    for place in (0, 1):
        assert read_result(cluster.folder(place)).provenance["processes"] == 2
    table = (cluster.results / "smoke" / "table8.csv").read_text().splitlines()
    for name, line in zip(cluster.names, table[1:], strict=True):
        assert name in line
        value = read_result(run_directory(cluster.results, name)).metrics["val/top1"]
        assert f"{value:.4f}" in line
    until(lambda: queued_jobs(cluster.results) == {})
