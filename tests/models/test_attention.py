"""Both attention paths are the same function in fp32 and differ where fp16 overflows."""

import pytest
import torch

from scaledrelu.models.attention import ALIGNED, ScoresThenScale, attend, pad_keys
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


def parts(tokens, dtype=torch.float64):
    q, k, v = (torch.randn(6, tokens, 8, dtype=dtype, requires_grad=True) for _ in range(3))
    return q, k, v


def attended(q, k, v, *, extra, scale=0.25):
    k, v = pad_keys(k.transpose(-2, -1), v, extra)
    return attend(q, k, v, scale=scale, drop=torch.nn.Identity(), tokens=q.shape[1])


@pytest.mark.parametrize("tokens", [1, 5, 8, 37])
def test_padded_keys_change_nothing(tokens):
    q_k_v, extra = parts(tokens), -tokens % ALIGNED
    assert (tokens + extra) % ALIGNED == 0
    plain, filled = (attended(*q_k_v, extra=count) for count in (0, extra))
    torch.testing.assert_close(filled, plain)
    toward = torch.randn_like(plain)
    grads = [torch.autograd.grad(output, q_k_v, toward) for output in (plain, filled)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_scores_overflow_beside_padded_keys_as_well():
    q_k_v = [torch.full((1, 5, 64), 48.0) for _ in range(3)]
    with torch.autocast("cpu", dtype=torch.float16):
        assert attended(*q_k_v, extra=3, scale=0.125).isnan().all()
    assert attended(*q_k_v, extra=3, scale=0.125).isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_attention_on_a_gpu_is_that_of_the_host():
    attention = ScoresThenScale(24, num_heads=3, qkv_bias=True).double()
    tokens = torch.randn(2, 37, 24, dtype=torch.float64)
    expected = attention(tokens)
    found = attention.to("cuda")(tokens.to("cuda"))
    torch.testing.assert_close(found.cpu(), expected)
    assert type(attention).aligns
