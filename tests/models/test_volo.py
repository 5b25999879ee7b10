"""VOLO-D1 has the sizes, counts, starting values and outputs of the official code."""

import math
from itertools import product

import pytest
import timm
import torch
from torch import nn

from scaledrelu.errors import ConfigError
from scaledrelu.models.ffn import ConvMlp
from scaledrelu.models.mix_token import Box
from scaledrelu.models.volo import GridScoresThenScale, to_timm, transformers
from tests.helpers.model_builders import MINI_VOLO, lacking, macs, make_volo, num_parameters
from tests.helpers.options import FFNS, STEMS

# Recipes G.2: stem parameters, all parameters, stem MMACs, total GMACs.
PATCHIFY = (37_056, 26_388_776, 28.9, 5.751)
CONV_BN = (280_320, 26_632_040, 1197.0, 6.919)
CONV = (279_936, 26_631_656, 1197.0, 6.919)
REFERENCE = {
    "patchify": PATCHIFY,
    "patchify_relu": PATCHIFY,
    "patchify_bn_relu": (37_440, 26_389_160, 28.9, 5.751),
    "conv": CONV_BN,
    "conv_bn": CONV_BN,
    "conv_gelu": CONV_BN,  # Table 5
    "conv_relu": CONV,
    "conv_plain": CONV,
    "conv_plain_relu": CONV,
}
TABLE_5 = {  # recipes G.4: FFN changed in all blocks, and with the class blocks left alone
    "mlp": (26_632_040, 26_632_040),
    "mlp_relu": (26_632_040, 26_632_040),
    "no_layernorm": (26_618_216, 26_619_752),
    "conv1d": (26_632_040, 26_632_040),
    "conv1d_bn": (26_687_336, 26_681_192),
}
BOX = Box(top=1, left=0, bottom=3, right=2)


def _meta(*args, **changes):
    with torch.device("meta"):
        return make_volo(*args, **changes).eval()


def test_every_stem_and_ffn_of_the_papers_tables_has_a_reference():
    assert lacking(REFERENCE, TABLE_5) == set()


@pytest.mark.parametrize("name", REFERENCE)
def test_stem_counts_are_those_of_the_recipes(name):
    stem_params, params, stem_mmacs, gmacs = REFERENCE[name]
    model, image = _meta(name), torch.empty(1, 3, 224, 224, device="meta")
    assert num_parameters(model.patch_embed) == stem_params
    assert num_parameters(model) == params
    assert round(macs(model.patch_embed, image) / 1e6, 1) == stem_mmacs
    assert round(macs(model, image) / 1e9, 3) == gmacs
    assert model.patch_embed.grid_size == (28, 28)
    assert model.token_grid == (14, 14)


def test_one_projection_is_its_own_convolution_of_the_image():
    proj = _meta("patchify").patch_embed.proj
    assert (proj.in_channels, proj.kernel_size, proj.stride) == (3, (8, 8), (8, 8))


@pytest.mark.parametrize(("name", "in_class_blocks"), list(product(TABLE_5, (True, False))))
def test_ffn_counts_are_those_of_table_5_in_both_readings(name, in_class_blocks):
    model = _meta(ffn=name, ffn_in_class_blocks=in_class_blocks)
    assert num_parameters(model) == TABLE_5[name][0 if in_class_blocks else 1]


def test_conf_reads_table_5_as_all_blocks():
    assert num_parameters(_meta(ffn="conv1d_bn")) == TABLE_5["conv1d_bn"][0]


def test_the_conv_stem_model_is_timms_volo_d1():
    reference = timm.create_model("volo_d1_224", pretrained=False).eval()
    with torch.no_grad():
        for norm in (m for m in reference.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2), norm.bias.normal_()
    for attention in ("fused", "scores_then_scale"):
        model = _meta(attention=attention).to_empty(device="cpu")
        names, theirs = model.state_dict(), reference.state_dict()
        pairs = zip(names, to_timm(names), strict=True)
        model.load_state_dict({ours: theirs.pop(timms) for ours, timms in pairs})
        assert not theirs
        image = torch.randn(1, 3, 224, 224)
        with torch.no_grad():
            torch.testing.assert_close(model(image), reference(image), atol=1e-5, rtol=0)


@pytest.fixture(params=["fused", "scores_then_scale"])
def mini(request):
    return make_volo(**MINI_VOLO, attention=request.param).eval()


def test_calling_it_gives_class_logits_plus_half_the_tokens_maximum_in_both_modes(mini):
    image = torch.randn(3, 3, 16, 16)
    for training in (False, True):
        mini.train(training)
        dense = mini.forward_dense(image, None)
        assert dense.tokens_BNC.shape == (3, 16, 10)
        expected = dense.class_BC + 0.5 * dense.tokens_BNC.max(dim=1).values
        torch.testing.assert_close(mini(image), expected)


