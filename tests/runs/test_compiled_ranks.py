"""Two real processes train with compiled networks what they train without.

Buckets are small, so that torch compiles each network in pieces, as it does with a large one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.backends.registry import lookup_backend
from torch._dynamo.utils import counters
from torch.fx import GraphModule

from scaledrelu.config.compose import compose
from scaledrelu.config.launch import LaunchConfig
from scaledrelu.config.run import RunConfig
from scaledrelu.runs import build
from scaledrelu.runs.ending import Ended, JobReport
from scaledrelu.runs.record import read_result
from scaledrelu.runs.spawn import run_job
from tests.helpers.compiled_rows import COMMON, ROWS, small_buckets, train_steps
from tests.helpers.tiny_runs import folder_of, weights_of
from tests.helpers.two_ranks import on_two_ranks

CPU = torch.device("cpu")
# Two groups for each process. Only group 0 moves BatchNorm's statistics, which takes a graph of its
# own: process 0 compiles two, process 1 one. Two epochs, with an evaluation after each.
RUN = (
    "stem=conv", "stem.hidden=4", "model.depth=1", "model.drop_path=0.2", "batch.group=16",
    "optimizer=sam", "ema={decay: 0.9}", "lr.base=1e-4", "launch.device=cpu", "launch.nproc=2",
)  # fmt: skip
pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="forks, which torch forbids with a GPU"
)


@pytest.fixture(autouse=True)
def _pieces(monkeypatch: pytest.MonkeyPatch, forked_ranks: None) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with small_buckets():
        yield


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobReport]:
    """Train the run with one value of ``launch.compile``; null compiles, as on a GPU."""
    monkeypatch.setattr(LaunchConfig, "compiles", lambda self, *_: self.compile is not False)

    def run(word: str) -> tuple[RunConfig, JobReport]:
        results = tmp_path / word
        config = compose(
            ["profile=smoke", *RUN, f"launch.compile={word}", f"paths.results={results}"]
        )
        return config, run_job(config)

    return run


def compile_by(backend: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    compiles = build.compile_networks
    monkeypatch.setattr(
        build,
        "compile_networks",
        lambda task, *, may_fail, options: compiles(task, may_fail=may_fail, backend=backend),
    )


def replay(
    folder: Path, fails_on: str, graph: GraphModule, inputs: Sequence[torch.Tensor]
) -> Callable:
    """Count a piece of a graph for this process and let autograd's code run as it is."""
    rank = os.environ["RANK"]
    with (folder / f"pieces{rank}").open("a") as stream:
        stream.write(".")
    if rank == fails_on:
        raise RuntimeError("no C compiler")
    return lookup_backend("aot_eager")(graph, inputs)


def pieces(folder: Path) -> list[int]:
    return [(folder / f"pieces{rank}").stat().st_size for rank in range(2)]


def same(one: RunConfig, two: RunConfig) -> None:
    first, second = weights_of(one), weights_of(two)
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    a, b = (read_result(folder_of(config)).metrics for config in (one, two))
    assert b == pytest.approx(a, rel=1e-4)


@pytest.mark.slow
def test_two_processes_train_compiled_what_they_train_without(train, tmp_path, monkeypatch) -> None:
    compile_by(partial(replay, tmp_path, "none"), monkeypatch)
    (one, _), (two, report) = train("false"), train("true")
    assert report.ended == Ended.OK
    same(one, two)
    first, second = pieces(tmp_path)
    assert first == 2 * second > 2


@pytest.mark.slow
def test_a_process_that_cannot_compile_trains_beside_one_that_can(
    train, tmp_path, monkeypatch
) -> None:
    compile_by(partial(replay, tmp_path, "1"), monkeypatch)
    (one, _), (two, report) = train("false"), train("null")
    assert report.ended == Ended.OK
    same(one, two)
    assert all(pieces(tmp_path))
    _, report = train("true")
    assert report.ended == Ended.FAILED
    assert "process 1 of 2 failed: while training" in report.reason
    assert "no C compiler" in report.reason


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="the code for a CPU has to be compiled")
def test_two_processes_train_the_same_by_the_code_that_torch_writes(
    train, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "code"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    (one, _), (two, report) = train("false"), train("null")
    assert report.ended == Ended.OK
    same(one, two)
    assert list((tmp_path / "code").rglob("*.so"))


def _updates(row: list[str], rank: int) -> None:
    compiles, config = build.compile_networks, [*COMMON, "batch.group=4", "launch.device=cpu", *row]
    build.compile_networks = lambda task, **_: compiles(task, backend="aot_eager")
    plain, compiled = (
        train_steps(compose([*config, f"launch.compile={word}"]), CPU, rank=rank, size=2)
        for word in ("false", "true")
    )
    for a, b in zip(compiled.seen + compiled.grads, plain.seen + plain.grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert torch.equal(compiled.drawn, plain.drawn)
    graphs = counters["stats"]["unique_graphs"]
    assert counters["aot_autograd"]["ok"] > graphs > 0, "a large network is compiled in pieces"


QUICK = "SAM, all groups together"
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ROWS if name != QUICK]


@pytest.mark.parametrize("name", [QUICK, *SLOW])
def test_two_processes_update_compiled_as_they_do_without(name, tmp_path) -> None:
    on_two_ranks(partial(_updates, ROWS[name]), tmp_path)
