"""On a GPU: every kind of step, whole runs, resuming, retrieval; a few seconds each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scaledrelu.bench.cases import Case
from scaledrelu.bench.gpu_step import host_syncs
from scaledrelu.bench.measure import build_sides, steppers
from scaledrelu.config.compose import compose
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.checkpoint import load_latest
from scaledrelu.engine.distributed import World
from scaledrelu.evals.knn import nearest
from scaledrelu.evals.ranking import Embedded, rank_gallery
from scaledrelu.models.attention import ScoresThenScale
from scaledrelu.models.sync_batchnorm import sync_batchnorm
from scaledrelu.runs.build import build_task
from scaledrelu.runs.dry import dry_step
from scaledrelu.runs.execute import execute
from scaledrelu.runs.record import read_result
from scaledrelu.runs.spawn import run_job
from tests.helpers.tiny_runs import folder_of
from tests.helpers.two_ranks import on_two_ranks
from tests.helpers.updates import CLASSES, SGD_ROWS, config_of, update_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GPU = "cuda"
ON = f"launch.device={GPU}"

Smoke = Callable[..., RunConfig]


@pytest.mark.parametrize(
    ("precision", "optimizer"),
    [("fp16_2021", "adamw"), ("fp16_2021", "sam"), ("bf16", "sam"), ("fp32", "adamw")],
)
def test_a_run_ends_with_a_result_in_every_precision(
    smoke: Smoke, precision: str, optimizer: str
) -> None:
    config = smoke(ON, "stem=conv", f"precision={precision}", f"optimizer={optimizer}")
    report = run_job(config)
    assert report.ended in ("ok", "crash"), report.reason
    result = read_result(folder_of(config))
    assert torch.cuda.get_device_name() in result.provenance["device"]
    assert 0 <= result.metrics["val/top1"] <= 100


@pytest.mark.parametrize("channels_last", ["true", "false"])
def test_a_run_ends_in_either_memory_layout(smoke: Smoke, channels_last: str) -> None:
    config = smoke(ON, "stem=conv", f"launch.channels_last={channels_last}", "augment.erasing=0.5")
    assert run_job(config).ended == "ok"


@pytest.mark.parametrize("recipe", ["dino", "volo"])
def test_other_methods_train_and_are_evaluated(smoke: Smoke, recipe: str) -> None:
    more = ["model=volo_d1", "data.token_labels=none"] if recipe == "volo" else []
    config = smoke(ON, f"recipe={recipe}", "precision=fp16_2021", *more)
    report = run_job(config)
    assert report.ended in ("ok", "crash"), report.reason


ROWS = [
    ["recipe=deit", "stem=conv", "optimizer=sam"],
    ["recipe=volo", "model=volo_d1", "stem=conv"],
    ["recipe=volo", "model=volo_d1", "stem=patchify", "ffn=conv1d_bn", "optimizer=sam"],
    ["recipe=dino", "stem=conv"],
    ["recipe=linear_probe", "stem=conv"],
    ["recipe=reid", "data=market1501", "stem=conv"],
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row))
def test_a_step_at_paper_size_has_a_finite_loss(row: list[str]) -> None:
    few = ["batch.total=4", "batch.group=4", "launch=local", "launch.compile=false", ON]
    few += ["batch.instances=2"] if "recipe=reid" in row else []
    config = compose(["profile=paper", "precision=fp16_2021", *few, *row])
    report = dry_step(config, num_classes=10, device=GPU)
    assert report.loss > 0


@pytest.mark.parametrize(
    "case",
    [
        *(Case("mini", "conv", o, p) for p in ("fp16_2021", "bf16") for o in ("adamw", "sam")),
        Case("mini", "conv", precision="fp16_2021", groups=4, at_once=True),
        Case("mini", "conv", precision="fp16_2021", groups=4),
        Case("mini", "conv", precision="fp16_2021", recipe="volo"),
        Case("mini", "conv", precision="fp16_2021", recipe="dino", batch=32),
    ],
    ids=lambda case: case.label,
)
def test_between_two_readings_the_loop_never_waits(case: Case) -> None:
    device = torch.device(GPU, 0)
    step, _ = steppers(build_sides(case, device), case)
    for _ in range(3):  # what is allocated or chosen once
        step()
    assert host_syncs(step, device) == 0


@pytest.mark.parametrize("row", SGD_ROWS, ids=" ".join)
def test_with_sgd_the_loop_never_waits_either(row: tuple[str, ...]) -> None:
    config, device = config_of((*row, ON)), torch.device(GPU, 0)
    task = build_task(config, CLASSES).to(device).to(memory_format=torch.channels_last)
    _, step = update_of(config, task, device)
    for _ in range(3):  # what is allocated or chosen once
        step()
    assert host_syncs(step, device) == 0


def test_a_step_that_the_loss_scaler_skips_is_no_crash(smoke: Smoke) -> None:
    config = smoke(ON, "stem=conv", "precision=fp16", "precision.initial_scale=1099511627776")
    assert run_job(config).ended == "ok"
    rows = [json.loads(line) for line in (folder_of(config) / "metrics.jsonl").open()]
    scales = [row["train/loss_scale"] for row in rows if "train/loss_scale" in row]
    assert 0 < scales[-1] < 2.0**40


@pytest.mark.parametrize("optimizer", ["sam", "sgd"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_a_stopped_run_goes_on_from_its_checkpoint_in_either_memory_layout(
    smoke: Smoke, optimizer: str, channels_last: bool
) -> None:
    config = smoke(ON, "stem=conv", "precision=fp16_2021", f"optimizer={optimizer}", "seed=3")
    assert config.launch.channels_last
    folder = folder_of(config)
    folder.mkdir(parents=True)
    asked = iter([False])
    world = World(0, 1, torch.device(GPU, 0))
    assert execute(config, world, folder, wants_stop=lambda: next(asked, True)) is None
    stopped = load_latest(folder)["cursor"]["step"]
    assert stopped > 0
    resumed = replace(config, launch=replace(config.launch, channels_last=channels_last))
    assert run_job(resumed).ended in ("ok", "crash")
    assert load_latest(folder)["cursor"]["step"] > stopped
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()]
    assert steps == sorted(steps)


def test_retrieval_ranks_as_on_the_host() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randint(-3, 4, (400, 8), generator=draw).float()
    ids = torch.randint(0, 20, (400,), generator=draw)
    cameras = torch.randint(0, 4, (400,), generator=draw)

    def found(device: str) -> Any:
        images = Embedded(*(x.to(device) for x in (features, ids, cameras)))
        return rank_gallery(images.at(slice(100)), images.at(slice(100, None)), chunk=32)

    host, gpu = found("cpu"), found(GPU)
    assert gpu.map == pytest.approx(host.map, abs=1e-12)
    assert torch.equal(gpu.first_hit.cpu(), host.first_hit)
    assert torch.equal(gpu.cmc.cpu(), host.cmc)


def test_equally_near_neighbours_come_in_the_order_of_the_set() -> None:
    similarity = torch.randint(0, 3, (50, 300), generator=torch.Generator().manual_seed(0)).float()
    host, gpu = nearest(similarity, 20), nearest(similarity.to(GPU), 20)
    assert torch.equal(host[1], gpu[1].cpu())


def norm_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def norm_images() -> Tensor:
    return torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 3 + 1


def synced(rank: int) -> dict[str, Tensor]:
    """What one of two ranks on the same GPU computes from its half of the images."""
    device = torch.device(GPU, 0)
    net = sync_batchnorm(norm_net().to(device), device)
    output = net(norm_images().chunk(2)[rank].to(device))
    return {"output": output.detach().cpu(), "mean": net[1].running_mean.cpu()}


def test_batchnorm_over_two_ranks_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    ranks = on_two_ranks(synced, tmp_path)
    net = norm_net()
    whole = net(norm_images()).detach()
    found = torch.cat([rank["output"] for rank in ranks])
    torch.testing.assert_close(found, whole, rtol=1e-2, atol=1e-2)  # convolutions use TF32
    torch.testing.assert_close(ranks[0]["mean"], net[1].running_mean, rtol=1e-2, atol=1e-2)


def test_a_compiled_run_leaves_the_same_kind_of_evidence(smoke: Smoke) -> None:
    import numpy as np

    config = smoke(ON, "stem=conv", "precision=bf16")
    compiled = replace(config, launch=replace(config.launch, compile=True))
    assert run_job(compiled).ended == "ok"
    evidence = np.load(folder_of(compiled) / "evidence.npz")
    assert evidence["max.activation"] > 0, "the probe's hooks must be seen by a compiled network"


def test_unscaled_scores_overflow_in_compiled_attention_as_well() -> None:
    # d = 64 features of 48: q k^T = 147,456 > 65,504, scaled 18,432.
    attention = ScoresThenScale(64, num_heads=1, qkv_bias=True).to(GPU)
    nn.init.zeros_(attention.qkv.weight)
    nn.init.constant_(attention.qkv.bias, 48.0)
    attention.compile(dynamic=False)
    tokens = torch.randn(2, 3, 64, device=GPU)
    with torch.autocast(GPU, dtype=torch.float16):
        assert attention(tokens).isnan().all()
        with torch.no_grad():
            assert attention(tokens).isnan().all()
