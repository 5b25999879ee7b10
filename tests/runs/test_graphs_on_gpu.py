"""On a GPU: compiled networks train as those that are not compiled, CUDA graphs or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.multiprocessing as mp
from torch._dynamo.utils import counters
from torch._inductor.cudagraph_trees import CUDAGraphNode

from scaledrelu.config.compose import compose
from scaledrelu.config.run import RunConfig
from tests.helpers.compiled_rows import COMMON, ROWS, Trained, ddp_of_one, train_steps

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GRAPHS = "reduce-overhead"  # the mode of torch.compile that replays CUDA graphs
IN_DDP = ["groups in turn", "SAM, each group by itself", "dino"]
NOISE = 5e-5  # norm of a gradient that is zero but for rounding, as of a bias before BatchNorm


def composed(row: list[str], *launch: str) -> RunConfig:
    return compose([*COMMON, *row, "launch.device=cuda", *launch])


def trained(config: RunConfig) -> Trained:
    found = train_steps(config, torch.device("cuda", 0))
    torch.compiler.reset()
    return found


@contextmanager
def counted_replays() -> Iterator[list[int]]:
    """While open, collect one item for every replay of a CUDA graph."""
    replays, real = [], CUDAGraphNode.run

    def run(node: CUDAGraphNode, inputs: list[object]) -> object:
        replays.append(1)
        return real(node, inputs)

    with mock.patch.object(CUDAGraphNode, "run", run):
        yield replays


def compare(row: list[str], mode: str) -> None:
    plain = composed(row, "launch.compile=false")
    expected = trained(plain)
    counters.clear()
    with counted_replays() as replays:
        found = trained(composed(row, "launch.compile=true", f"launch.compile_mode={mode}"))
    assert counters["stats"]["unique_graphs"] > 0
    assert counters["inductor"]["cudagraph_skips"] == 0
    assert bool(replays) is (mode == GRAPHS)
    half = plain.precision.autocast != "none"
    for a, b in zip(found.seen, expected.seen, strict=True):
        torch.testing.assert_close(a, b, rtol=5e-2 if half else 1e-2, atol=0)
    # A lost or doubled group changes the gradient by about half.
    for a, b in zip(found.grads, expected.grads, strict=True):
        assert (a - b).norm() <= (0.3 if half else 0.05) * b.norm() + NOISE
    assert torch.equal(found.drawn, expected.drawn), "drop path drew other numbers"


@pytest.mark.parametrize("name", ROWS)
def test_replayed_graphs_train_as_networks_that_are_not_compiled(name: str) -> None:
    compare(ROWS[name], GRAPHS)


@pytest.mark.parametrize("name", ["groups in turn, fp16 as in 2021", "volo", "dino"])
def test_compiled_networks_train_as_those_that_are_not(name: str) -> None:
    compare(ROWS[name], "default")


def _in_ddp(_: int, folder: Path, row: list[str]) -> None:
    with ddp_of_one(folder, torch.device("cuda", 0)):
        compare(row, GRAPHS)


@pytest.mark.parametrize("name", IN_DDP)
def test_graphs_and_ddp_train_together(tmp_path: Path, name: str) -> None:
    mp.start_processes(_in_ddp, args=(tmp_path, ROWS[name]), nprocs=1, start_method="spawn")
