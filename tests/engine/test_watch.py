"""The watcher reads sizes and spreads exactly, in little memory, and waits once an update."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from scaledrelu.engine import watch
from scaledrelu.engine.watch import GRADIENT, OUTPUT, WEIGHT_GRADIENT, Watch, watching
from tests.helpers.memory import Allocated
from tests.helpers.pretended_gpu import pretended_gpu

PIECE = 64  # elements, in the tests about pieces


def spread_at_once(values: Tensor) -> float:
    """The definition, all values in float64 together."""
    values = values.double()
    varies = (values - values.mean(dim=0)).square().mean().sqrt()
    return float(varies / values.square().mean().sqrt())


def images(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 1).to(dtype)


def watched(net: nn.Module, batch: Tensor, *, scale: float = 1.0) -> Watch:
    with watching(net) as found:
        (net(batch).sum() * scale).backward()
        found.end_update(0, scale=scale)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "shape", [(4, 6, 5, 5), (4, 3, 20, 20), (4, 50, 3), (16, 9), (2, 1), (3, 2, 2, 2, 2)]
)
@pytest.mark.parametrize("last", [False, True])
def test_the_spread_in_pieces_is_that_of_all_values(shape, dtype, last, monkeypatch) -> None:
    values = images(*shape, dtype=dtype)
    if last and len(shape) == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    found = [watch._spread(values)]
    monkeypatch.setattr(watch, "PIECE", PIECE)
    found.append(watch._spread(values))
    assert [float(one) for one in found] == pytest.approx(2 * [spread_at_once(values)], rel=1e-12)


def test_the_spread_of_equal_outputs_is_zero_and_of_bad_ones_no_number() -> None:
    equal = images(1, 7, 5).expand(11, 7, 5)
    assert float(watch._spread(equal)) == 0
    assert float(watch._spread(torch.zeros(3, 4))) == 0
    equal = equal.clone()
    equal[3, 2, 1] = math.inf
    assert math.isnan(watch._spread(equal))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_largest_magnitude_sees_both_signs_and_what_is_not_finite(bad) -> None:
    tensors = [torch.tensor([1.0, -3.0]), torch.tensor([2.0], dtype=torch.float16)]
    assert float(watch._largest(tensors)) == 3
    assert math.copysign(1, watch._largest([torch.zeros(2)])) == 1
    tensors[1][0] = bad
    assert float(watch._largest(tensors)) == pytest.approx(abs(bad), nan_ok=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_reading_an_activation_copies_no_more_than_a_piece_of_it(layout, monkeypatch) -> None:
    monkeypatch.setattr(watch, "PIECE", 8 * PIECE)
    values = images(4, 32, 8, 8).contiguous(memory_format=layout)
    with Allocated() as memory:
        watch._spread(values)
        watch._largest([values])
    assert max(memory.sizes) <= 8 * (8 * PIECE)
    assert values.numel() == 16 * (8 * PIECE)


def test_an_update_is_read_in_the_order_of_time_and_from_the_device_once(monkeypatch) -> None:
    reads = []
    for name in ("tolist", "item", "__float__", "__bool__"):
        plain = getattr(Tensor, name)
        monkeypatch.setattr(
            Tensor, name, lambda self, name=name, plain=plain: reads.append(name) or plain(self)
        )
    net, batch = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)), images(4, 3)
    (seen,) = watched(net, batch, scale=8.0).seen
    assert reads == ["tolist"]
    monkeypatch.undo()
    with torch.no_grad():
        hidden, output = net[0](batch), net(batch)
    forward, backward = seen.events[:4], seen.events[4:]
    assert [event.module for event in forward] == ["0", "1", "2", "the loss"]
    assert [event.size for event in forward] == pytest.approx(
        [float(values.abs().max()) for values in (hidden, hidden.relu(), output, output)]
    )
    assert forward[1].fed == pytest.approx(float(hidden.abs().max()))
    assert forward[2].spread == pytest.approx(spread_at_once(output))
    assert {event.what for event in forward} == {OUTPUT}
    assert {event.what for event in backward} == {GRADIENT, WEIGHT_GRADIENT}
    assert [event.size for event in backward if event.module == "the loss"] == [1.0]
    assert seen.weights == {
        name: max(p.abs().max().item() for p in net[int(name)].parameters()) for name in "02"
    }


def test_single_images_have_no_spread() -> None:
    (seen,) = watched(nn.Linear(3, 1), images(1, 3)).seen
    assert seen.events[0].spread is None


def test_watching_an_update_asks_a_gpu_for_no_value() -> None:
    with pretended_gpu(), torch.device("cuda"):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 1))
        with watching(net) as found:
            output = net(torch.empty(2, 3, 8, 8))
            found.see_gradient("3", GRADIENT, torch.empty_like(output))
    assert [what for _, what, _ in found._open] == 5 * [OUTPUT] + [GRADIENT]
