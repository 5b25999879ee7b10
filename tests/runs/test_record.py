import errno
import fcntl
import json
import os
import signal
import threading
import time

import pytest

from scaledrelu.config.artifacts import artifact_directory
from scaledrelu.errors import ConfigError
from scaledrelu.runs import lock, record
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.lock import is_busy, only_writer, read_attempt
from scaledrelu.runs.record import Status
from scaledrelu.runs.result import Outcome, Result

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


ODD = [b"", b"{}", b'{"run_id": 1', b'{"outcome": "fine"}', b"[]", b"null", b"3", b"\xff\xfe\x00"]
ODD += [b"[" * 100_000, b'{"a": NaN}']


@pytest.mark.parametrize("content", ODD, ids=range(len(ODD)))
def test_unreadable_result_is_one_line_naming_the_file_and_keeping_it(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    for read in (record.read_status, record.read_result):
        with pytest.raises(RecordError, match=r"result\.json: damaged") as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)
        assert "elete" not in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["result.json", "config.json"])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    read = record.read_result if name == "result.json" else record.read_config
    with pytest.raises(RecordError, match=f"{name}: not a regular file"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"{"])
def test_unreadable_config_is_one_line_with_the_command_that_keeps_the_record(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"config\.json: damaged") as caught:
        record.read_config(tmp_path)
    assert f"redo={tmp_path.name}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stored_result_is_compared_with_what_its_name_stands_for(tmp_path):
    folder = tmp_path / "deit-1"
    assert record.finished_result(folder, {"seed": 0}) is None
    record.write_result(folder, OK, {"seed": 0})
    assert record.finished_result(folder, {"seed": 0}) == OK
    for config, said in (({"seed": 1}, "another configuration"), ({}, "another configuration")):
        with pytest.raises(RecordError, match=said):
            record.finished_result(folder, config)
    folder.rename(tmp_path / "deit-9")
    with pytest.raises(RecordError, match="is the result of deit-1, not of this run"):
        record.finished_result(tmp_path / "deit-9", {"seed": 0})
    (tmp_path / "deit-9" / "config.json").unlink()
    with pytest.raises(RecordError, match=r"config\.json is missing"):
        record.finished_result(tmp_path / "deit-9", {"seed": 0})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "error.txt gives no reason"),
        (b"\n\nTraceback", "error.txt gives no reason"),
        (b"\xff\xfe\x00\x01", "error.txt is damaged (not text)"),
        (b"disk\x00full\x1b[31m now\nTraceback", "disk full [31m now"),
        (b"x" * 10_000_000, "x" * record.LONGEST_REASON),
    ],
)
def test_whatever_error_txt_holds_the_reason_is_one_printable_line(tmp_path, content, said):
    (tmp_path / "error.txt").write_bytes(content)
    assert record.read_error(tmp_path) == said
    assert record.read_status(tmp_path) is Status.FAILED


def test_a_reason_with_the_name_of_a_file_that_is_not_utf_8_is_kept(tmp_path):
    record.write_error(tmp_path, "torn: caf\udce9.png")
    assert record.read_error(tmp_path) == "torn: caf\\udce9.png"


@pytest.mark.parametrize(
    "name", ["../x", "..", ".", "", "/etc", "a/b", "a\0b", "a\n", "-a", "a*", "x" * 300, None, 7]
)
def test_no_id_leads_out_of_the_results_folder(tmp_path, name):
    for place in (record.run_directory, artifact_directory):
        with pytest.raises(ConfigError, match="becomes a folder name") as caught:
            place(tmp_path, name)
        assert "\n" not in str(caught.value)


def test_status_follows_result_then_attempt_then_error(tmp_path):
    assert record.read_status(tmp_path / "nothing") is Status.MISSING
    record.write_error(tmp_path, "out of\nmemory", "Traceback ...")
    assert record.read_status(tmp_path) is Status.FAILED
    assert record.read_error(tmp_path) == "out of memory"
    with only_writer(tmp_path):
        assert record.read_status(tmp_path) is Status.RUNNING
    record.write_result(tmp_path, CRASH, {})
    assert record.read_status(tmp_path) is Status.CRASH
    assert record.read_error(tmp_path) is None


