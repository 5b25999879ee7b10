"""What a replayed CUDA graph overwrites is needed by nobody; pretended on a CPU.

Replayed graphs put their results where those of the last step were. Here a back-end makes NaN of
all results of a step, gradients among them, as soon as a network is called in the next one. What a
step is follows torch's rules: what `cudagraph_mark_step_begin` says, or without it every call of a
network for which no backward pass is due.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._inductor.cudagraph_trees import MarkStepBox
from torch.fx import GraphModule

from scaledrelu.config.compose import compose
from scaledrelu.runs import build
from tests.helpers.compiled_rows import COMMON, ROWS, STEPS, ddp_of_one, train_steps

CPU = torch.device("cpu")


class Replays:
    """A back-end whose graphs overwrite the results of the last step.

    Attributes:
        steps: how many steps it has seen.
        backend: what ``torch.compile`` takes.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.backend = aot_autograd(
            fw_compiler=self._compiler("forward"),
            bw_compiler=self._compiler("backward"),
            inference_compiler=self._compiler("inference"),
            partition_fn=min_cut_rematerialization_partition,
        )
        self._marked: int | None = None
        self._backward_is_due = False
        self._results: list[Tensor] = []

    def _compiler(self, mode: str) -> Callable:
        def compiled(graph: GraphModule, _: Sequence[Tensor]) -> Callable:
            def run(*inputs: object) -> Sequence[object]:
                self._enter(mode)
                results = graph(*inputs)
                self._backward_is_due = mode == "forward" or (
                    self._backward_is_due and mode == "inference"
                )
                given = {x.untyped_storage().data_ptr() for x in inputs if isinstance(x, Tensor)}
                # An alias, so that autograd may still take the tensor itself as a gradient.
                self._results += [
                    x.detach()
                    for x in results
                    if isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in given
                ]
                return results

            return make_boxed_func(run)

        return compiled

    def _enter(self, mode: str) -> None:
        marked = MarkStepBox.mark_step_counter
        begins = mode != "backward" and not self._backward_is_due
        if marked:
            begins = marked != self._marked
        self._marked = marked
        if begins:
            self.steps += 1
            for result in self._results:
                if result.is_floating_point():
                    result.fill_(math.nan)
            self._results = []


def _compare(_: int, row: list[str], folder: Path | None) -> None:
    with ddp_of_one(folder, CPU) if folder else nullcontext():
        compare(row)


def compare(row: list[str]) -> None:
    compiles, replays = build.compile_networks, Replays()
    build.compile_networks = lambda task, **_: compiles(task, backend=replays.backend)
    plain, replayed = (
        train_steps(compose([*COMMON, *row, "launch.device=cpu", f"launch.compile={word}"]), CPU)
        for word in ("false", "true")
    )
    for a, b in zip(replayed.seen + replayed.grads, plain.seen + plain.grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert torch.equal(replayed.drawn, plain.drawn)
    assert replays.steps == STEPS


def in_a_process(row: list[str], folder: Path | None) -> None:
    start_method = "spawn" if torch.cuda.is_available() else "fork"
    mp.start_processes(_compare, args=(row, folder), nprocs=1, start_method=start_method)


QUICK = "groups in turn"
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ROWS if name != QUICK]


@pytest.mark.parametrize("name", [QUICK, *SLOW])
def test_results_of_a_step_are_not_needed_in_the_next(name: str) -> None:
    in_a_process(ROWS[name], None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_results_of_a_step_in_ddp_are_not_needed_in_the_next(tmp_path: Path, name: str) -> None:
    in_a_process(ROWS[name], tmp_path)
