"""Both attention paths are the same function in fp32 and differ where fp16 overflows."""

import pytest
import torch

from scaledrelu.models.attention import ScoresThenScale
from tests.helpers.model_builders import make_vit


@pytest.fixture
def pair():
    fused, scored = make_vit(attention="fused"), make_vit(attention="scores_then_scale")
    scored.load_state_dict(fused.state_dict())  # strict: names and shapes are equal
    return fused, scored


def test_both_paths_agree_in_fp32_forward_and_backward(pair):
    image = torch.randn(4, 3, 16, 16)
    logits = [model(image) for model in pair]
    torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)
    grads = [
        torch.autograd.grad(out.square().sum(), list(model.parameters()))
        for out, model in zip(logits, pair, strict=True)
    ]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_the_option_chooses_the_path(pair, monkeypatch):
    fused, scored = pair
    assert all(block.attn.fused_attn for block in fused.blocks)
    assert all(isinstance(block.attn, ScoresThenScale) for block in scored.blocks)
    assert not any(isinstance(block.attn, ScoresThenScale) for block in fused.blocks)


def test_the_environment_cannot_change_the_path(monkeypatch):
    monkeypatch.setattr("timm.layers.attention.use_fused_attn", lambda: False)
    assert all(block.attn.fused_attn for block in make_vit(attention="fused").blocks)


def test_unscaled_scores_overflow_in_half_where_the_fused_path_does_not():
    # d = 64 features of 48 per head: q k^T = 147,456 > 65,504, scaled 18,432.
    attention = ScoresThenScale(64, num_heads=1, qkv_bias=True)
    with torch.no_grad():
        attention.qkv.weight.zero_()
        attention.qkv.bias.fill_(48.0)
    q = torch.full((1, 1, 3, 64), 48.0)
    tokens = torch.randn(1, 3, 64)
    assert attention(tokens).isfinite().all()
    with torch.autocast("cpu", dtype=torch.float16):
        assert attention(tokens).isnan().all()
        assert torch.nn.functional.scaled_dot_product_attention(q, q, q).isfinite().all()


def test_scale_comes_after_the_product():
    # 65,504 < q k^T < 8 x 65,504: pre-scaled scores would stay finite in half.
    seen = []
    attention = ScoresThenScale(64, num_heads=1, qkv_bias=True)
    with torch.no_grad():
        attention.qkv.weight.zero_()
        attention.qkv.bias.fill_(40.0)
    attention.attn_drop.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.autocast("cpu", dtype=torch.float16):
        attention(torch.randn(1, 3, 64))
    assert seen[0].isnan().all()


def test_masks_are_refused():
    with pytest.raises(ValueError, match="no masks"):
        ScoresThenScale(8, num_heads=2)(torch.randn(1, 3, 8), is_causal=True)