def _slowly(model, image, box):
    """Swap and swap back cell by cell, and pass every image through the network alone."""
    stem = model.patch_embed(image)
    mixed, last = stem.clone(), len(image) - 1
    for i, row, column in product(range(len(image)), range(8), range(8)):
        if box.top <= row // 2 < box.bottom and box.left <= column // 2 < box.right:
            mixed[i, :, row, column] = stem[last - i, :, row, column]
    tokens = [model.forward_tokens(one.permute(1, 2, 0)[None]) for one in mixed]
    tokens = [model.norm(model.forward_cls(one))[0] for one in tokens]
    logits = [[model.aux_head(token) for token in one[1:]] for one in tokens]
    for i, row, column in product(range(len(image) // 2), range(4), range(4)):
        if box.top <= row < box.bottom and box.left <= column < box.right:
            own, other = logits[i], logits[last - i]
            cell = 4 * row + column
            own[cell], other[cell] = other[cell], own[cell]
    return [model.head(one[0]) for one in tokens], logits


@pytest.mark.parametrize("images", [4, 3])
@pytest.mark.parametrize("box", [BOX, Box(0, 1, 4, 4), Box(2, 2, 2, 2)])
def test_mix_token_swaps_the_stem_and_swaps_the_logits_back(mini, box, images):
    image = torch.randn(images, 3, 16, 16)
    with torch.no_grad():
        dense, (classes, tokens) = mini.forward_dense(image, box), _slowly(mini, image, box)
    torch.testing.assert_close(dense.class_BC, torch.stack(classes), atol=1e-6, rtol=1e-5)
    expected = torch.stack([torch.stack(one) for one in tokens])
    torch.testing.assert_close(dense.tokens_BNC, expected, atol=1e-6, rtol=1e-5)


def test_an_empty_box_changes_nothing_and_a_full_one_exchanges_the_images(mini):
    image = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        plain, full = mini.forward_dense(image, None), mini.forward_dense(image, Box(0, 0, 4, 4))
        empty = mini.forward_dense(image, Box(3, 3, 3, 3))
    assert torch.equal(empty.class_BC, plain.class_BC)
    assert torch.equal(empty.tokens_BNC, plain.tokens_BNC)
    torch.testing.assert_close(full.class_BC, plain.class_BC.flip(0))
    torch.testing.assert_close(full.tokens_BNC, plain.tokens_BNC)


def test_both_attention_paths_agree_in_fp32_forward_and_backward():
    pair = [make_volo(**MINI_VOLO, attention=a) for a in ("fused", "scores_then_scale")]
    pair[1].load_state_dict(pair[0].state_dict())  # strict: names and shapes are equal
    image, grads = torch.randn(4, 3, 16, 16), []
    for model in pair:
        dense = model.forward_dense(image, BOX)
        loss = dense.class_BC.square().sum() + dense.tokens_BNC.square().sum()
        grads.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_the_option_chooses_the_path_whatever_the_environment_says(monkeypatch):
    monkeypatch.setattr("timm.models.volo.use_fused_attn", lambda: False)
    fused, scored = (make_volo(**MINI_VOLO, attention=a) for a in ("fused", "scores_then_scale"))
    assert all(block.attn.fused_attn for block in transformers(fused))
    assert len(transformers(scored)) == 4
    assert all(isinstance(block.attn, GridScoresThenScale) for block in transformers(scored))


def test_the_scale_stands_where_the_official_code_has_it_in_every_kind_of_block():
    # One head of 64 features of 40: q k^T = 102,400 > 65,504, scaled 12,800.
    model = make_volo(
        **(MINI_VOLO | {"width": 64, "heads": 1}), attention="scores_then_scale"
    ).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("qkv.weight", "q.weight", "kv.weight")):
                weight.fill_(40 / 64)
    ones, grid = torch.ones(1, 17, 64), torch.ones(1, 4, 4, 64)
    with torch.autocast("cpu", dtype=torch.float16), torch.no_grad():
        assert transformers(model)[0].attn(grid).isnan().all()  # product first
        assert model.post_network[0].attn(ones).isfinite().all()  # scale first


def test_drop_path_starts_behind_the_outlookers_but_counts_them():
    model = make_volo(**(MINI_VOLO | {"layers": [4, 4, 8, 2], "drop_path": 0.1}))
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in transformers(model)]
    assert rates == pytest.approx([0.1 * i / 17 for i in range(4, 18)])
    assert rates == [block.drop_path2.drop_prob for block in transformers(model)]
    for block in (*model.network[0], *model.post_network):
        assert isinstance(block.drop_path1, nn.Identity)
        assert isinstance(block.drop_path2, nn.Identity)


