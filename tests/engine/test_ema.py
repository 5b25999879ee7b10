import torch

from scaledrelu.engine.ema import Ema
from tests.helpers.step_toys import conv_net


def test_floats_are_averaged_and_whole_numbers_copied():
    net = conv_net()
    names = [name for name, value in net.state_dict().items() if value.is_floating_point()]
    expected = {name: net.state_dict()[name].clone() for name in names}
    ema = Ema(net, 0.9)
    for _ in range(3):
        with torch.no_grad():
            for value in net.parameters():
                value.add_(1.0)
        net(torch.randn(4, 3, 4, 4, dtype=torch.float64))
        ema.update()
        for name in names:
            expected[name] = 0.9 * expected[name] + 0.1 * net.state_dict()[name]
    for name in names:
        torch.testing.assert_close(ema.state_dict()[name], expected[name], rtol=1e-12, atol=1e-12)
    assert int(ema.state_dict()["1.num_batches_tracked"]) == 3


def test_an_average_follows_weights_that_were_loaded():
    net, other = conv_net(0), conv_net(1)
    ema = Ema(net, 0.0)
    net.load_state_dict(other.state_dict())
    ema.update()
    for name, value in other.state_dict().items():
        assert torch.equal(ema.state_dict()[name], value), name
