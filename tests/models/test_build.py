"""The ViT has the sizes, counts and starting values of the official code."""

import math

import pytest
import timm
import torch
from torch import nn

from scaledrelu.errors import ConfigError
from tests.helpers.model_builders import DEIT_S, STRIDE_2, lacking, macs, make_vit, num_parameters
from tests.helpers.options import FFNS, STEMS

# Recipes G.1: stem parameters, BatchNorm buffer elements, DeiT-S parameters, stem MMACs, total
# GMACs, DINO backbone parameters.
PATCHIFY = (295_296, 0, 22_050_664, 57.8, 4.599, 21_665_664)
CONV_BN = (1_656_768, 387, 23_412_136, 1351.1, 5.892, 23_027_136)
CONV = (1_656_384, 0, 23_411_752, 1351.1, 5.892, 23_026_752)
REFERENCE = {
    "patchify": PATCHIFY,
    "patchify_relu": PATCHIFY,
    "patchify_bn_relu": (296_064, 769, 22_051_432, 57.8, 4.599, 21_666_432),
    "conv": CONV_BN,
    "conv_bn": CONV_BN,
    "conv_gelu": CONV_BN,  # Table 5
    "conv_relu": CONV,
    "conv_plain": CONV,
    "conv_plain_relu": CONV,
}
TABLE_5 = {  # recipes G.4, DeiT-S with the full conv stem
    "mlp": 23_412_136,
    "mlp_relu": 23_412_136,
    "no_layernorm": 23_402_920,
    "conv1d": 23_412_136,
    "conv1d_bn": 23_458_216,
}


def _deit(stem, **changes):
    with torch.device("meta"):
        return make_vit(stem, num_classes=1000, **(DEIT_S | changes)).eval()


def test_every_stem_and_ffn_of_the_papers_tables_has_a_reference():
    assert lacking(REFERENCE, TABLE_5) == set()


@pytest.mark.parametrize("name", REFERENCE)
def test_stem_counts_are_those_of_the_recipes(name):
    stem_params, buffers, params, stem_mmacs, gmacs, dino_params = REFERENCE[name]
    model, image = _deit(name), torch.empty(1, 3, 224, 224, device="meta")
    assert num_parameters(model.patch_embed) == stem_params
    assert sum(buffer.numel() for buffer in model.buffers()) == buffers
    assert num_parameters(model) == params
    assert round(macs(model.patch_embed, image) / 1e6, 1) == stem_mmacs
    assert round(macs(model, image) / 1e9, 3) == gmacs
    assert params - num_parameters(model.head) == dino_params


@pytest.mark.parametrize("name", [name for name in REFERENCE if name.startswith("conv")])
def test_stride_2222_keeps_the_parameters_and_cuts_the_work(name):
    model = _deit(name, stem_changes=STRIDE_2)
    image = torch.empty(1, 3, 224, 224, device="meta")
    assert num_parameters(model) == REFERENCE[name][2]
    assert round(macs(model.patch_embed, image) / 1e6, 1) == 570.8
    assert round(macs(model, image) / 1e9, 3) == 5.112


@pytest.mark.parametrize("name", TABLE_5)
def test_ffn_counts_are_those_of_table_5(name):
    assert num_parameters(_deit("conv", ffn=name)) == TABLE_5[name]


def test_both_attentions_do_the_same_work():
    image = torch.empty(1, 3, 224, 224, device="meta")
    works = [macs(_deit("patchify", attention=a), image) for a in ("fused", "scores_then_scale")]
    assert works[0] == works[1]


def test_no_classes_leave_the_head_out():
    with torch.device("meta"):
        model = make_vit(num_classes=0, **DEIT_S)
    assert num_parameters(model) == 21_665_664


