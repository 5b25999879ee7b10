"""The FFNs of Table 5 are the two listings of Algorithm 2."""

import pytest
import torch
from torch import nn

from scaledrelu.config.group import fields_of
from scaledrelu.config.model import FfnConfig
from scaledrelu.models.ffn import ACTS, ConvMlp, Mlp
from tests.helpers.model_builders import make_ffn
from tests.helpers.options import FFNS


def _as_listed(ffn: ConvMlp) -> nn.Module:
    """The revised Mlp as Algorithm 2 lists it, channels first, sharing ``ffn``'s layers."""
    return nn.Sequential(ffn.conv1, ffn.norm1, ffn.act, ffn.conv2, ffn.norm2, ffn.act)


@pytest.mark.parametrize("norm", [True, False])
def test_conv_mlp_equals_the_listing_in_output_gradients_and_statistics(norm):
    ffn = ConvMlp(8, 32, act="gelu", norm=norm, linear_init=False)
    tokens = torch.randn(4, 5, 8, requires_grad=True)
    ours = ffn(tokens)
    buffers = {k: v.clone() for k, v in ffn.named_buffers()}
    ours_grads = torch.autograd.grad(ours.square().sum(), [tokens, *ffn.parameters()])
    for name, buffer in ffn.named_buffers():
        buffer.fill_(1.0 if "var" in name else 0.0)
    theirs = _as_listed(ffn)(tokens.transpose(1, 2)).transpose(1, 2)
    their_grads = torch.autograd.grad(theirs.square().sum(), [tokens, *ffn.parameters()])
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(ours_grads, their_grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    for name, buffer in ffn.named_buffers():
        torch.testing.assert_close(buffers[name], buffer)


def test_conv_mlp_ends_with_its_activation():
    ffn = ConvMlp(8, 32, act="gelu", norm=True, linear_init=False)
    output = ffn(10 * torch.randn(64, 5, 8))
    assert -0.171 < output.min() < -0.1
    assert output.max() > 1


def test_conv_mlp_normalises_over_images_and_tokens():
    ffn = ConvMlp(8, 32, act="gelu", norm=True, linear_init=False)
    ffn(torch.randn(4, 5, 8))
    assert ffn.norm1.running_mean.abs().sum() > 0
    image_then_token = torch.randn(4, 5, 8)
    swapped = image_then_token.transpose(0, 1)
    torch.testing.assert_close(ffn(image_then_token), ffn(swapped).transpose(0, 1))


def test_conv_mlp_takes_feature_maps_too():
    ffn = ConvMlp(8, 32, act="gelu", norm=True, linear_init=False)
    map_BHWD = torch.randn(2, 3, 4, 8)
    torch.testing.assert_close(ffn(map_BHWD), ffn(map_BHWD.flatten(1, 2)).unflatten(1, (3, 4)))


def test_conv_mlp_without_last_activation_would_be_the_mlp():
    # "Conv1D equals fc": only the second activation separates the two without BatchNorm.
    mlp = Mlp(8, 32, act="gelu")
    conv = ConvMlp(8, 32, act="gelu", norm=False, linear_init=False)
    with torch.no_grad():
        conv.conv1.weight.copy_(mlp.fc1.weight[:, :, None])
        conv.conv2.weight.copy_(mlp.fc2.weight[:, :, None])
        conv.conv1.bias.copy_(mlp.fc1.bias)
        conv.conv2.bias.copy_(mlp.fc2.bias)
    tokens = torch.randn(4, 5, 8)
    torch.testing.assert_close(conv(tokens), nn.functional.gelu(mlp(tokens)))


@pytest.mark.parametrize("linear_init", [True, False])
def test_linear_init_is_a_choice(linear_init):
    ffn = ConvMlp(256, 1024, act="gelu", norm=False, linear_init=linear_init)
    std = ffn.conv1.weight.std().item()
    default_std = (1 / 256**0.5) / 3**0.5  # Kaiming uniform with a = sqrt 5
    assert std == pytest.approx(0.02 if linear_init else default_std, rel=0.02)
    assert (ffn.conv1.bias.abs().sum() == 0) == linear_init


@pytest.mark.parametrize("name", FFNS)
def test_every_ffn_keeps_the_shape_and_trains(name):
    build, _ = make_ffn(name)
    ffn = build(8, 32)
    output = ffn(torch.randn(4, 5, 8))
    output.square().sum().backward()
    assert output.shape == (4, 5, 8)
    assert all(p.grad is not None for p in ffn.parameters())


def test_every_allowed_word_of_the_activation_is_known_here():
    act = next(one for one in fields_of(FfnConfig) if one.name == "act")
    assert set(ACTS) == set(act.allowed.words)
