import os

import pytest

from scaledrelu.runs import record
from scaledrelu.runs.attempt import (
    STOP_FILE_VARIABLE,
    Attempt,
    clear_attempt,
    read_attempt,
    stop_requested,
    write_attempt,
)
from scaledrelu.runs.files import write_atomic
from scaledrelu.runs.record import Outcome, RecordError, Result, Status

OK = Result("deit-1", Outcome.OK, {"val/top1": 98.6111, "val/top1_best": 98.9}, seconds=20.5)
CRASH = Result(
    "deit-2",
    Outcome.CRASH,
    {"val/top1": float("nan")},
    crash={"kind": "non_finite", "step": 7, "losses": [2.3, float("inf")]},
)


def test_result_is_read_back_as_written(tmp_path):
    record.write_result(tmp_path, OK, {"seed": 0})
    assert record.read_result(tmp_path) == OK
    assert record.read_config(tmp_path) == {"seed": 0}


def test_result_with_non_finite_numbers_is_standard_json(tmp_path):
    record.write_result(tmp_path, CRASH, {})
    text = (tmp_path / "result.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    back = record.read_result(tmp_path)
    assert back.metrics["val/top1"] != back.metrics["val/top1"]


def test_crash_without_its_details_cannot_be_recorded():
    with pytest.raises(ValueError, match="deit-3"):
        Result("deit-3", Outcome.CRASH, {})


@pytest.mark.parametrize("text", ["", "{}", '{"run_id": 1', '{"outcome": "fine"}', "[]"])
def test_unreadable_result_is_one_line_naming_the_file(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(RecordError, match=r"result\.json") as caught:
        record.read_status(tmp_path)
    assert "\n" not in str(caught.value)


def test_status_follows_result_then_attempt_then_error(tmp_path):
    assert record.read_status(tmp_path / "nothing") is Status.MISSING
    record.write_error(tmp_path, "out of\nmemory", "Traceback ...")
    assert record.read_status(tmp_path) is Status.FAILED
    assert record.read_error(tmp_path) == "out of memory"
    write_attempt(tmp_path, pid=os.getpid(), started=1.0)
    assert record.read_status(tmp_path) is Status.RUNNING
    record.write_result(tmp_path, CRASH, {})
    assert record.read_status(tmp_path) is Status.CRASH
    assert record.read_error(tmp_path) is None


def test_a_result_counts_whatever_failure_lies_beside_it(tmp_path):
    record.write_result(tmp_path, CRASH, {})
    record.write_error(tmp_path, "a second process lost its node")
    assert record.read_status(tmp_path) is Status.CRASH


def test_attempt_of_a_dead_process_is_left_but_not_running(tmp_path):
    pid = os.fork()
    if pid == 0:
        write_attempt(tmp_path, pid=os.getpid(), started=1.0)
        os._exit(0)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT) is None:
        pass
    assert read_attempt(tmp_path).alive is False  # a zombie does not run
    os.waitpid(pid, 0)
    assert read_attempt(tmp_path).alive is False
    assert record.read_status(tmp_path) is Status.MISSING
    clear_attempt(tmp_path)
    assert read_attempt(tmp_path) is None


def test_a_reused_process_id_is_not_the_attempt(tmp_path):
    write_attempt(tmp_path, pid=os.getpid(), started=1.0)
    attempt = read_attempt(tmp_path)
    assert attempt.alive
    reused = Attempt(attempt.pid, attempt.started, attempt.host, "123", attempt.seen)
    assert not reused.alive


def test_attempt_on_another_machine_lives_while_it_writes(tmp_path):
    path = tmp_path / "attempt.json"
    path.write_text('{"pid": 1, "started": 1.0, "host": "elsewhere", "birth": null}')
    assert read_attempt(tmp_path).alive
    os.utime(path, (1, 1))
    assert not read_attempt(tmp_path).alive


def test_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_stop_is_requested_only_by_the_sweep_that_started_us(tmp_path, monkeypatch):
    monkeypatch.delenv(STOP_FILE_VARIABLE, raising=False)
    assert not stop_requested()
    monkeypatch.setenv(STOP_FILE_VARIABLE, str(tmp_path / "stop"))
    assert not stop_requested()
    (tmp_path / "stop").touch()
    assert stop_requested()
