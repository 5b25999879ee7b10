"""Stands in for scripts/train.py -m: reads the generated files, trains nothing, may misbehave.

``FAKE_PLAN`` (a JSON file) maps a run id to what its attempts do, in order, the last one for ever:
ok, crash, raise, kill (SIGKILL to itself), sleep (until SIGTERM, then saves and leaves; a file
``asleep`` tells that it will).
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml

from scaledrelu.runs.attempt import clear_attempt, stop_requested, write_attempt
from scaledrelu.runs.record import Outcome, Result, run_directory, write_error, write_result

METRICS = {"val/top1": 90.0, "val/top1_best": 90.0, "val/map": 90.0}


def behave(what, folder, run_id, config):
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        write_error(folder, "out of memory", "Traceback")
        return
    if what == "sleep":
        stopped = []
        signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
        (folder / "asleep").touch()
        while not stopped:
            time.sleep(0.02)
        (folder / "last.pt").write_text("saved")
        return
    crash = {"kind": "collapsed"} if what == "crash" else None
    outcome = Outcome.CRASH if crash else Outcome.OK
    result = Result(run_id, outcome, METRICS, crash)
    write_result(folder, result, config)


def train(run_id, group, results):
    if stop_requested():
        return
    planned = yaml.safe_load((group / f"{run_id}.yaml").read_text())
    assert planned["planned_id"] == run_id
    folder = run_directory(results, run_id)
    write_attempt(folder, pid=os.getpid(), started=time.time())
    with (folder / "attempts").open("a") as stream:
        stream.write("x")
    tries = len((folder / "attempts").read_text())
    plan = json.loads(Path(os.environ["FAKE_PLAN"]).read_text())
    script = plan["runs"].get(run_id, ["ok"])
    behave(script[min(tries, len(script)) - 1], folder, run_id, plan["configs"][run_id])
    clear_attempt(folder)


def main():
    arguments = dict(item.partition("=")[::2] for item in sys.argv[1:] if "=" in item)
    with (Path(arguments["paths.results"]) / "commands").open("a") as stream:
        stream.write(json.dumps(sys.argv[1:]) + "\n")
    if os.environ.get("FAKE_BROKEN"):
        sys.exit("ImportError: no module named torch")
    searchpath = arguments["hydra.searchpath"].strip("[]'").removeprefix("file://")
    for run_id in arguments["experiment"].split(","):
        train(run_id, Path(searchpath) / "experiment", arguments["paths.results"])


with contextlib.suppress(KeyboardInterrupt):
    main()