def test_a_result_counts_whatever_failure_lies_beside_it(tmp_path):
    record.write_result(tmp_path, CRASH, {})
    record.write_error(tmp_path, "a second process lost its node")
    assert record.read_status(tmp_path) is Status.CRASH


def left_by_a_killed_process(folder):
    """Let a process be killed while it holds a run."""
    if (pid := os.fork()) == 0:
        with only_writer(folder):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    return json.loads((folder / "attempt.json").read_text())


def test_a_killed_process_leaves_its_name_and_holds_nothing(tmp_path):
    left = left_by_a_killed_process(tmp_path)
    assert read_attempt(tmp_path).pid == left["pid"]
    assert record.read_status(tmp_path) is Status.MISSING
    with only_writer(tmp_path):
        assert read_attempt(tmp_path).pid == os.getpid()
    assert read_attempt(tmp_path) is None


def test_another_host_name_on_the_same_kernel_holds_nothing(tmp_path):
    left = left_by_a_killed_process(tmp_path) | {"host": "before-the-restart"}
    (tmp_path / "attempt.json").write_text(json.dumps(left))
    assert not is_busy(tmp_path)


ATTEMPT = {"pid": 1, "started": 1.0, "host": "elsewhere", "birth": None}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 100_000,
        json.dumps(ATTEMPT | {"pid": 0}).encode(),  # a signal to it would reach whole groups
        json.dumps(ATTEMPT | {"pid": -1}).encode(),
        json.dumps(ATTEMPT | {"pid": 10**30}).encode(),
        json.dumps(ATTEMPT | {"pid": True}).encode(),
        json.dumps(ATTEMPT | {"pid": "7"}).encode(),
        json.dumps(ATTEMPT | {"started": 1e999}).replace("Infinity", "x").encode(),
        json.dumps(ATTEMPT | {"birth": [1]}).encode(),
    ],
)
def test_a_damaged_attempt_is_nobody(tmp_path, content):
    (tmp_path / "attempt.json").write_bytes(content)
    assert read_attempt(tmp_path) is None
    assert record.read_status(tmp_path) is Status.MISSING


def test_a_run_on_another_machine_lives_while_it_says_so_even_where_no_lock_is_seen(tmp_path):
    path = tmp_path / "attempt.json"
    path.write_text(json.dumps(ATTEMPT | {"boot": "of another kernel"}))
    assert is_busy(tmp_path)
    with pytest.raises(lock.BusyError, match="process 1 on elsewhere is working on it"):
        only_writer(tmp_path).__enter__()
    os.utime(path, (1, time.time() - lock.SILENCE_S - 1))
    assert not is_busy(tmp_path)


def test_a_run_says_again_and_again_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    with only_writer(tmp_path):
        path = tmp_path / "attempt.json"
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_where_files_cannot_be_locked_the_process_itself_is_looked_for(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    left = left_by_a_killed_process(tmp_path)
    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    assert not is_busy(tmp_path)
    with only_writer(tmp_path):
        assert is_busy(tmp_path)
        mine = json.loads((tmp_path / "attempt.json").read_text())
    (tmp_path / "attempt.json").write_text(json.dumps(left | {"pid": mine["pid"]}))
    assert not is_busy(tmp_path), "the process id was used again"


@pytest.mark.parametrize("name", [lock.LOCK, lock.RANKS_LOCK])
def test_a_check_that_meets_another_check_does_not_take_it_for_a_run(tmp_path, name):
    with (tmp_path / name).open("w") as checked:
        fcntl.flock(checked, fcntl.LOCK_EX)
        timer = threading.Timer(0.02, fcntl.flock, (checked, fcntl.LOCK_UN))
        timer.start()
        found = is_busy(tmp_path)
        timer.join()
    assert not found


def test_a_job_that_was_queued_again_takes_its_own_life_before_for_over(tmp_path, monkeypatch):
    path = tmp_path / "attempt.json"
    path.write_text(json.dumps(ATTEMPT | {"boot": "of another kernel", "slurm_job": "7"}))
    assert is_busy(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert not is_busy(tmp_path)
