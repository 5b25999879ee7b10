"""BatchNorm over ranks equals BatchNorm over the whole batch, forwards and backwards."""

import pytest
import torch
from torch import nn

from scaledrelu.models.sync_batchnorm import RanksBatchNorm, sync_batchnorm
from tests.helpers.two_ranks import on_two_ranks

CPU = torch.device("cpu")
SHARES = [3, 5]  # images per rank: they need not be equal


def build(kind):
    torch.manual_seed(0)
    if kind == "stem":
        net = nn.Sequential(
            nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)),
            nn.Conv2d(4, 5, 2, stride=2),
        )
    elif kind == "flat":
        net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, momentum=None), nn.GELU())
    else:
        net = nn.BatchNorm1d(6, affine=False)
    return net.double()


def images(kind):
    shape = (3, 16, 16) if kind == "stem" else (6,)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(sum(SHARES), *shape, generator=generator, dtype=torch.float64) * 3 + 1


def run(net, x, weights):
    """Two passes, the second without following; state, outputs and gradients."""
    x = x.clone().requires_grad_()
    output = net(x)
    for norm in (m for m in net.modules() if hasattr(m, "track_running_stats")):
        norm.track_running_stats = False
    again = net(x * 2)
    ((output + again) * weights).sum().backward()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    slopes = {name: p.grad.clone() for name, p in net.named_parameters()}
    return {"output": output.detach(), "slope": x.grad, "state": state, "slopes": slopes}


def weights_for(kind):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(build(kind)(images(kind)).shape, generator=generator, dtype=torch.float64)


KINDS = ("stem", "flat", "bare")


def work(rank):
    found = {}
    for kind in KINDS:
        net = build(kind)
        held = dict(net.named_parameters())
        net = sync_batchnorm(net, CPU)
        assert all(p is held[name] for name, p in net.named_parameters())
        x, weights = (v.split(SHARES)[rank] for v in (images(kind), weights_for(kind)))
        found[kind] = run(net, x, weights)
        found[kind]["layers"] = sum(isinstance(m, RanksBatchNorm) for m in net.modules())
        net.eval()
        plain = build(kind).eval()
        for norm in (m for m in net.modules() if hasattr(m, "track_running_stats")):
            norm.track_running_stats = True
        plain.load_state_dict(net.state_dict())
        found[kind]["same_in_evaluation"] = torch.equal(net(x), plain(x))
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_ranks(work, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_equal_one_process_with_the_whole_batch(kind, ranks):
    expected = run(build(kind), images(kind), weights_for(kind))
    for name in ("output", "slope"):
        found = torch.cat([rank[kind][name] for rank in ranks])
        torch.testing.assert_close(found, expected[name], rtol=1e-9, atol=1e-11)
    for rank in ranks:
        assert rank[kind]["layers"] == {"stem": 2, "flat": 1, "bare": 1}[kind]
        for name, value in expected["state"].items():
            torch.testing.assert_close(rank[kind]["state"][name], value, rtol=1e-9, atol=0)
    for name, value in expected["slopes"].items():
        found = sum(rank[kind]["slopes"][name] for rank in ranks)
        torch.testing.assert_close(found, value, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_in_evaluation_it_is_an_ordinary_batchnorm(kind, ranks):
    assert all(rank[kind]["same_in_evaluation"] for rank in ranks)


def test_one_process_keeps_its_layers():
    net = build("stem")
    layers = list(net.modules())
    assert sync_batchnorm(net, CPU) is net
    assert all(a is b for a, b in zip(layers, net.modules(), strict=True))
