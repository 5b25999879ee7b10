"""All groups in one pass give the gradients, weights and statistics of one pass per group."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scaledrelu.config.compose import compose
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.distributed import World
from scaledrelu.errors import ConfigError
from scaledrelu.runs.build import build_task, build_update, local_groups
from scaledrelu.runs.dry import noise
from scaledrelu.runs.optimisation import build_optimizer
from scaledrelu.runs.prepare import prepare_for
from scaledrelu.tasks.base import Progress
from tests.helpers.two_ranks import on_two_ranks

CPU = torch.device("cpu")
WORLD = World(0, 1, CPU)
TINY = ("profile=smoke", "model.depth=2", "model.width=16", "model.heads=2", "stem.hidden=4")
GROUPS = ("batch.total=12", "batch.group=4", "profile.batch_scale=1.0", "launch.device=cpu")
CHANCE = ("model.drop_path=0.5", "augment.mixup=0.8", "augment.cutmix=1.0")
FOUR = ("stem=conv", "batch.total=16")
MODELS = {
    "patchify": ["stem=patchify"],
    "conv": ["stem=conv"],
    "conv, convolutional FFNs": ["stem=conv", "ffn=conv1d_bn"],
}
OPTIMIZERS = {
    "adamw": ["optimizer=adamw"],
    "sam": ["optimizer=sam", "optimizer.sam.per_group=false"],
    "sam, same masks": ["optimizer=sam", "optimizer.sam.per_group=false",
                        "optimizer.sam.same_masks=true",
                        "optimizer.sam.stats_in_second_pass=true"],
}  # fmt: skip


def config_of(*overrides: str) -> RunConfig:
    return compose([*TINY, *GROUPS, *CHANCE, *overrides])


def at_once(config: RunConfig) -> RunConfig:
    return replace(config, launch=replace(config.launch, groups_at_once=True))


def train(
    config: RunConfig, world: World = WORLD, steps: int = 2
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Return the gradients of all steps and the state after them, in float64."""
    torch.manual_seed(0)
    task = build_task(config, 10).double().train()
    optimizer = build_optimizer(config.optimizer, task, lr=1e-3)
    update = build_update(config, task, optimizer, None, world)
    prepare, grads = prepare_for(config, task, 10, CPU), []
    for step in range(steps):
        t = Progress(step, 10, 0, 10)
        groups = prepare([noise(config, 10, group) for group in local_groups(config, world)], t)
        batches = [replace(b, images=b.images.double(), targets=b.targets.double()) for b in groups]
        update.gradients(batches, t)
        grads += [p.grad.clone() for p in task.parameters()]
        update.apply(torch.tensor(False), t)
    return grads, task.state_dict()


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        ("patchify", "adamw"),
        ("conv", "adamw"),
        ("conv", "sam"),
        ("conv, convolutional FFNs", "adamw"),
        ("conv, convolutional FFNs", "sam, same masks"),
    ],
)
def test_all_groups_in_one_pass_train_as_one_after_the_other(model, optimizer):
    config = config_of(*MODELS[model], *OPTIMIZERS[optimizer])
    (expected, state), (found, joined_state) = train(config), train(at_once(config))
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-12)
    assert state.keys() == joined_state.keys()
    for name, value in state.items():
        torch.testing.assert_close(joined_state[name], value, rtol=1e-6, atol=1e-8, msg=name)


def on_a_rank(rank: int) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    return train(at_once(config_of(*FOUR)), World(rank, 2, CPU))


def test_two_ranks_with_two_groups_each_train_as_one_process_with_four(tmp_path):
    expected, state = train(config_of(*FOUR))
    ranks = on_two_ranks(on_a_rank, tmp_path)
    for grads, _ in ranks:
        for a, b in zip(expected, grads, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-12)
    for name, value in state.items():  # rank 0 holds group 0, which running statistics follow
        torch.testing.assert_close(ranks[0][1][name], value, rtol=1e-6, atol=1e-8, msg=name)


def test_groups_differ_enough_for_the_claim_above():
    config = config_of("stem=conv")
    whole = compose([*TINY, *GROUPS, *CHANCE, "stem=conv", "batch.group=12"])
    first, second = train(config)[0][0], train(whole)[0][0]
    assert (first - second).abs().max() > 1e-3 * first.abs().max()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["recipe=volo", "model=volo_d1", "data.token_labels=none"], "volo computes its loss"),
        (["optimizer=sam", "optimizer.sam.per_group=true"], "moves the weights group by group"),
    ],
)
def test_what_needs_its_groups_apart_is_refused_in_one_line(overrides, message):
    base = [o for o in TINY if "volo_d1" not in str(overrides) or o == "profile=smoke"]
    config = compose([*base, *GROUPS, "launch.groups_at_once=true", "stem=conv", *overrides])
    task = build_task(config, 10)
    optimizer = build_optimizer(config.optimizer, task, lr=1e-3)
    with pytest.raises(ConfigError, match=message) as error:
        build_update(config, task, optimizer, None, WORLD)
    assert "\n" not in str(error.value)
