"""One class gives every stem of the paper: layers, shapes and numbers."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scaledrelu.config.stem import ACTS, NORMS
from scaledrelu.errors import ConfigError
from scaledrelu.models import stem as stem_module
from scaledrelu.models.stem import (
    AffineReLU,
    ChannelLayerNorm,
    Projection,
    ScaledReLU,
    project_patches,
)
from scaledrelu.tables.captions import LAYER_NAMES
from tests.helpers.model_builders import MINI_STEM, STRIDE_2, make_stem
from tests.helpers.options import STEMS, of_the_paper

EXTRAS = [
    {"norm": norm, "act": act, "tail": tail}
    for norm, act, tail in itertools.product(
        ("batch", "layernorm", "none"),
        ("relu", "gelu", "scaled_relu", "affine_relu", "none"),
        ([], ["layernorm", "scaled_relu"]),
    )
]
LAYERS = {  # recipes G.1
    "patchify": "P",
    "patchify_relu": "P R",
    "patchify_bn_relu": "P B R",
    "conv": "C B R C B R C B R P",
    "conv_bn": "C B C B C B P",
    "conv_relu": "C R C R C R P",
    "conv_plain": "C C C P",
    "conv_plain_relu": "C C C P R",
    "conv_gelu": "C B G C B G C B G P",
}
VARIANTS = [(name, {}) for name in STEMS] + [(n, STRIDE_2) for n in LAYERS if "conv" in n]
LETTERS = {nn.BatchNorm2d: "B", nn.ReLU: "R", nn.GELU: "G", nn.Conv2d: "C"}


def _letters(stem):
    return " ".join(
        "P" if layer is stem.proj else LETTERS[type(layer)]
        for layer in (*stem.convs, stem.proj, *stem.tail)
    )


def test_the_layers_of_every_stem_of_the_papers_tables_are_listed():
    assert set(of_the_paper("stem")) <= set(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_come_in_the_order_of_the_name(name):
    assert _letters(make_stem(name)(width=8, patch_size=16, image_size=32)) == LAYERS[name]


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
@pytest.mark.parametrize(
    ("built_for", "image", "patch", "extra"),
    [
        (224, (224, 224), 16, {}),
        (224, (96, 96), 16, {}),  # DINO's local crops
        ((256, 128), (256, 128), 16, {}),  # ReID
        (16, (16, 16), 4, MINI_STEM),
    ],
)
def test_output_is_one_feature_per_patch(name, changes, built_for, image, patch, extra):
    with torch.device("meta"):
        stem = make_stem(name, **changes, **extra)(width=24, patch_size=patch, image_size=built_for)
        features = stem(torch.empty(2, 3, *image))
    assert features.shape == (2, 24, image[0] // patch, image[1] // patch)
    if image[0] == (built_for if isinstance(built_for, int) else built_for[0]):
        assert stem.grid_size == features.shape[2:]
        assert stem.num_patches == features.shape[2] * features.shape[3]


@pytest.mark.parametrize(
    "changes", EXTRAS, ids=lambda c: f"{c['norm']}-{c['act']}-{len(c['tail'])}"
)
def test_every_norm_and_act_trains(changes):
    stem = make_stem("conv", **changes, **MINI_STEM)(width=8, patch_size=4, image_size=16)
    stem(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in stem.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_only_the_projection_has_a_bias(name):
    stem = make_stem(name)(width=8, patch_size=16, image_size=32)
    assert stem.proj.bias is not None
    assert all(layer.bias is None for layer in stem.convs if isinstance(layer, nn.Conv2d))


def test_mini_replaces_stride_2222_by_2211_with_a_1x1_projection():
    stem = make_stem("conv", **STRIDE_2, **MINI_STEM)(width=8, patch_size=4, image_size=16)
    assert [conv.stride[0] for conv in stem.convs if isinstance(conv, nn.Conv2d)] == [2, 2, 1]
    assert (stem.proj.kernel_size, stem.proj.stride) == ((1, 1), (1, 1))


def test_layout_does_not_change_the_numbers():
    stem = make_stem("conv", **MINI_STEM)(width=8, patch_size=4, image_size=16).eval()
    image = torch.randn(2, 3, 16, 16)
    plain = stem(image)
    fast = stem.to(memory_format=torch.channels_last)(image)
    assert fast.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast, plain)


def test_scaled_relu_is_beta_times_the_cut_of_x_plus_alpha():
    layer = ScaledReLU(3)
    features = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(layer(features), features.clamp_min(0))  # starts as a ReLU
    with torch.no_grad():
        layer.alpha.copy_(torch.tensor([0.5, -0.3, 0.0]))
        layer.beta.copy_(torch.tensor([2.0, -1.0, 0.5]))
    for channel in range(3):
        alpha, beta = layer.alpha[channel], layer.beta[channel]
        expected = beta * (features[:, channel] + alpha).clamp_min(0)
        torch.testing.assert_close(layer(features)[:, channel], expected)


def test_batch_norm_then_relu_is_a_scaled_relu():
    # Eq. 1: max(beta x + alpha, 0) = beta max(x + alpha / beta, 0) for beta > 0.
    features = torch.randn(8, 3, 5, 5)
    norm, layer = nn.BatchNorm2d(3), ScaledReLU(3)
    alpha, beta = torch.tensor([0.4, -0.2, 0.1]), torch.tensor([1.5, 0.5, 2.0])
    with torch.no_grad():
        norm.bias.copy_(alpha)
        norm.weight.copy_(beta)
        layer.alpha.copy_(alpha / beta)
        layer.beta.copy_(beta)
    plain = nn.BatchNorm2d(3, affine=False)
    torch.testing.assert_close(torch.relu(norm(features)), layer(plain(features)))


def test_affine_relu_is_what_a_batch_norm_and_a_relu_compute_for_any_sign():
    features = torch.randn(8, 3, 5, 5)
    norm, layer = nn.BatchNorm2d(3), AffineReLU(3)
    torch.testing.assert_close(layer(features), features.clamp_min(0))  # starts as a ReLU
    alpha, beta = torch.tensor([0.4, -0.2, 0.1]), torch.tensor([1.5, -0.5, 2.0])
    with torch.no_grad():
        for shift, scale in ((norm.bias, norm.weight), (layer.alpha, layer.beta)):
            shift.copy_(alpha)
            scale.copy_(beta)
    plain = nn.BatchNorm2d(3, affine=False)
    torch.testing.assert_close(torch.relu(norm(features)), layer(plain(features)))


def test_channel_layer_norm_normalises_every_position_where_it_is():
    features = 3 * torch.randn(2, 64, 4, 6) + 1
    centred = features - features.mean(1, keepdim=True)
    expected = centred / (features.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(ChannelLayerNorm(64)(features), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"norm": "bach"}, ["stem.norm=bach", "did you mean 'batch'"]),
        ({"act": "rellu"}, ["stem.act=rellu", "did you mean 'relu'"]),
        ({"tail": ["relu", "x"]}, ["stem.tail", "'x'", "allowed"]),
        ({"kernels": [3, 3]}, ["stem.kernels=[3, 3]", "needs one kernel per stride"]),
        ({"kernels": [7, 4, 3]}, ["stem.kernels", "[7, 4, 3]", "odd"]),
        ({"strides": [2, 2, 3]}, ["stem.strides", "12", "patch_size=16"]),
        ({"strides": [2, 2, 2], "proj_kernel": 7}, ["stem.proj_kernel", "7", "stride of 2"]),
    ],
)
def test_a_wrong_stem_says_so_in_one_line(changes, words):
    with pytest.raises(ConfigError) as error:
        make_stem("conv", **changes)(width=8, patch_size=16, image_size=32)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_an_image_that_cannot_be_cut_into_patches_is_refused():
    with pytest.raises(ConfigError, match=r"data.image_size=30x30: .* model.patch_size=16"):
        make_stem("patchify")(width=8, patch_size=16, image_size=30)
    stem = make_stem("patchify")(width=8, patch_size=16, image_size=32)
    with pytest.raises(ConfigError, match=r"40x32"):
        stem(torch.zeros(1, 3, 40, 32))


PATCHES = [(5, 1, 7, 4, 6), (3, 2, 4, 6, 8), (3, 16, 6, 32, 16), (64, 8, 12, 16, 24)]


@pytest.mark.parametrize(("channels", "patch", "width", "height", "row"), PATCHES)
def test_one_product_of_matrices_is_the_convolution_of_patches(channels, patch, width, height, row):
    image = torch.randn(2, channels, height, row, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(width, channels, patch, patch, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(width, dtype=torch.float64, requires_grad=True)
    inputs = (image, weight, bias)
    outputs = F.conv2d(*inputs, stride=patch), project_patches(*inputs)
    torch.testing.assert_close(*outputs)
    assert outputs[1].is_contiguous(memory_format=torch.channels_last)
    toward = torch.randn_like(outputs[0])
    grads = [torch.autograd.grad(output, inputs, toward) for output in outputs]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(8, 8, 0), (8, 2, 3), (3, 3, 1)])
def test_a_projection_on_a_gpu_is_that_of_the_host(kernel, stride, padding, channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    host = Projection(6, 10, kernel, stride=stride, padding=padding).double()
    device = Projection(6, 10, kernel, stride=stride, padding=padding).double()
    device.load_state_dict(host.state_dict())
    device.to("cuda").to(memory_format=layout)
    image = torch.randn(2, 6, 24, 24, dtype=torch.float64)
    expected, found = host(image), device(image.to("cuda").contiguous(memory_format=layout))
    torch.testing.assert_close(found.cpu(), expected)
    expected.square().sum().backward()
    found.square().sum().backward()
    torch.testing.assert_close(device.weight.grad.cpu(), host.weight.grad)


def test_every_word_for_a_layer_has_its_class_and_its_name() -> None:
    for words, classes, name in (
        (NORMS, stem_module.NORMS, "NORMS"),
        (ACTS, stem_module.ACTS, "ACTS"),
    ):
        assert set(words) == set(classes), (
            f"{name} of scaledrelu/config/stem.py (words) and of scaledrelu/models/stem.py "
            "(classes) differ; a word stands in both"
        )
    unnamed = {*NORMS, *ACTS} - set(LAYER_NAMES)
    assert not unnamed, f"{unnamed}: add to LAYER_NAMES of scaledrelu/tables/captions.py"
