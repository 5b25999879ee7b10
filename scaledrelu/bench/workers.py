"""Two one-thread workers against one: what a second core adds to a sweep of small runs.

Run as a module, this is one worker: it builds a mini run, reports ready, waits and counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from scaledrelu.bench.table import Row

WARM_STEPS = 10


class Worker:
    """One worker process, warm and ready.

    Args:
        stem: stem of the mini run that it trains.
    """

    def __init__(self, stem: str) -> None:
        command = [sys.executable, "-m", "scaledrelu.bench.workers", stem]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()

    def read(self) -> str:
        """Return the worker's next line.

        Raises:
            RuntimeError: if it died instead.
        """
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a bench worker died with exit status {self._process.wait()}")
        return line

    def start(self, seconds: float) -> None:
        """Let it train for some seconds; `read` then gives its images/s."""
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()


def measure_workers(*, rounds: int, turn_seconds: float) -> Iterator[Row]:
    """Yield total images/s of one and of two workers, in rounds of 1 2 2 1.

    Args:
        rounds: number of rounds.
        turn_seconds: length of one turn.
    """
    for stem in ("patchify", "conv"):
        with Worker(stem) as one, Worker(stem) as other:
            for worker in (one, other):
                worker.read()  # "ready"
            single, double = [], []
            for _ in range(rounds):
                alone, both = [one], [one, other]
                turns = [_rate(group, turn_seconds) for group in (alone, both, both, alone)]
                single.append((turns[0] + turns[3]) / 2)
                double.append((turns[1] + turns[2]) / 2)
        ratios = [two / one_rate for two, one_rate in zip(double, single, strict=True)]
        for count, rates in (("one worker", single), ("two workers", double)):
            yield Row(
                kind="workers",
                name=count,
                profile="mini",
                stem=stem,
                threads=1,
                images_per_s=sorted(rates)[len(rates) // 2],
                ratios=ratios if count == "two workers" else [],
            )


def _rate(workers: list[Worker], seconds: float) -> float:
    for worker in workers:
        worker.start(seconds)
    return sum(float(worker.read()) for worker in workers)


def serve(stem: str) -> None:
    """Train a mini run for as many seconds as each line of standard input says."""
    import torch

    from scaledrelu.bench.cases import BATCH, Case
    from scaledrelu.bench.measure import build_sides, steppers

    case = Case("mini", stem, batch=BATCH["mini"], whole_loop=True)
    step, _ = steppers(build_sides(case, torch.device("cpu")), case)
    for _ in range(WARM_STEPS):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < float(line):
            step()
            steps += 1
        print(steps * case.batch / (time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
