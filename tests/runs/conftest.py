"""Helpers to train tiny runs in forked children that can be killed at any moment."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scaledrelu.config.identity import run_id
from scaledrelu.engine.checkpoint import read_checkpoint
from scaledrelu.runs.record import run_directory
from scaledrelu.runs.spawn import run_job


def folder_of(config: dict[str, Any]) -> Path:
    return run_directory(config["paths"]["results"], run_id(config))


def fingerprint(config: dict[str, Any]) -> dict[str, bytes]:
    """The bytes that a resumed run must share with an uninterrupted one."""
    folder = folder_of(config)
    weights = read_checkpoint(folder / "last.pt")["task"]
    found = {name: value.numpy().tobytes() for name, value in weights.items()}
    for name in ("metrics.jsonl", "evidence.npz"):
        found[name] = (folder / name).read_bytes()
    return found


def weights_of(config: dict[str, Any]) -> dict[str, np.ndarray]:
    state = read_checkpoint(folder_of(config) / "last.pt")["task"]
    return {name: value.double().numpy() for name, value in state.items()}


def cpu_seconds(pid: int) -> float:
    """Return what a process has computed; without end for one that has ended."""
    state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if state == "Z":
        return math.inf
    return (int(fields[10]) + int(fields[11])) / os.sysconf("SC_CLK_TCK")  # user, system


@pytest.fixture
def in_child() -> Callable[..., str | None]:
    """Run a job in a forked child; optionally send a signal after some seconds of its own CPU time.

    Not of the clock: on a busy machine the signal would come before or after the training.

    Returns how the job ended, or None if the child was killed first.
    """

    def run(config: dict[str, Any], *, number: int = signal.SIGKILL, after: float | None = None):
        torch.set_num_threads(1)
        child = os.fork()
        if child == 0:
            status = 99
            try:
                ended = run_job(config).ended.value
                status = ["ok", "crash", "failed", "interrupted"].index(ended)
            finally:
                sys.stdout.flush()
                os._exit(status)
        if after is not None:
            while cpu_seconds(child) < after:
                time.sleep(0.002)
            os.kill(child, number)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return None
        return ["ok", "crash", "failed", "interrupted"][os.WEXITSTATUS(status)]

    return run
