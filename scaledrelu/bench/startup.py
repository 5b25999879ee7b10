"""What a run costs before its first step: as a process of its own, and as a worker's next run.

Run as a module, this is the process: it prints its stages as one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from scaledrelu.bench.table import Row

STARTED = "SCALEDRELU_BENCH_STARTED"  # when the parent started the process, seconds since 1970
STAGES = (
    "python and imports",
    "compose the configuration",
    "build the run",
    "first step",
    "process start to first step done",
    "next run in the same process, to first step done",
)


def measure_startup(*, rounds: int) -> Iterator[Row]:
    """Yield the median seconds of every stage of a mini run with the conv stem."""
    found = [_one() for _ in range(rounds)]
    for stage in STAGES:
        yield Row(
            kind="startup", name=stage, seconds=statistics.median(run[stage] for run in found)
        )


def _one() -> dict[str, float]:
    command = [sys.executable, "-m", "scaledrelu.bench.startup"]
    environment = {**os.environ, STARTED: repr(time.time())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1]
        raise RuntimeError(f"the process that measures the start of a run failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def probe() -> dict[str, float]:
    """Start two runs one after the other and return the seconds of every stage."""
    marks = [float(os.environ[STARTED])]
    import torch

    from scaledrelu.config.compose import compose
    from scaledrelu.engine.distributed import World, pick_device
    from scaledrelu.engine.loop import take_update
    from scaledrelu.runs.build import build
    from scaledrelu.tasks.base import Progress

    def run() -> None:
        config = compose(["profile=mini", "stem=conv"])
        marks.append(time.time())
        device = pick_device("auto", 0)
        training = build(config, World(0, 1, device)).training
        marks.append(time.time())
        steps = training.loader.steps_per_epoch
        t = Progress(0, training.schedule.total_steps, 0, steps)
        groups = training.prepare(next(iter(training.loader.epoch(0))), t)
        take_update(training, groups, t, wants_stop=lambda: False)
        if device.type == "cuda":
            torch.cuda.synchronize()
        marks.append(time.time())

    marks.append(time.time())
    run()
    again = time.time()
    run()
    begin, imported, composed, built, stepped = marks[:5]
    seconds = (
        imported - begin,
        composed - imported,
        built - composed,
        stepped - built,
        stepped - begin,
        marks[-1] - again,
    )
    return dict(zip(STAGES, seconds, strict=True))


if __name__ == "__main__":
    print(json.dumps(probe()))
