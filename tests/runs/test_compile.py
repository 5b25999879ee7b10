"""Every network of the tables compiles into whole graphs, whose results are those without.

A break of the graph raises an error here: fullgraph=True. The back-end only replays what was
traced, since what a real one makes of it is torch's affair; but where scores may overflow, they
must do so in torch's own back-end as well. Each network is compiled in a process of its own,
because no process can fork one that trains after it has compiled.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.utils import counters
from torch._inductor.compile_fx import compile_fx
from torch.fx import GraphModule

from scaledrelu.config.compose import compose
from scaledrelu.config.launch import LaunchConfig
from scaledrelu.config.options import group_options
from scaledrelu.config.places import CONF_DIR
from scaledrelu.engine.autocast import autocast_context
from scaledrelu.engine.distributed import World
from scaledrelu.models.sync_batchnorm import RanksBatchNorm, leave_uncompiled
from scaledrelu.runs import build
from scaledrelu.runs.dry import dry_step, noise
from scaledrelu.runs.feed import Validation
from scaledrelu.runs.observe import build_evaluation
from scaledrelu.runs.optimisation import build_optimizer
from scaledrelu.runs.prepare import prepare_for
from scaledrelu.tasks.base import Progress

CPU = torch.device("cpu")
OPTIONS = group_options(CONF_DIR)
COMMON = ["profile=smoke", "launch.device=cpu", "batch.total=4", "batch.group=4"]
COMMON += ["profile.batch_scale=1.0", "launch.compile=true"]
VIT = ["model=vit_small", "model.depth=2", "model.drop_path=0.2", "stem.hidden=4"]
METHODS = {
    "deit": ["recipe=deit", *VIT],
    "volo": ["recipe=volo", "model=volo_d1", "model.drop_path=0.2", "data.token_labels=none"],
    "dino": ["recipe=dino", *VIT],
    "reid": ["recipe=reid", *VIT, "data=market1501", "batch.instances=2"],
}
HALF = ["precision=bf16", "precision.attention=scores_then_scale"]  # fp16_2021, but for CPUs
FEW = {
    "deit, convolutional FFNs": [*METHODS["deit"], "stem=patchify", "ffn=conv1d_bn"],
    "deit, groups at once": [*METHODS["deit"], "stem=conv", "batch.group=2",
                             "launch.groups_at_once=true"],
    "volo": [*METHODS["volo"], "stem=conv", *HALF],
    "dino": [*METHODS["dino"], "stem=conv"],
}  # fmt: skip
ALL = [(method, stem, "mlp") for method in METHODS for stem in OPTIONS["stem"]]
ALL += [(m, s, f) for m in ("deit", "volo") for s in ("patchify", "conv") for f in OPTIONS["ffn"]]


def in_a_process(function: Callable[..., None], *args: object) -> None:
    start_method = "spawn" if torch.cuda.is_available() else "fork"
    mp.start_processes(function, args=args, nprocs=1, start_method=start_method)


def step(overrides: list[str]) -> None:
    """Compare the gradients of an update with and without compiled networks."""
    in_a_process(_step, overrides)


def _step(_: int, overrides: list[str]) -> None:
    compiles = build.compile_networks
    build.compile_networks = lambda task, **_: compiles(task, backend="eager", fullgraph=True)
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    config = compose([*COMMON, *overrides])
    plain = replace(config, launch=replace(config.launch, compile=False))
    expected = gradients(plain)
    counters.clear()
    found = gradients(config)
    assert counters["stats"]["unique_graphs"] > 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def gradients(config: build.RunConfig) -> list[torch.Tensor]:
    torch.manual_seed(0)
    task, world = build.build_task(config, 10).train(), World(0, 1, CPU)
    optimizer = build_optimizer(config.optimizer, task, lr=1e-3)
    update = build.build_update(config, task, optimizer, None, world)
    groups = [noise(config, 10, group) for group in build.local_groups(config, world)]
    t = Progress(0, 10, 0, 10)
    report = update.gradients(prepare_for(config, task, 10, CPU)(groups, t), t)
    return [report.loss, *(p.grad for p in task.parameters() if p.grad is not None)]


def _raises(graph: GraphModule, inputs: Sequence[torch.Tensor]) -> Callable:
    raise RuntimeError("no C compiler")


FAILING = {
    "network": _raises,
    "gradient": aot_autograd(fw_compiler=lambda graph, _: graph, bw_compiler=_raises),
}


def _fails(_: int, what: str, compiled: bool | None) -> None:
    """Take an update whose networks, or their gradients, cannot be compiled."""
    compiles = build.compile_networks
    build.compile_networks = lambda task, *, may_fail, options: compiles(
        task, may_fail=may_fail, backend=FAILING[what]
    )
    LaunchConfig.compiles = lambda self, *_: self.compile is not False
    config = compose([*COMMON, *METHODS["deit"], "stem=patchify", "model.depth=1"])
    plain, tried = (
        replace(config, launch=replace(config.launch, compile=one)) for one in (False, compiled)
    )
    for a, b in zip(gradients(tried), gradients(plain), strict=True):
        assert torch.equal(a, b)


def replay(graph: GraphModule, inputs: Sequence[torch.Tensor], **_: object) -> Callable:
    """Run a graph as torch's own back-end has rewritten it, in place of the code it would write."""
    return make_boxed_func(graph.forward)


