"""Compiles networks before they are timed, several at once: torch keeps the result on disk."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context

from scaledrelu.bench.cases import Case
from scaledrelu.config.launch import visible_cores

log = logging.getLogger(__name__)

CORES = 3  # of one process, which compiles in as many threads
MOST = 6  # processes beside each other: each holds a network, a batch and their activations


def to_compile(cases: Sequence[Case]) -> list[Case]:
    """Return the cases that are compiled, in their order, once where only their peers differ.

    Args:
        cases: any; those that compile nothing are left out.
    """
    same = [replace(case, defaults=False, eager_peer=False) for case in cases if case.compiled]
    return list(dict.fromkeys(same))


def compile_ahead(cases: Sequence[Case], device: str) -> int:
    """Compile the networks of both sides of each case; return in how many cases that failed.

    Args:
        cases: what is timed later, in another process.
        device: cpu or cuda.
    """
    failures = 0
    count = max(1, min(MOST, len(cases), visible_cores() // CORES))
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(CORES))
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(_compile_case, case, device): case for case in cases}
        for done in as_completed(waiting):
            label, error = waiting[done].label, done.exception()
            failures += error is not None
            log.info("%s: %s", label, error or f"compiled in {done.result():.0f} s")
    return failures


def _compile_case(case: Case, device: str) -> float:
    """Warm up both sides, whose first steps compile; return the seconds."""
    from scaledrelu.bench.measure import build_sides, compile_plain, steppers, warm_up
    from scaledrelu.engine.distributed import pick_device, take_device

    place = pick_device(device, 0)
    take_device(place)
    sides = build_sides(case, place)
    compile_plain(case, sides)
    start = time.perf_counter()
    warm_up(*steppers(sides, case), place)
    return time.perf_counter() - start
