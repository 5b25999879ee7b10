"""W&B is a copy that cannot hurt: our id and steps, nothing twice, nothing missing, all bounded."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scaledrelu.engine import mirror
from scaledrelu.engine.mirror import WandbMirror, check_online, mode_here
from scaledrelu.engine.mirror_afterwards import Sender
from scaledrelu.engine.wandb_run import copies_of, from_environment, place_of
from scaledrelu.errors import RunError
from tests.helpers.fake_wandb import KEY, FakeRun, FakeWandb

pytest.importorskip("wandb")
ALL = list(range(10, 110, 10))
CONFIG = {
    "method": "deit",
    "seed": 0,
    "stem": {"label": "ViT_c", "name": "conv"},
    "lr": {"base": 1e-3},
}

SPEC: dict[str, Any] = {
    "run_id": "deit-0123456789ab",
    "name": "conv lr 1e-3 adamw wm5 s0",
    "project": None,
    "entity": None,
    "group": "conv lr 1e-3 adamw wm5 (mini, 123abc)",
    "job_type": "deit",
    "tags": ["table1", "table2"],
    "paper": {"table1/top1": 81.9},
    "config": CONFIG,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 100 steps whose checkpoint covers 50."""
    rows = [{"step": step, "epoch": step // 20, "train/loss": 2.0} for step in ALL]
    seen = {"similarity/absolute_00": 0.5, "similarity/absolute_01": 0.3, "largest/score": 7.0}
    seen |= {"stem/alpha_mean": 0.9}
    rows.insert(2, {"step": 20, "epoch": 1, "val/top1": 12.5, **seen})
    (tmp_path / "timing.jsonl").write_text('{"step": 20, "seconds": 1.5, "images_per_s": 820.5}\n')
    rows[-1]["train/loss"] = "nan"
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "progress.json").write_text('{"step": 50, "total_steps": 100}')
    return tmp_path


def finish(folder: Path) -> None:
    crash = {"kind": "collapsed", "step": 80, "epoch": 4}
    result = {"outcome": "crash", "metrics": {"val/top1": 12.5}, "crash": crash, "seconds": 3.5}
    (folder / "result.json").write_text(json.dumps(result))


def opened(folder: Path, mode: str = "online") -> WandbMirror:
    return WandbMirror(folder, mode=mode, **SPEC)


def steps(fake: FakeWandb) -> list[int]:
    return [row["_step"] for row in fake.rows]


def read_back(folder: Path) -> str:
    """Return what the offline copies of a run hold, by W&B's own reader."""
    tool = shutil.which("wandb", path=str(Path(sys.executable).parent))
    return "".join(
        subprocess.run(
            [tool, "leet", "inspect", "--json", str(log)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for log in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    )


def test_an_interrupted_run_is_preempted_and_its_resume_brings_every_row_once(
    server: FakeWandb, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="scaledrelu")
    opened(run).end(exit_code=1, preempted=True)
    assert steps(server) == [10, 20, 30, 40, 50], "only what a checkpoint covers"
    assert server.the_run.preempting
    assert "/me/scaledrelu/runs/deit-0123456789ab" in caplog.text
    finish(run)
    opened(run).end(exit_code=0, preempted=False)
    assert steps(server) == ALL
    assert [row["global_step"] for row in server.rows] == ALL
    assert server.rows[1].items() >= {"val/top1": 12.5, "images_per_s": 820.5}.items()
    assert server.rows[1]["similarity/absolute_mean"] == pytest.approx(0.4)
    assert server.rows[1]["train/loss"] == 2.0
    assert server.the_run.exits == [1, 0]
    is_called_and_grouped_as_it_was_told(server.the_run)
    is_judged_by_outcome_crash_and_paper(server.the_run.summary)
    names_nothing_secret(run, caplog.text)
    with Sender("online", log=run / "mirror.log") as sender:
        assert sender.send(SPEC, run) == {"known": True}, "a run that was sent live"
    assert server.the_run.exits == [1, 0]


def is_called_and_grouped_as_it_was_told(run: FakeRun) -> None:
    assert run.told["displayName"] == "conv lr 1e-3 adamw wm5 s0"
    assert run.told["groupName"] == "conv lr 1e-3 adamw wm5 (mini, 123abc)"
    assert run.told["jobType"] == "deit"
    assert run.told["tags"] == ["table1", "table2"]
    assert run.config == CONFIG, "nested: W&B filters stem.label, a flat key it does not"
    assert run.axes == {
        "train/*": "global_step", "images_per_s": "global_step", "val/*": "epoch",
        "similarity/*": "epoch", "stem/*": "epoch", "largest/*": "epoch",
    }  # fmt: skip


def is_judged_by_outcome_crash_and_paper(summary: dict[str, Any]) -> None:
    told = {"outcome": "crash", "crash/kind": "collapsed", "crash/step": 80, "seconds": 3.5}
    told |= {"val/top1": 12.5, "paper/table1/top1": 81.9, "paper/outcome": "ok"}
    assert summary.items() >= told.items()


def names_nothing_secret(folder: Path, log: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert KEY not in log


def test_rows_that_never_arrived_before_a_kill_arrive_after_it(
    server: FakeWandb, run: Path
) -> None:
    first = opened(run)
    first._starter.join()
    server.hang.set()  # nothing arrives any more
    os.killpg(first._process.pid, signal.SIGKILL)
    server.hang.clear()
    finish(run)
    opened(run).end(exit_code=0, preempted=False)
    assert steps(server) == ALL


def test_a_trainer_that_dies_leaves_a_failed_run(server: FakeWandb, run: Path) -> None:
    started = opened(run)
    started._starter.join()
    started._process.stdin.close()  # what the other side sees of a kill
    started._process.wait()
    assert server.the_run.exits == [1]
    assert not server.the_run.preempting


@pytest.mark.parametrize("trouble", ["wrong key", "silence"])
def test_a_server_that_refuses_or_is_silent_costs_one_line_and_the_copy_is_kept(
    server: FakeWandb,
    run: Path,
    trouble: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(mirror.START_S, "online", 2.0 if trouble == "silence" else 4.0)
    server.refuse = 401 if trouble == "wrong key" else None
    if trouble == "silence":
        server.hang.set()
    finish(run)
    opened(run).end(exit_code=0, preempted=False)
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert line.startswith("W&B: ")
    assert "\n" not in line
    (copy,) = run.glob("wandb/offline-run-*")
    assert line.endswith(f"; training is not affected. A copy is kept; once `wandb login` works, "
                         f"send it: wandb sync {copy}")  # fmt: skip
    assert "global_step" in read_back(run)
    server.hang.clear()


def test_a_missing_key_is_named_with_one_way_to_send_the_copy(
    run: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    finish(run)
    opened(run).end(exit_code=0, preempted=False)
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert line.count("wandb login") == 1
    assert line.startswith("W&B: UsageError: No API key configured; training is not affected. ")
    assert line.endswith(f": wandb sync {next(run.glob('wandb/offline-run-*'))}")


def test_where_no_copy_can_be_kept_the_line_names_both_reasons(
    run: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "answer_in", lambda _said, limit_s: {"trouble": f"{limit_s:.0f} s"})
    opened(run).end(exit_code=0, preempted=False)
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert line.startswith("W&B: 30 s; offline: 60 s; training is not affected. ")
    assert "scripts/mirror.py" in line
    assert "kept" not in line


def test_a_server_that_dies_in_the_middle_cannot_hold_the_end_up(
    server: FakeWandb, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    started = opened(run)
    started._starter.join()
    other_side = started._process
    server.hang.set()
    started.end(exit_code=0, preempted=False, limit_s=2.0)
    assert other_side.poll() is not None
    assert "not everything was sent within 2 s" in caplog.text
    server.hang.clear()


def test_offline_copies_that_were_never_sent_are_replaced_and_sent_ones_are_not_repeated(
    run: Path,
) -> None:
    opened(run, "offline").end(exit_code=1, preempted=True)
    opened(run, "offline").end(exit_code=1, preempted=True)
    (copy,) = run.glob("wandb/offline-run-*")
    text = read_back(run)
    assert "table2" in text
    assert "deit-0123456789ab" in text
    (copy / "run-deit-0123456789ab.wandb.synced").write_text("")  # what `wandb sync` leaves
    assert json.loads((copy / "scaledrelu.json").read_text()) == {"last_step": 50}
    finish(run)
    time.sleep(1.1)  # W&B names copies by the second
    opened(run, "offline").end(exit_code=0, preempted=False)
    assert copy.exists()
    (later,) = set(run.glob("wandb/offline-run-*")) - {copy}
    assert json.loads((later / "scaledrelu.json").read_text())["last_step"] == 100
    shutil.rmtree(copy)
    found = read_back(run)
    assert '"_step":60' in found
    assert '"_step":50' not in found


def test_copies_of_the_same_second_are_known_and_those_of_other_runs_are_not(
    tmp_path: Path,
) -> None:
    mine = [f"{kind}-20261127_211509-deit-0123456789ab" for kind in ("offline-run", "run")]
    mine += [f"{mine[0]}-1", f"{mine[1]}-12"]  # W&B's numbers
    others = [f"{mine[0]}-r2", f"{mine[0]}-r2-1", "offline-run-20261127_211509-deit-0123456789ac"]
    for name in (*mine, *others):
        (tmp_path / name).mkdir()
    assert sorted(copy.name for copy in copies_of(tmp_path, "deit-0123456789ab")) == sorted(mine)


def test_variables_of_wandb_come_before_our_words_and_after_the_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "PROJECT": "theirs", "ENTITY": "team", "RUN_GROUP": "g", "JOB_TYPE": "j", "NAME": "n",
        "TAGS": "mine, table1", "DIR": str(tmp_path),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"WANDB_{name}", value)
    words = {"name": "conv", "group": "row", "job_type": "deit", "tags": ["table1"]}
    told = from_environment({"project": None, "entity": None, **words})
    assert told == {
        "project": "theirs", "entity": "team", "group": "g", "job_type": "j", "name": "n",
        "tags": ["table1", "mine"],
    }  # fmt: skip
    assert from_environment({"project": "ours", "entity": "us", **words}).items() >= {
        "project": "ours", "entity": "us"
    }.items()  # fmt: skip
    assert place_of(Path("run")) == tmp_path


@pytest.mark.parametrize(
    ("asked", "said", "here"),
    [
        ("disabled", "online", "disabled"),
        ("offline", "online", "offline"),
        ("online", "offline", "offline"),
        ("online", "dryrun", "offline"),
        ("online", "disabled", "disabled"),
        ("online", "", "online"),
    ],
)
def test_the_environment_may_ask_for_less_than_the_configuration_and_never_for_more(
    asked: str, said: str, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", said)
    assert mode_here(asked) == here


def test_one_question_tells_before_a_sweep_whether_online_can_work(
    server: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_online()
    server.refuse = 401
    with pytest.raises(RunError, match=r"W&B: .*wandb=offline"):
        check_online()
    server.refuse = None
    server.hang.set()
    with pytest.raises(RunError, match="no answer within 2 s"):
        check_online(limit_s=2.0)
    server.hang.clear()
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(RunError, match=r"W&B: .*wandb=offline") as refused:
        check_online()
    assert str(refused.value).count("wandb login") == 1


def test_a_variable_that_wandb_refuses_is_named_in_one_short_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "")
    with pytest.raises(RunError, match="Settings: silent: Input should be a valid boolean") as no:
        check_online()
    assert "\n" not in str(no.value)
    assert len(str(no.value)) < 400


@pytest.mark.slow
def test_what_wandb_sync_sends_of_an_offline_copy_is_the_same_and_is_known_afterwards(
    server: FakeWandb, run: Path
) -> None:
    finish(run)
    opened(run, "offline").end(exit_code=0, preempted=False)
    (copy,) = run.glob("wandb/offline-run-*")
    tool = shutil.which("wandb", path=str(Path(sys.executable).parent))
    for _ in range(2):
        subprocess.run([tool, "sync", "--project", "scaledrelu", str(copy)], check=True)
    assert steps(server) == ALL
    is_called_and_grouped_as_it_was_told(server.the_run)
    is_judged_by_outcome_crash_and_paper(server.the_run.summary)
    for mode in ("online", "offline"):
        with Sender(mode, log=run / "mirror.log") as sender:
            assert sender.send(SPEC, run) == {"known": True}
    assert steps(server) == ALL
