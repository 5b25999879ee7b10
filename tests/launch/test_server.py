"""A process for each job, forked from one that imported everything once."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.launch.executor import Files, Job, What
from scaledrelu.launch.local import LocalExecutor
from scaledrelu.launch.server import Child, ForkServer
from tests.helpers.processes import lives, until

PRELOADED = "server_jobs"


@pytest.fixture(autouse=True)
def _modules(tmp_path, monkeypatch):
    """A module for the server to import, which notes how often that happens."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / f"{PRELOADED}.py").write_text(
        JOBS.format(log=str(tmp_path / "imported"))
    )
    monkeypatch.syspath_prepend(tmp_path / "modules")
    yield
    sys.modules.pop(PRELOADED, None)


JOBS = """
import os, signal, sys, time
from pathlib import Path

with Path({log!r}).open("a") as stream:
    stream.write("x")
LEFT = []

def report(value):
    LEFT.append(value)
    print(LEFT, os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpgid(0) == os.getpid(), flush=True)
    return 0

def status(code):
    return code

def fail():
    raise ZeroDivisionError("no such luck")

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def wait_for(path):
    Path(str(path) + ".started").write_text(str(os.getpid()))
    while not Path(path).exists():
        time.sleep(0.02)
    return 0
"""


def call(name, *arguments):
    import server_jobs

    return pickle.dumps(partial(getattr(server_jobs, name), *arguments))


@pytest.fixture
def server(tmp_path):
    server = ForkServer([PRELOADED], log=tmp_path / "server.log")
    yield server
    server.close()
    assert server.process.returncode == 0


def ended(server, count):
    found = {}
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        found |= dict(server.hear(1.0))
    return found


def test_every_child_has_its_own_memory_log_and_variables_and_nothing_is_imported_twice(
    server, tmp_path
):
    for number in range(3):
        slot = {"CUDA_VISIBLE_DEVICES": str(number)}
        server.start(Child(str(number), call("report", number), tmp_path / f"{number}.log", slot))
    assert ended(server, 3) == {"0": 0, "1": 0, "2": 0}
    for number in range(3):
        assert (tmp_path / f"{number}.log").read_text() == f"[{number}] {number} True\n"
    assert (tmp_path / "imported").read_text() == "x" * 2, "once there, once here"


def test_every_way_to_end_has_its_own_status(server, tmp_path):
    jobs = {"done": call("status", 0), "busy": call("status", 69), "bug": call("fail")}
    jobs |= {"killed": call("killed"), "odd": b"no pickle"}
    for name, work in jobs.items():
        server.start(Child(name, work, tmp_path / f"{name}.log", {}))
    statuses = {"done": 0, "busy": 69, "bug": 1, "killed": -signal.SIGKILL, "odd": 1}
    assert ended(server, len(jobs)) == statuses
    assert "no such luck" in (tmp_path / "bug.log").read_text()


def test_the_folder_of_the_command_holds_no_code_of_the_server(tmp_path, monkeypatch):
    (tmp_path / "pickle.py").write_text("raise SystemExit('a file of the same name')")
    monkeypatch.chdir(tmp_path)
    ForkServer([], log=tmp_path / "server.log").close()
    assert (tmp_path / "server.log").read_text() == ""


OWNER = """
import sys, time
sys.path.insert(0, {modules!r})
from pathlib import Path
from test_server import PRELOADED, call
from scaledrelu.launch.server import ForkServer, Child

base = Path({base!r})
server = ForkServer([PRELOADED], log=base / "server.log")
child = server.start(Child("one", call("wait_for", base / "never"), base / "one.log", {{}}))
print(server.process.pid, child, flush=True)
time.sleep(60)
"""


def test_children_end_with_the_server_and_the_server_with_whoever_started_it(tmp_path):
    code = OWNER.format(modules=str(tmp_path / "modules"), base=str(tmp_path))
    paths = [str(CONF_DIR.parent), str(Path(__file__).parent)]
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    ) as owner:
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) == 2
        owner.kill()
    until(lambda: not any(map(lives, pids)), 30)


def test_a_killed_server_costs_its_children_a_second_try(tmp_path):
    import server_jobs

    go_on = tmp_path / "go-on"
    job = Job("deit-0123456789ab", partial(server_jobs.wait_for, go_on), prepare=lambda: None)
    executor = LocalExecutor(Files(tmp_path / "results"), [{}], preload=[PRELOADED])
    executor.submit([job])
    happened = executor.poll(1.0)
    assert [event.what for event in happened] == [What.STARTED]
    os.kill(executor._server.process.pid, signal.SIGKILL)
    happened = executor.poll(10.0)
    assert [event.what for event in happened] == [What.DIED]
    go_on.touch()
    assert [event.what for event in executor.poll(1.0)] == [What.STARTED]
    executor.stop(lambda: False)
