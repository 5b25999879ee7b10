"""What is read out of a ViT is what went through it."""

import pytest
import torch

from scaledrelu.models.tokens import (
    attention_weight_norms,
    layer_tokens,
    stem_scales,
    watch_largest,
)
from tests.helpers.model_builders import make_vit
from tests.helpers.options import STEMS


@pytest.mark.parametrize("stem", STEMS)
def test_a_twelve_block_vit_gives_the_fourteen_points_of_figure_1(stem):
    model = make_vit(stem, depth=12).eval()
    layers = layer_tokens(model, torch.randn(2, 3, 16, 16))
    assert [layer.shape for layer in layers] == [(2, 16, 64)] * 14


def test_layer_tokens_are_those_of_the_forward_pass():
    model = make_vit("conv").eval()
    image = torch.randn(2, 3, 16, 16)
    layers = layer_tokens(model, image)
    torch.testing.assert_close(layers[1] - layers[0], model.pos_embed[:, 1:].expand(2, -1, -1))
    torch.testing.assert_close(model.norm(layers[-1]), model.forward_features(image)[:, 1:])
    (first,) = model.forward_intermediates(
        image, indices=[0], intermediates_only=True, output_fmt="NLC"
    )
    torch.testing.assert_close(layers[2], first)


@pytest.mark.parametrize("stem", STEMS)
def test_layer_tokens_are_to_the_bit_those_of_a_walk_from_layer_to_layer(stem):
    """The walk is a second implementation; a sum in another order would show in the last bits."""
    model, image = make_vit(stem).eval(), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        features = model.patch_embed(image)
        tokens = [model._pos_embed(features)]
        for block in model.blocks:
            tokens.append(block(tokens[-1]))
    walked = [features.flatten(2).transpose(1, 2), *(one[:, 1:] for one in tokens)]
    assert all(map(torch.equal, layer_tokens(model, image), walked))


def test_layer_tokens_refuses_training_mode():
    with pytest.raises(ValueError, match=r"model.eval"):
        layer_tokens(make_vit(), torch.randn(2, 3, 16, 16))


@pytest.mark.parametrize(
    ("stem", "changes", "channels"),
    [
        ("patchify", {}, None),
        ("patchify_relu", {}, None),
        ("conv_relu", {}, None),
        ("conv_bn", {}, None),  # no cut: not a scaled ReLU
        ("conv", {}, 16),
        ("conv_gelu", {}, 16),
        ("patchify_bn_relu", {}, 64),
        ("conv_relu", {"act": "scaled_relu"}, 16),
        ("conv_relu", {"act": "affine_relu"}, 16),
        ("patchify", {"tail": ["scaled_relu"]}, 64),
    ],
)
def test_scales_are_found_where_a_scaled_relu_is(stem, changes, channels):
    scales = stem_scales(
        make_vit(stem, stem_changes=changes and {"hidden": 16, **changes}).patch_embed
    )
    assert (scales is None) == (channels is None)
    if scales is not None:
        assert scales.alpha.shape == scales.beta.shape == (channels,)
        assert scales.beta.eq(1).all()
        assert scales.alpha.eq(0).all()


def test_scales_are_those_of_the_last_block():
    model = make_vit("conv")
    with torch.no_grad():
        model.patch_embed.convs[7].weight.fill_(3.0)
    assert stem_scales(model.patch_embed).beta.eq(3).all()


def test_attention_weight_norms_are_per_input_channel():
    model = make_vit()
    with torch.no_grad():
        model.blocks[0].attn.qkv.weight[:, 5] = 0
    norms = attention_weight_norms(model)
    assert norms.shape == (64,)
    assert norms[5] == 0
    assert norms.count_nonzero() == 63


def test_the_largest_score_is_q_times_k_before_the_scale():
    model = make_vit(heads=2).eval()
    with torch.no_grad():
        for block, value in zip(model.blocks, (1.0, 3.0), strict=True):
            block.attn.qkv.weight.zero_()
            block.attn.qkv.bias.fill_(value)
        with watch_largest(model) as largest:
            model(torch.randn(2, 3, 16, 16))
        assert largest.score.item() == pytest.approx(32 * 3.0**2)
        model(1e6 * torch.randn(2, 3, 16, 16))  # closed: nothing is recorded any more
    assert largest.activation.item() < 100


def test_the_largest_activation_covers_every_layer():
    model = make_vit("conv").eval()
    with torch.no_grad(), watch_largest(model) as largest:
        model(torch.randn(2, 3, 16, 16))
        assert largest.activation > 0
        model.blocks[1].mlp.fc1.bias[3] = -12_345.0
        model(torch.randn(2, 3, 16, 16))
    assert largest.activation.item() == pytest.approx(12_345, rel=1e-3)
