"""What is read out of a VOLO is what went through it."""

import pytest
import torch

from scaledrelu.models.tokens import (
    attention_weight_norms,
    layer_tokens,
    stem_scales,
    watch_largest,
)
from scaledrelu.models.volo import transformers
from tests.helpers.model_builders import MINI_VOLO, make_volo
from tests.helpers.options import STEMS


@pytest.mark.parametrize("stem", STEMS)
def test_stem_positions_and_every_block_give_a_layer(stem):
    model = make_volo(stem, **(MINI_VOLO | {"layers": [4, 4, 8, 2]})).eval()
    layers = layer_tokens(model, torch.randn(2, 3, 16, 16))
    assert [layer.shape for layer in layers] == [(2, 64, 8)] * 5 + [(2, 16, 16)] * 15


def test_layer_tokens_are_those_of_the_forward_pass():
    model = make_volo(**MINI_VOLO).eval()
    image, seen = torch.randn(2, 3, 16, 16), []
    for module in (model.patch_embed, *model.network[0], *transformers(model)):
        module.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        features = model.forward_features(image)
        stem, *blocks = seen
        layers = layer_tokens(model, image)
        torch.testing.assert_close(layers.pop(0), stem.flatten(2).transpose(1, 2))
        positions = layers.pop(1)
        for layer, block in zip(layers, blocks, strict=False):
            torch.testing.assert_close(layer, block.flatten(1, 2))
        torch.testing.assert_close(model.norm(layers[-1]), features[:, 1:])
        first = transformers(model)[0]
        torch.testing.assert_close(first(positions.unflatten(1, (4, 4))).flatten(1, 2), layers[1])


@pytest.mark.parametrize("layers", [[1, 1, 2, 1], [2, 1]])
def test_layer_tokens_are_to_the_bit_those_of_a_walk_from_layer_to_layer(layers):
    model = make_volo(**(MINI_VOLO | {"layers": layers})).eval()
    outlookers, downsample = model.network[:2]
    image = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        walked = [model.patch_embed(image).permute(0, 2, 3, 1)]
        for block in outlookers:
            walked.append(block(walked[-1]))
        walked.append(downsample(walked[-1]) + model.pos_embed)
        for block in transformers(model):
            walked.append(block(walked[-1]))
    layers = layer_tokens(model, image)
    assert len(layers) == len(walked)
    assert all(torch.equal(a, b.flatten(1, 2)) for a, b in zip(layers, walked, strict=True))


def test_layer_tokens_refuses_training_mode():
    with pytest.raises(ValueError, match=r"model.eval"):
        layer_tokens(make_volo(**MINI_VOLO), torch.randn(2, 3, 16, 16))


def test_a_backbone_nobody_registered_is_a_clear_error():
    with pytest.raises(TypeError, match=r"Linear: unknown backbone; register .* in tokens\.py"):
        layer_tokens(torch.nn.Linear(1, 1), torch.randn(2, 3, 16, 16))


def test_scales_are_found_behind_the_stem():
    assert stem_scales(make_volo(**MINI_VOLO).patch_embed).beta.shape == (16,)
    assert stem_scales(make_volo("conv_bn", **MINI_VOLO).patch_embed) is None


def test_attention_weight_norms_cover_values_and_window_weights():
    model = make_volo(**MINI_VOLO)
    attention = model.network[0][0].attn
    with torch.no_grad():
        for part in (attention.v, attention.attn):
            part.weight.zero_()
        attention.v.weight[0, 2], attention.attn.weight[0, 2] = 3.0, 4.0
    assert attention_weight_norms(model).tolist() == [0, 0, 5, 0, 0, 0, 0, 0]


def _only(model, *names, value):
    """Zero every projection to queries and keys but one kind, which gets ``value`` everywhere."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("qkv.weight", ".q.weight", ".kv.weight")):
                weight.fill_(value if name.endswith(names) else 0.0)
            if name.endswith(".kv.weight"):
                weight[weight.shape[1] :] = 0.01  # values are not keys


@pytest.mark.parametrize("attention", ["fused", "scores_then_scale"])
def test_the_largest_score_is_unscaled_in_transformers_and_scaled_in_class_blocks(attention):
    model = make_volo(**MINI_VOLO, attention=attention).eval()
    with torch.no_grad():
        for block in (*transformers(model), *model.post_network):
            block.norm1.weight.zero_()
            block.norm1.bias.fill_(1.0)  # every token is 1, so q = k = 16 x value
        image, heads = torch.randn(2, 3, 16, 16), 8  # features per head
        _only(model, "qkv.weight", value=0.5)
        with watch_largest(model) as largest:
            model(image)
        assert largest.score.item() == pytest.approx(heads * 8.0**2)
        _only(model, ".q.weight", ".kv.weight", value=0.25)
        with watch_largest(model) as largest:
            model(image)
        assert largest.score.item() == pytest.approx(heads * 4.0**2 / heads**0.5)
        model.post_network[0].attn.q.weight.fill_(100.0)
        model(image)  # closed: nothing is recorded any more
        assert largest.score.item() < 50


def test_the_largest_activation_covers_outlookers_and_both_heads():
    model = make_volo(**MINI_VOLO).eval()
    for bias in (model.network[0][0].mlp.fc1.bias, model.head.bias, model.aux_head.bias):
        with torch.no_grad(), watch_largest(model) as largest:
            model(torch.randn(2, 3, 16, 16))
            assert 0 < largest.activation < 100
            bias[3] = -12_345.0
            model(torch.randn(2, 3, 16, 16))
            bias[3] = 0.0
        assert largest.activation.item() == pytest.approx(12_345, rel=1e-2)
