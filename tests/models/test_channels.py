"""Pairs of parameters that Theorem 1 relates: rescaling them leaves a network alone, or not."""

import pytest
import torch

from scaledrelu.models.channels import ATTENTION, PROJECTION, THEOREM, channel_pairs
from tests.helpers.model_builders import MINI_VOLO, make_vit, make_volo


def _moved(model, name):
    model = model.double().eval()
    pair = channel_pairs(model)[name]
    with torch.no_grad():
        for part in (pair.alpha, pair.beta):
            part.add_(torch.randn_like(part))
        image = torch.randn(4, 3, 16, 16, dtype=torch.float64)
        before = model(image)
        pair.rescale(torch.rand(len(pair.beta), dtype=torch.float64) + 0.5)
        return float((model(image) - before).abs().max() / before.abs().max())


@pytest.mark.parametrize(
    ("stem", "changes", "names"),
    [
        ("conv", {}, {ATTENTION, PROJECTION}),
        ("conv_relu", {"act": "affine_relu", "hidden": 16}, {ATTENTION, PROJECTION}),
        ("patchify_bn_relu", {}, {ATTENTION, THEOREM}),
        ("patchify", {}, {ATTENTION}),
        ("conv_bn", {}, {ATTENTION}),  # no cut
        ("conv_relu", {"act": "scaled_relu", "hidden": 16}, {ATTENTION}),  # not homogeneous
        ("conv_gelu", {}, {ATTENTION}),  # not homogeneous
    ],
)
def test_pairs_are_found_where_they_are_and_exact_if_nothing_lies_between(stem, changes, names):
    torch.manual_seed(0)
    model = make_vit(stem, stem_changes=changes)
    pairs = channel_pairs(model)
    assert set(pairs) == names
    for name, pair in pairs.items():
        error = _moved(make_vit(stem, stem_changes=changes), name)
        assert (error < 1e-12) == pair.is_direct, name


def test_the_pair_of_the_attention_is_exact_in_a_volo_too():
    torch.manual_seed(0)
    assert _moved(make_volo(**MINI_VOLO), ATTENTION) < 1e-12


def test_norms_are_over_all_weights_that_read_a_channel():
    pair = channel_pairs(make_vit("conv"))[PROJECTION]
    weight = pair.readers[0].detach()
    expected = torch.stack([weight[:, c].flatten().norm() for c in range(weight.shape[1])])
    torch.testing.assert_close(pair.reader_norm(), expected)
    with torch.no_grad():
        pair.alpha.fill_(3.0)
        pair.beta.fill_(4.0)
    assert pair.scale_norm().eq(5).all()