def _overflow(_: int, overrides: list[str], cache: Path, backend: str) -> None:
    """Compare a forward pass in fp16 with and without compiled networks, and gradients.

    Args:
        cache: folder for what torch's back-end writes.
        backend: "inductor", or "replay" for its graphs without the code that it would write.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    compiler = partial(compile_fx, inner_compile=replay) if backend == "replay" else backend
    config = compose([*COMMON, "precision=fp16_2021", "launch.fp16_on_cpu=true", *overrides])
    torch.manual_seed(0)
    task = build.build_task(config, 10).eval()
    images = torch.randn(2, 3, config.data.height, config.data.width)
    with torch.no_grad():
        for name, weight in task.backbone.named_parameters():
            if name.endswith("attn.qkv.weight"):
                weight.mul_(3000)  # q k^T > 65,504, and finite were q scaled before
    with autocast_context("fp16", CPU):
        expected = task.backbone(images)
        build.compile_networks(task, backend=compiler)
        found = [task.backbone(images)]
        with torch.no_grad():
            found.append(task.backbone(images))
    assert expected.isnan().all()
    assert all(logits.isnan().all() for logits in found)
    assert counters["stats"]["unique_graphs"] >= 2  # with gradients and without
    assert counters["inductor"]["pattern_matcher_count"] > 0
    assert counters["inductor"]["fuse_attention"] == 0


def test_a_compiled_network_is_one_graph_with_the_same_gradients():
    step([*METHODS["deit"], "stem=conv", "model.depth=1", *HALF])


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_every_kind_of_compiled_network_has_the_same_gradients(name):
    step(FEW[name])


@pytest.mark.slow
@pytest.mark.parametrize(("method", "stem", "ffn"), ALL, ids=lambda word: word)
def test_every_method_stem_and_ffn_is_one_graph(method, stem, ffn):
    step([*METHODS[method], f"stem={stem}", f"ffn={ffn}"])


SLOWER = [  # a grid of tokens, and a teacher without gradients
    pytest.param(method, marks=pytest.mark.slow) for method in ("volo", "dino")
]


@pytest.mark.parametrize("method", ["deit", *SLOWER])
def test_scores_of_2021_overflow_in_a_compiled_network_as_well(method, tmp_path):
    in_a_process(_overflow, [*METHODS[method], "stem=patchify"], tmp_path, "replay")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="the code for a CPU has to be compiled")
def test_scores_of_2021_overflow_in_the_code_that_is_written_for_them(tmp_path):
    overrides = [*METHODS["deit"], "stem=patchify", "model.depth=1"]
    in_a_process(_overflow, overrides, tmp_path, "inductor")


EARLY = [pytest.param(what, marks=pytest.mark.slow) for what in FAILING if what != "gradient"]


@pytest.mark.parametrize("what", ["gradient", *EARLY])
def test_where_compiling_is_no_request_a_network_that_fails_trains_as_it_is(what):
    in_a_process(_fails, what, None)
    with pytest.raises(mp.ProcessRaisedException, match="no C compiler"):
        in_a_process(_fails, what, True)


def _dry(_: int) -> None:
    """Take a dry step; only its training pass may be compiled."""
    trains = []

    def note(graph: GraphModule, inputs: Sequence[torch.Tensor]) -> Callable:
        trains.append(torch.is_grad_enabled())
        return graph.forward

    compiles = build.compile_networks
    build.compile_networks = lambda task, **_: compiles(task, backend=note)
    dry_step(compose([*COMMON, *METHODS["deit"], "stem=patchify"]), num_classes=10)
    assert trains == [True]


def test_a_dry_step_compiles_nothing_for_its_evaluation():
    in_a_process(_dry)


class AroundNorm(nn.Module):
    """A layer, a BatchNorm over all ranks and another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
        self.norm = RanksBatchNorm.like(nn.BatchNorm1d(4))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.second(self.norm(self.first(rows)))


def _over_ranks(_: int) -> None:
    network, rows, calls = AroundNorm().eval(), torch.randn(5, 3), []
    expected = network(rows)

    def note(graph: GraphModule, inputs: Sequence[torch.Tensor]) -> Callable:
        calls.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    leave_uncompiled(network)
    network.compile(backend=note)
    assert torch.equal(network(rows), expected)
    assert calls == 2 * [nn.functional.linear]


def test_a_norm_over_all_ranks_is_in_no_graph():
    in_a_process(_over_ranks)


def _evaluation(_: int) -> None:
    """Evaluate twice, compiled and not."""
    overrides = [*COMMON, *METHODS["deit"], "stem=patchify"]
    config, world = compose(overrides), World(0, 1, CPU)
    plain = replace(config, launch=replace(config.launch, compile=False))
    splits = build.open_data(config)
    task = build.build_task(config, splits.num_classes).eval()
    graphs, found = [], []

    def note(graph: GraphModule, inputs: Sequence[torch.Tensor]) -> Callable:
        graphs.append(graph)
        return graph.forward

    for one in (plain, config):
        if one.launch.compile:
            build.compile_networks(task, backend=note)
        with closing(Validation(one, splits.val, world)) as images:
            evaluate = build_evaluation(one, task, images, world, splits)
            found += [evaluate(Progress(0, 10, 0, 10)).metrics for _ in range(2)]
    assert found[0] == found[1] == found[2] == found[3]
    assert not graphs


def test_no_graph_is_compiled_for_an_evaluation():
    in_a_process(_evaluation)
