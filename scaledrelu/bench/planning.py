"""What plan, status and report cost beside 10,000 finished runs: processor time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from scaledrelu.bench.table import Row
from scaledrelu.config.places import CONFIG, RESULT, ROOT
from scaledrelu.runs.record import run_directory
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import load_settings

SEEDS = 770  # of the 13 rows of Table 1
SCRIPTS = ROOT / "scripts"
COMMANDS = {
    "plan": ("sweep.py", "dry_run=true"),
    "status": ("status.py",),
    "report": ("report.py",),
}
METRICS = {"val/top1": 90.0, "val/top1_best": 90.0}


def measure_planning(*, seeds: int = SEEDS) -> Iterator[Row]:
    """Yield the cost of each command, all of whose runs have finished.

    Args:
        seeds: seeds that Table 1 is planned with.
    """
    with tempfile.TemporaryDirectory() as results:
        settings = [f"results={results}", "tables=table1", f"seeds={list(range(seeds))}"]
        count = _finish_all(settings)
        for name, (script, *more) in COMMANDS.items():
            seconds, gib = _cost([str(SCRIPTS / script), *settings, *more])
            what = f"{name}, {count:,} finished runs"
            yield Row("planning", name=what, seconds=seconds, memory_gib=gib)


def _finish_all(settings: Sequence[str]) -> int:
    """Leave a made-up result of every planned run; return how many there are."""
    plan = plan_tables(load_settings(settings))
    for run in plan.runs.values():
        folder = run_directory(plan.results, run.run_id)
        folder.mkdir(parents=True)
        made = Result(run.run_id, Outcome.OK, METRICS, seconds=1.0)
        (folder / CONFIG).write_text(json.dumps(run.science))
        (folder / RESULT).write_text(made.to_json())
    return len(plan.runs)


def _cost(arguments: Sequence[str]) -> tuple[float, float]:
    """Return the processor seconds and the GiB of a script."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{Path(arguments[0]).name} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20