@pytest.mark.parametrize("stem", STEMS)
def test_every_stem_trains_at_mini_size(stem):
    model = make_vit(stem)
    logits = model(torch.randn(4, 3, 16, 16))
    logits.square().sum().backward()
    assert logits.shape == (4, 10)
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("ffn", FFNS)
def test_every_ffn_trains_at_mini_size(ffn):
    model = make_vit("conv", ffn=ffn)
    model(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_table_5_removes_only_the_norm_before_the_ffn():
    kept, removed = make_vit("conv"), make_vit("conv", ffn="no_layernorm")
    missing = set(kept.state_dict()) - set(removed.state_dict())
    assert missing == {f"blocks.{i}.norm2.{kind}" for i in range(2) for kind in ("weight", "bias")}


def test_linear_positions_and_class_token_start_as_in_the_official_code():
    model = make_vit("conv", width=384, heads=6)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.03), name
            assert not module.bias.any(), name
        elif isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
            assert module.weight.eq(1).all(), name
            assert not module.bias.any(), name
    assert model.pos_embed.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.cls_token.std().item() == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize("stem", ["patchify", "conv"])
def test_stem_convolutions_start_at_pytorchs_default(stem):
    model = make_vit(stem, width=384, heads=6)
    for conv in (m for m in model.patch_embed.modules() if isinstance(m, nn.Conv2d)):
        bound = 1 / math.sqrt(conv.in_channels * math.prod(conv.kernel_size))
        assert conv.weight.abs().max() <= bound
        assert conv.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        if conv.bias is not None:
            assert conv.bias.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_drop_path_grows_linearly_and_norms_have_the_eps():
    model = make_vit(depth=12, drop_path=0.1)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in model.blocks]
    assert rates == pytest.approx([0.1 * i / 11 for i in range(12)])
    assert {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)} == {1e-6}


def test_patchify_is_timms_deit_small():
    reference = timm.create_model("deit_small_patch16_224", pretrained=False).eval()
    with torch.device("meta"):
        model = make_vit(num_classes=1000, **DEIT_S)
    model = model.to_empty(device="cpu").eval()
    model.load_state_dict(reference.state_dict())  # strict
    image = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(model(image), reference(image), atol=1e-5, rtol=1e-4)


def _resized_columns(columns_14):
    """Give every row of the 14x14 grid these positions; return the 6x6 grid of a 96-pixel crop."""
    model = make_vit(**(DEIT_S | {"depth": 1, "width": 2, "heads": 1}))
    patches = columns_14.expand(14, 14).reshape(1, 196, 1).expand(1, 196, 2)
    model.pos_embed = nn.Parameter(torch.cat((torch.full((1, 1, 2), 7.0), patches), dim=1))
    resized = model._positions((6, 6))
    assert resized[:, 0].eq(7).all()  # the class token's position stays
    return resized[0, 1:, 0].reshape(6, 6)


def test_small_crops_read_the_positions_at_the_scale_of_dino():
    # On a ramp the answer is the sampling position, (i + 1/2) * 14 / 6.1 - 1/2, to 0.05: PyTorch's
    # bicubic bends straight lines. A scale of 6 instead of 6.1 would be 0.17 off at i = 4.
    expected = (torch.arange(1, 5) + 0.5) * 14 / 6.1 - 0.5
    columns = _resized_columns(torch.arange(14.0))
    torch.testing.assert_close(columns[:, 1:5], expected.expand(6, 4), atol=0.06, rtol=0)


def test_small_crops_read_the_positions_without_antialiasing():
    assert _resized_columns(torch.tensor([1.0, -1.0] * 7)).abs().max() > 0.5


@pytest.mark.parametrize("stem", ["patchify", "conv"])
def test_one_model_takes_global_and_local_crops(stem):
    model = make_vit(stem, **(DEIT_S | {"depth": 1, "width": 12, "heads": 2})).eval()
    for side in (224, 96):
        tokens = model.forward_features(torch.randn(1, 3, side, side))
        assert tokens.shape == (1, (side // 16) ** 2 + 1, 12)


def test_weight_decay_skips_positions_and_class_token():
    assert {"pos_embed", "cls_token"} <= set(make_vit().no_weight_decay())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, r"model.width=64: must be a multiple of model.heads=5"),
        ({"image_size": 18}, r"data.image_size=18x18: .*model.patch_size=4"),
    ],
)
def test_a_wrong_model_says_so_in_one_line(changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        make_vit(**changes)
    assert "\n" not in str(error.value)
