"""One process with four groups and two processes with two groups each train the same."""

import pytest
import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from scaledrelu.engine.statistics import sync_buffers
from tests.helpers.step_toys import Toy, adamw, at, conv_net, make_update, pictures, sam
from tests.helpers.two_ranks import on_two_ranks

CASES = {
    "plain": {},
    "clipped": {"clip_grad": 0.05},
    "sam": {"sam": sam()},
    "sam_same_masks": {"sam": sam(same_masks=True, stats_in_second_pass=True)},
    "sam_per_group": {"sam": sam(per_group=True)},
}
SCALED = ("plain", "sam", "sam_per_group")
STEPS = 4


def train(name, groups, wrap=lambda task: task, trap=frozenset()):
    """Train a few steps and return what ranks and processes must agree on."""
    task = Toy(conv_net())
    task.trap = {(1, group) for group in trap}
    wrapped = wrap(task)
    optimizer = adamw(task)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0) if trap else None
    update = make_update(wrapped, optimizer, scaler=scaler, groups_local=groups, **CASES[name])
    norms = []
    for step in range(STEPS):
        report = update([pictures(step, group) for group in groups], at(step))
        norms.append(report.grad_norm)
    statistics = task.backbone[1].running_mean.clone()
    sync_buffers(wrapped)
    state = {key: value.clone() for key, value in task.state_dict().items()}
    scale = scaler.get_scale() if trap else 1.0
    return {"norms": torch.stack(norms), "state": state, "scale": scale, "own": statistics}


def work(rank):
    syncs = []

    def count(_, bucket):
        syncs.append(bucket.index())
        return allreduce_hook(None, bucket)

    def wrap(task):
        ddp = DistributedDataParallel(task, broadcast_buffers=False, gradient_as_bucket_view=True)
        ddp.register_comm_hook(None, count)
        return ddp

    groups = (0, 1) if rank == 0 else (2, 3)
    found = {}
    for name in CASES:
        syncs.clear()
        found[name] = train(name, groups, wrap) | {"syncs": len(syncs)}
    trapped = {name: train(name, groups, wrap, {3} & set(groups) or {9}) for name in SCALED}
    return {"found": found, "trapped": trapped}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_ranks(work, tmp_path_factory.mktemp("ranks"))


def assert_same(expected, found):
    torch.testing.assert_close(found["norms"], expected["norms"], rtol=1e-9, atol=0, equal_nan=True)
    for key, value in expected["state"].items():
        torch.testing.assert_close(found["state"][key], value, rtol=1e-9, atol=1e-11, msg=key)
    assert found["scale"] == expected["scale"]


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_equal_one_process(name, ranks):
    expected = train(name, (0, 1, 2, 3))
    for rank in ranks:
        assert_same(expected, rank["found"][name])


def test_the_cases_differ_from_each_other(ranks):
    weights = [rank["state"]["backbone.0.weight"] for rank in ranks[0]["found"].values()]
    assert len({tuple(w.flatten().tolist()) for w in weights}) == len(CASES)


@pytest.mark.parametrize("name", CASES)
def test_ranks_exchange_gradients_once_a_pass_and_never_between_groups(name, ranks):
    passes = {"plain": 1, "clipped": 1, "sam": 2, "sam_same_masks": 2, "sam_per_group": 0}
    for rank in ranks:  # per group, the one exchange is not DDP's
        assert rank["found"][name]["syncs"] == STEPS * passes[name]


def test_statistics_are_rank_zeros_after_the_exchange_only(ranks):
    first, second = (rank["found"]["plain"] for rank in ranks)
    key = "backbone.1.running_mean"
    assert torch.equal(first["own"], first["state"][key])
    assert torch.equal(second["own"], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(second["state"][key], first["state"][key])


@pytest.mark.parametrize("name", SCALED)
def test_an_overflow_on_one_rank_skips_the_step_on_both(name, ranks):
    expected = train(name, (0, 1, 2, 3), trap={3})
    assert expected["scale"] == 512.0
    assert expected["norms"].isfinite().tolist() == [True, False, True, True]
    for rank in ranks:
        assert_same(expected, rank["trapped"][name])
