"""A replay repeats the last steps of a crashed run to the bit and names the module that went bad.

Which module that is, the tests know from the weight that they spoiled, and from a forward pass
written out by hand.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from scaledrelu.config.run import RunConfig
from scaledrelu.engine.autocast import autocast_context
from scaledrelu.engine.checkpoint import read_checkpoint, save_checkpoint
from scaledrelu.engine.distributed import World
from scaledrelu.engine.watch import OUTPUT, watching
from scaledrelu.errors import ConfigError, RunError
from scaledrelu.models.attention import ScoresThenScale
from scaledrelu.runs.autopsy import Autopsy, compare, examine, first_grown, first_not_finite
from scaledrelu.runs.autopsy_text import autopsy_text
from scaledrelu.runs.build import build
from scaledrelu.runs.record import write_result
from scaledrelu.runs.replay import find_crashed
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.runs.spawn import run_job
from scaledrelu.tasks.base import Progress
from tests.helpers.tiny_runs import folder_of

# Eight steps, saved after every second one.
SMALL = (
    "stem=conv", "model.depth=2", "model.width=16", "model.heads=2", "stem.hidden=8",
    "data.fraction=0.2", "launch.checkpoint_every_steps=2",
)  # fmt: skip


def spoil(config: RunConfig, values: dict[str, float]) -> Path:
    """Train a run, then again from its last steps with the size of some weights changed."""
    run_job(config)
    folder = folder_of(config)
    state = read_checkpoint(folder / "previous.pt")
    for name, value in values.items():
        weight = state["task"][f"backbone.blocks.{name}.weight"]
        weight[:] = value * torch.sign(weight)
    for left in ("result.json", "last.pt", "previous.pt"):
        (folder / left).unlink()
    save_checkpoint(folder, state)
    run_job(config)
    return folder


def autopsy(config: RunConfig) -> Autopsy:
    return examine(find_crashed(config.paths.results, folder_of(config).name))


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def first_bad_by_hand(config: RunConfig, step: int) -> str:
    """Walk through a ViT in training mode, layer by layer; return the first that is not finite."""
    state = read_checkpoint(folder_of(config) / "last.pt")
    assert state["cursor"]["step"] == step
    job = build(config, World(0, 1, torch.device("cpu")))
    task, loader = job.training.task.train(), job.training.loader
    task.load_state_dict(state["task"])
    epoch, offset = divmod(step, loader.steps_per_epoch)
    groups = next(iter(loader.epoch(epoch, start_step=offset)))
    t = Progress(step, 100, epoch, loader.steps_per_epoch)
    images = job.training.prepare(groups, t)[0].images
    job.close()
    return walk(task.backbone, images)


def walk(net: nn.Module, images: Tensor) -> str:
    stem = net.patch_embed
    values, steps = images, [(f"patch_embed.convs.{i}", one) for i, one in enumerate(stem.convs)]
    steps += [("patch_embed.proj", stem.proj)]
    for name, layer in steps:
        values = layer(values)
        if not values.isfinite().all():
            return name
    values = net._pos_embed(values)
    branch = values
    for i, block in enumerate(net.blocks):
        inner = block.mlp
        for name, layer, takes_up in (
            ("norm1", block.norm1, False),
            ("attn", block.attn, True),
            ("norm2", block.norm2, False),
            ("mlp.fc1", inner.fc1, False),
            ("mlp.act", inner.act, False),
            ("mlp.fc2", inner.fc2, True),
        ):
            branch = layer(values if name.startswith("norm") else branch)
            if not branch.isfinite().all():
                return f"blocks.{i}.{name}"
            values = values + branch if takes_up else values
    return "none of these"


def test_the_layer_whose_weight_was_spoiled_is_named_and_the_replay_is_exact(smoke) -> None:
    config = smoke(*SMALL)
    before = contents(spoil(config, {"1.mlp.fc1": 1e25, "1.mlp.fc2": 1e25}))
    found = autopsy(config)
    assert contents(folder_of(config)) == before  # only read
    same = compare(found.crashed, found.own)
    assert (same.steps, same.largest) == (1, 0.0)
    bad = first_not_finite(found.own.seen, skipped_by_scaler=False)
    assert (bad.step, bad.event.module) == (6, "backbone.blocks.1.mlp.fc2")
    assert bad.event.module == f"backbone.{first_bad_by_hand(config, bad.step)}"
    assert math.isfinite(bad.event.fed)
    assert bad.weight == pytest.approx(1e25)
    text = autopsy_text(found, factor=100)
    assert "repeats the losses and gradient norms of 1 recorded steps exactly" in text
    assert "first not finite: backbone.blocks.1.mlp.fc2 at step 6" in text


def test_an_immense_rate_breaks_where_a_pass_by_hand_breaks_and_grew_before(smoke) -> None:
    config = smoke(*SMALL, "lr.base=1e30")
    run_job(config)
    found = autopsy(config)
    assert [seen.step for seen in found.own.seen] == [0, 1, 2]  # from the start: it is near
    assert compare(found.crashed, found.own).steps == 3
    assert compare(found.crashed, found.own).largest == 0
    bad = first_not_finite(found.own.seen, skipped_by_scaler=False)
    assert bad.event.module == f"backbone.{first_bad_by_hand(config, bad.step)}"
    grown = first_grown(found.own.seen, factor=100)
    assert (grown.step, grown.event.module) == (2, "backbone.patch_embed.convs.0")
    assert grown.event.size > 1e25 > 100 > grown.before
    first = found.crashed.result.crash["last"][0]
    first["loss"] *= 1 + 1e-4  # as another order of sums would leave it
    text = autopsy_text(found, factor=100)
    assert "repeats the losses and gradient norms of 3 recorded steps to within 0.0001" in text
    assert "does not repeat" not in text
    first["loss"] *= 1.5  # a record that says something else
    assert compare(found.crashed, found.own).largest == pytest.approx(1 / 3, rel=1e-3)
    assert "does not repeat" in autopsy_text(found, factor=100)
    for left in ("last.pt", "previous.pt"):
        (folder_of(config) / left).unlink(missing_ok=True)
    with pytest.raises(RunError, match="its checkpoint is gone"):
        find_crashed(config.paths.results, folder_of(config).name)


def test_a_norm_that_overflows_over_finite_gradients_is_told_from_a_bad_module(smoke) -> None:
    """Squares of finite gradients need not be finite; no module is to blame then."""
    config = smoke(*SMALL, "lr.base=1e3")
    run_job(config)
    found = autopsy(config)
    last = found.crashed.result.crash["last"][-1]
    assert (math.isfinite(last["loss"]), float(last["grad_norm"])) == (True, math.inf)
    assert first_not_finite(found.own.seen, skipped_by_scaler=False) is None
    reason = found.crashed.result.crash["reason"]
    found.crashed.result.crash["reason"] = "the loss was not finite"  # as older records have it
    text = autopsy_text(found, factor=100)
    assert text.splitlines()[0].endswith(reason)
    assert reason.startswith("the gradient norm was inf at step")
    assert "every output and gradient of these steps is finite" in text
    assert "only the norm of all gradients together overflowed, at step" in text


@pytest.mark.parametrize(("autocast", "named"), [("fp16", "0"), ("none", None)])
def test_a_product_between_the_layers_of_a_module_is_the_modules_own(autocast, named) -> None:
    net = nn.Sequential(ScoresThenScale(16, num_heads=2), nn.Linear(16, 1))
    nn.init.constant_(net[0].qkv.weight, 20.0)  # scores of 8 x (16 x 20)^2 in fp16
    with watching(net) as watch:
        with autocast_context(autocast, torch.device("cpu")):
            loss = net(torch.ones(2, 4, 16)).sum()
        watch.end_update(0, scale=1.0)
    assert loss.isfinite() == (named is None)
    bad = first_not_finite(watch.seen, skipped_by_scaler=True)
    assert (bad and bad.event.module) == named


@pytest.mark.slow
def test_scores_beyond_fp16_break_attention_there_and_not_in_fp32(smoke) -> None:
    config = smoke(*SMALL, "precision=fp16_2021", "launch.fp16_on_cpu=true", "launch.device=cpu")
    spoil(config, {"0.attn.qkv": 60.0})
    found = autopsy(config)
    assert compare(found.crashed, found.own).largest == 0
    bad = first_not_finite(found.own.seen, skipped_by_scaler=True)
    assert bad.event.module == "backbone.blocks.0.attn"  # between its parts: q k^T
    assert bad.event.fed < 65504
    in_full = [seen for seen in found.full.seen if seen.step == bad.step]
    assert all(math.isfinite(event.size) for event in in_full[0].events)
    text = autopsy_text(found, factor=100)
    assert "fp16: first not finite: backbone.blocks.0.attn at step 6" in text
    assert "fp32: every output and gradient of these steps is finite" in text


def test_a_collapse_is_shown_dead_beside_alive_and_no_module_is_blamed(smoke) -> None:
    config = smoke(*SMALL, "divergence.ratio=0.1")  # any finite loss is dead
    run_job(config)
    found = autopsy(config)
    assert found.crashed.result.crash["kind"] == "collapsed"
    assert found.healthy.step <= found.crashed.dead_from
    text = autopsy_text(found, factor=1.01)
    assert "a collapse has no bad value to find" in text
    assert "first not finite" not in text
    assert "changed by more than 1.01 times in" in text
    assert compare(found.crashed, found.own).largest == 0


def test_what_cannot_be_examined_is_refused_in_one_line(smoke) -> None:
    config = smoke(*SMALL)
    results, folder = config.paths.results, folder_of(config)

    def refused() -> str:
        with pytest.raises(ConfigError) as caught:
            find_crashed(results, folder.name)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such run" in refused()
    folder.mkdir(parents=True)
    assert "has no result yet" in refused()
    ok = Result(
        run_id=folder.name,
        outcome=Outcome.OK,
        metrics={},
        crash=None,
        provenance={},
        seconds=1.0,
    )
    write_result(folder, ok, {})
    assert "did not crash (ok)" in refused()


def test_a_gradient_is_blamed_only_where_every_output_is_finite() -> None:
    class Steep(nn.Module):
        """Finite output, infinite gradient: the square root at zero."""

        def forward(self, values: Tensor) -> Tensor:
            return values.sqrt()

    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), Steep(), nn.Linear(3, 1))
    nn.init.constant_(net[0].weight, -1.0)  # the ReLU gives zeros
    with watching(net) as watch:
        net.eval()(torch.full((1, 3), math.nan))  # an evaluation is no update
        net.train()
        net(torch.ones(4, 3)).sum().backward()
        watch.end_update(7, scale=1.0)
    bad = first_not_finite(watch.seen, skipped_by_scaler=False)
    assert (bad.step, bad.event.module, bad.event.what) == (7, "1", "gradient at its output")
    assert first_not_finite(watch.seen, skipped_by_scaler=True) is None
    outputs = [event.module for event in watch.seen[0].events if event.what == OUTPUT]
    assert outputs == ["0", "1", "2", "3", "the loss"]