@pytest.mark.parametrize("ffn", FFNS)
@pytest.mark.parametrize("attention", ["fused", "scores_then_scale"])
def test_linear_positions_and_class_token_start_as_in_the_official_code(ffn, attention):
    sizes = {"width": 192, "heads": 6, "outlook_width": 192, "outlook_heads": 6}
    model = make_volo(ffn=ffn, attention=attention, **(MINI_VOLO | sizes | {"num_classes": 50}))
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.03), name
            assert module.bias is None or not module.bias.any(), name
        elif isinstance(module, (nn.LayerNorm, nn.BatchNorm2d, nn.BatchNorm1d)):
            assert module.weight.eq(1).all(), name
            assert not module.bias.any(), name
    assert model.pos_embed.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.cls_token.std().item() == pytest.approx(0.02, rel=0.2)
    assert {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)} == {1e-5}
    assert all(block.attn.qkv.bias is None for block in transformers(model))


def test_convolutions_start_at_pytorchs_default_also_those_of_the_ffn():
    model = make_volo(ffn="conv1d_bn", **(MINI_VOLO | {"width": 192, "outlook_width": 96}))
    convs = [m for m in model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d))]
    assert len(convs) == 4 + 1 + 2 * 7  # stem, downsampling, FFNs
    for conv in convs:
        bound = 1 / math.sqrt(conv.in_channels * math.prod(conv.kernel_size))
        assert conv.weight.abs().max() <= bound
        assert conv.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.08)


def test_the_ffn_is_changed_in_every_block_and_in_the_class_blocks_on_demand():
    for in_class_blocks in (True, False):
        model = make_volo(ffn="conv1d", **MINI_VOLO, ffn_in_class_blocks=in_class_blocks)
        for block in (*model.network[0], *transformers(model)):
            assert isinstance(block.mlp, ConvMlp)
        for block in model.post_network:
            assert isinstance(block.mlp, ConvMlp) == in_class_blocks


def test_table_5_removes_only_the_norms_before_the_ffns():
    kept = set(make_volo(**MINI_VOLO).state_dict())
    for in_class_blocks in (True, False):
        model = make_volo(ffn="no_layernorm", **MINI_VOLO, ffn_in_class_blocks=in_class_blocks)
        missing = {name.removesuffix(".weight").removesuffix(".bias") for name in
                   kept - set(model.state_dict())}  # fmt: skip
        blocks = ["network.0.0", "network.2.0", "network.3.0", "network.3.1", "network.4.0"]
        blocks += ["post_network.0", "post_network.1"] if in_class_blocks else []
        assert missing == {f"{block}.norm2" for block in blocks}


@pytest.mark.parametrize("ffn", FFNS)
@pytest.mark.parametrize("stem", STEMS)
def test_every_stem_and_ffn_trains_every_parameter_at_mini_size(stem, ffn):
    model = make_volo(stem, ffn, **MINI_VOLO)
    dense = model.forward_dense(torch.randn(4, 3, 16, 16), BOX)
    (dense.class_BC.square().sum() + dense.tokens_BNC.square().sum()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_one_compiled_graph_serves_every_box():
    torch._dynamo.reset()
    model, image = make_volo(**MINI_VOLO), torch.randn(4, 3, 16, 16)
    expected = model.forward_dense(image, BOX)
    model.compile(backend="eager", fullgraph=True)
    assert torch.equal(model.forward_dense(image, BOX).tokens_BNC, expected.tokens_BNC)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for box in (Box(0, 0, 1, 3), Box(2, 1, 4, 4), Box(0, 0, 0, 0)):
            model.forward_dense(image, box)


def test_weight_decay_skips_positions_and_class_token():
    assert make_volo(**MINI_VOLO).no_weight_decay() == {"pos_embed", "cls_token"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, r"model.width=16: must be a multiple of model.heads=5"),
        (
            {"outlook_heads": 3},
            r"outlook_width=8: must be a multiple of model.build.outlook_heads=3",
        ),
        (
            {"image_size": 18},
            r"data.image_size: gives a stem grid of 9x9 cells, but both sides must be even",
        ),
        ({"layers": [4]}, r"model.build.layers=\[4\]"),
        ({"depth": 12}, r"model.depth=12: must be null"),
    ],
)
def test_a_wrong_model_says_so_in_one_line(changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        make_volo(**(MINI_VOLO | changes))
    assert "\n" not in str(error.value)
