"""Stands in for training in the processes of a launcher: reads the run's file, may misbehave.

A JSON file maps a run id to what its attempts do, in order, the last one for ever: ok, crash,
raise, busy (leaves as if another process had the run), kill (SIGKILL to itself), exit (leaves
without a result), sleep (until SIGTERM, then saves and leaves; a file ``asleep`` tells that it
will), nap (a second of work). Every attempt adds its run to a file ``started``; the first one
writes to ``planned`` how many runs have their file.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import yaml

from scaledrelu.runs.ending import EXIT_BUSY, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from scaledrelu.runs.lock import BusyError, only_writer
from scaledrelu.runs.process import stop_on_signal
from scaledrelu.runs.record import ERROR, read_result, run_directory, write_error, write_result
from scaledrelu.runs.result import Outcome, Result

METRICS = {"val/top1": 90.0, "val/top1_best": 90.0, "val/map": 90.0}


def train(results: Path, run_id: str, *, changes: tuple[str, ...] = (), plan: Path) -> int:
    """Do what the plan says for this attempt; return the exit status."""
    folder = run_directory(results, run_id)
    try:
        with only_writer(folder):
            if read_result(folder) is not None:
                return EXIT_OK
            (folder / ERROR).unlink(missing_ok=True)
            return attempt(results, run_id, folder, json.loads(plan.read_text()))
    except BusyError:
        return EXIT_BUSY


def attempt(results: Path, run_id: str, folder: Path, plan: dict) -> int:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["method"] == run_id.partition("-")[0]
    if not (results / "started").exists():
        planned = len(list((results / "runs").glob("*/config.yaml")))
        (results / "planned").write_text(str(planned))
    with (results / "started").open("a") as stream:
        stream.write(f"{run_id}\n")
    with (folder / "attempts").open("a") as stream:
        stream.write("x")
    tries = len((folder / "attempts").read_text())
    script = plan["runs"].get(run_id, ["ok"])
    return behave(script[min(tries, len(script)) - 1], folder, run_id, plan["configs"][run_id])


def behave(what: str, folder: Path, run_id: str, config: dict) -> int:
    print(f"{run_id}: {what}, GPUs {os.environ.get('CUDA_VISIBLE_DEVICES')}", flush=True)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "busy":
        return EXIT_BUSY
    if what == "exit":
        os._exit(3)
    if what == "raise":
        write_error(folder, "out of memory", "Traceback")
        return EXIT_FAILED
    if what == "sleep":
        with stop_on_signal() as stopped:
            (folder / "asleep").touch()
            while not stopped():
                time.sleep(0.02)
        (folder / "last.pt").write_text("saved")
        return EXIT_INTERRUPTED
    if what == "nap":
        time.sleep(1.0)
    crash = {"kind": "collapsed"} if what == "crash" else None
    outcome = Outcome.CRASH if crash else Outcome.OK
    write_result(folder, Result(run_id, outcome, METRICS, crash), config)
    return EXIT_OK
