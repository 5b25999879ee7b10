"""What tests ask of tiny runs that were trained for them: their folders, weights and bytes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.config.identity import run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.checkpoint import read_checkpoint
from scaledrelu.engine.logbook import Logbook
from scaledrelu.runs.record import run_directory
from scaledrelu.runs.spawn import run_job


def folder_of(config: RunConfig) -> Path:
    return run_directory(config.paths.results, run_id(config))


def fingerprint(config: RunConfig) -> dict[str, bytes]:
    """The bytes that a resumed run must share with an uninterrupted one."""
    folder = folder_of(config)
    weights = read_checkpoint(folder / "last.pt")["task"]
    found = {name: value.numpy().tobytes() for name, value in weights.items()}
    for name in ("metrics.jsonl", "evidence.npz"):
        found[name] = (folder / name).read_bytes()
    return found


def weights_of(config: RunConfig) -> dict[str, np.ndarray]:
    state = read_checkpoint(folder_of(config) / "last.pt")["task"]
    return {name: value.double().numpy() for name, value in state.items()}


def assert_same_weights(one: RunConfig, two: RunConfig, *, atol: float) -> None:
    """Compare the last weights of two runs up to a share of each tensor's largest value."""
    first, second = weights_of(one), weights_of(two)
    for name, value in first.items():
        scale = max(1e-3, np.abs(value).max())
        np.testing.assert_allclose(second[name], value, atol=atol * scale, err_msg=name)


def stop_when_asked(times: int) -> Callable[[], bool]:
    """Return what asks a run to stop when it is called for so many times, and from then on."""
    return partial(next, iter([False] * (times - 1)), True)


def what_counts(config: RunConfig) -> dict[str, Any]:
    """Everything that a run leaves for others, without time and place."""
    folder = folder_of(config)
    result = json.loads((folder / "result.json").read_text())
    del result["provenance"], result["seconds"]
    state = read_checkpoint(folder / "last.pt")
    tensors = {**state["task"], **{f"judge.{k}": v for k, v in state["judge"].items()}}
    return {
        "result": result,
        **{name: value.numpy().tobytes() for name, value in tensors.items()},
        **{n: (folder / n).read_bytes() for n in ("metrics.jsonl", "evidence.npz", "config.json")},
    }


def ends_alike_from_its_last_checkpoint(config: RunConfig) -> None:
    """Take a finished run up again as kills after its training would leave it; compare.

    In the middle of the last checkpoint's two renames, after it, and before ``result.json``.
    """
    whole, folder = what_counts(config), folder_of(config)
    for gone in (
        ("result.json",),
        ("result.json", "config.json", "evidence.npz"),
        ("result.json", "config.json", "evidence.npz", "last.pt"),
    ):
        for name in gone:
            (folder / name).unlink()
        run_job(config)
        assert what_counts(config) == whole, gone


def cpu_seconds(pid: int) -> float:
    """Return what a process has computed; without end for one that has ended."""
    state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if state == "Z":
        return math.inf
    return (int(fields[10]) + int(fields[11])) / os.sysconf("SC_CLK_TCK")  # user, system


def signal_itself(number: int, at_step: int) -> None:
    """Let this process get a signal when it has logged a step, however fast it is."""
    logged = Logbook.train

    def train(logbook: Logbook, t: Any, **what: Any) -> None:
        logged(logbook, t, **what)
        if t.step + 1 == at_step:
            os.kill(os.getpid(), number)

    Logbook.train = train
