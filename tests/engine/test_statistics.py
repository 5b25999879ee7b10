import pytest
import torch
from torch import nn

from scaledrelu.engine.statistics import RunningStatistics
from tests.helpers.step_toys import Toy, adamw, at, conv_net, make_update, pictures, sam


def statistics_after(batches, groups, **changes):
    task = Toy(conv_net())
    update = make_update(task, adamw(task), groups_local=groups, **changes)
    update(batches, at(0))
    norm = task.backbone[1]
    assert norm.track_running_stats
    return norm


def expected_after(net, inputs):
    """Statistics after plain forward passes of these inputs through the first two layers."""
    net.train()
    for x in inputs:
        net[1](net[0](x).detach())
    return net[1]


@pytest.mark.parametrize("spec", [None, sam(), sam(per_group=True)], ids=["plain", "sam", "each"])
def test_running_statistics_follow_group_zero_and_the_first_pass(spec):
    batches = [pictures(0, 2), pictures(0, 0), pictures(0, 1)]
    norm = statistics_after(batches, (2, 0, 1), sam=spec)
    alone = expected_after(conv_net(), [batches[1].images])
    torch.testing.assert_close(norm.running_mean, alone.running_mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(norm.running_var, alone.running_var, rtol=1e-12, atol=0)
    assert int(norm.num_batches_tracked) == 1


def test_a_process_without_group_zero_updates_nothing():
    norm = statistics_after([pictures(0, 1)], (1,))
    assert int(norm.num_batches_tracked) == 0
    assert torch.equal(norm.running_mean, torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("per_group", [False, True])
def test_second_pass_updates_statistics_only_where_asked(per_group):
    batches = [pictures(0, 0), pictures(0, 1)]
    spec = sam(rho=0.0, stats_in_second_pass=True, per_group=per_group)
    norm = statistics_after(batches, (0, 1), sam=spec)
    twice = expected_after(conv_net(), [batches[0].images] * 2)
    torch.testing.assert_close(norm.running_mean, twice.running_mean, rtol=1e-12, atol=0)
    assert int(norm.num_batches_tracked) == 2


def test_freezing_keeps_batch_statistics_and_ends_after_an_exception():
    norm = nn.BatchNorm1d(3)
    x = torch.randn(8, 3) * 5 + 2
    statistics = RunningStatistics(norm)
    with statistics.frozen(True):
        frozen = norm(x)
    assert int(norm.num_batches_tracked) == 0
    assert torch.equal(frozen, norm(x))
    with pytest.raises(KeyboardInterrupt), statistics.frozen(True):
        raise KeyboardInterrupt
    norm(x)
    assert int(norm.num_batches_tracked) == 2


def test_layers_without_running_statistics_stay_without():
    norm = nn.BatchNorm1d(3, track_running_stats=False)
    statistics = RunningStatistics(norm)
    with statistics.frozen(True):
        pass
    assert not norm.track_running_stats
    assert statistics.buffers == []


@pytest.mark.parametrize("flag", [False, True])
def test_statistics_are_taken_back_where_the_flag_is_up(flag):
    norm = nn.BatchNorm1d(3)
    statistics = RunningStatistics(norm)
    statistics.remember()
    norm(torch.full((4, 3), float("nan")))
    statistics.restore_where(torch.tensor(flag))
    assert bool(norm.running_mean.isnan().any()) == (not flag)
    assert int(norm.num_batches_tracked) == (0 if flag else 1)
