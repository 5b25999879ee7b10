import pytest
import torch
from torch import nn

from scaledrelu.errors import ConfigError
from scaledrelu.optim.params import parameter_groups


def names_of(model, groups):
    by_id = {id(p): name for name, p in model.named_parameters()}
    return [{by_id[id(p)] for p in group["params"]} for group in groups]


@pytest.fixture(scope="module")
def vit():
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=2)


def test_groups_equal_timms_own_filter(vit):
    from timm.optim import param_groups_weight_decay

    expected = param_groups_weight_decay(vit, 0.05, no_weight_decay_list=vit.no_weight_decay())
    groups = parameter_groups(vit, 0.05)
    assert [g["weight_decay"] for g in groups] == [g["weight_decay"] for g in expected] == [0, 0.05]
    assert names_of(vit, groups) == names_of(vit, expected)
    assert {"pos_embed", "cls_token", "norm.weight", "head.bias"} <= names_of(vit, groups)[0]


def test_wrappers_do_not_hide_exemptions(vit):
    wrapped = nn.ModuleDict({"backbone": nn.Sequential(vit)})
    exempt = names_of(wrapped, parameter_groups(wrapped, 0.05))[0]
    assert exempt == {f"backbone.0.{n}" for n in names_of(vit, parameter_groups(vit, 0.05))[0]}


@pytest.mark.parametrize("act", ["relu", "scaled_relu"])
def test_stem_kernels_decay_and_its_scales_do_not(act):
    from scaledrelu.config.compose import compose
    from scaledrelu.runs.build import build_task

    task = build_task(compose(["profile=mini", "stem=conv", f"stem.act={act}"]), 10)
    exempt, decaying = names_of(task, parameter_groups(task, 0.05))
    stem = {n: p.ndim for n, p in task.named_parameters() if "patch_embed" in n}
    assert {n for n, ndim in stem.items() if ndim == 4} <= decaying
    assert {n for n, ndim in stem.items() if ndim == 1} <= exempt
    assert len([n for n, ndim in stem.items() if ndim == 4]) == 4  # three convolutions, projection
    scales = {n for n in stem if n.endswith(("alpha", "beta"))}
    assert len(scales) == (6 if act == "scaled_relu" else 0)
    assert scales <= exempt


def test_every_trainable_parameter_is_in_exactly_one_group(vit):
    vit.cls_token.requires_grad_(False)
    groups = parameter_groups(vit, 0.05)
    vit.cls_token.requires_grad_(True)
    listed = [id(p) for group in groups for p in group["params"]]
    assert len(listed) == len(set(listed)) == len(list(vit.parameters())) - 1
    assert id(vit.cls_token) not in listed


def test_two_dimensional_bias_is_exempt_by_its_name():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Module()
            self.inner.bias = nn.Parameter(torch.zeros(2, 2))
            self.bias_table = nn.Parameter(torch.zeros(2, 2))

    odd = Odd()
    assert names_of(odd, parameter_groups(odd, 0.1)) == [{"inner.bias"}, {"bias_table"}]


def test_no_trainable_parameter_or_negative_decay_is_refused():
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ConfigError, match="trainable"):
        parameter_groups(frozen, 0.05)


def reid_model():
    """A backbone, a neck with a frozen bias, a name with ``bias`` inside it, a scale of two."""
    model = nn.ModuleDict({"backbone": nn.Linear(3, 2), "neck": nn.BatchNorm1d(2)})
    model["neck"].bias.requires_grad_(False)
    model["backbone"].bias_table = nn.Parameter(torch.zeros(2, 2))
    return model


def test_reid_decays_everything_and_speeds_up_what_is_called_bias(vit):
    for model in (vit, reid_model()):
        official = {}  # one parameter at a time, as solver/make_optimizer.py does
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                official[name] = (1e-4, 2.0 if "bias" in name else 1.0)
        groups = parameter_groups(model, 1e-4, decay_all=True, bias_lr_factor=2.0)
        found = {
            name: (group["weight_decay"], group.get("peak_factor", 1.0))
            for group, names in zip(groups, names_of(model, groups), strict=True)
            for name in names
        }
        assert found == official
        assert all(group["decays"] for group in groups)
        assert {factor for _, factor in official.values()} == {1.0, 2.0}


def test_exemptions_from_decay_and_faster_biases_do_not_depend_on_each_other(vit):
    plain, split = parameter_groups(vit, 0.05), parameter_groups(vit, 0.05, bias_lr_factor=3.0)
    decays = {
        name: g["decays"] for g, n in zip(plain, names_of(vit, plain), strict=True) for name in n
    }
    assert [g["decays"] for g in split] == [False, False, True]  # no bias decays: no empty group
    for group, names in zip(split, names_of(vit, split), strict=True):
        assert {decays[name] for name in names} == {group["decays"]}
        assert {"bias" in name for name in names} == {"peak_factor" in group}
    assert sum(len(g["params"]) for g in split) == len(list(vit.parameters()))


def test_without_a_factor_groups_carry_none(vit):
    expected = {"params", "weight_decay", "decays"}
    assert [set(group) for group in parameter_groups(vit, 0.05)] == [expected] * 2
    together = parameter_groups(vit, 0.05, decay_all=True)
    assert [set(group) for group in together] == [expected]
    assert [id(p) for p in together[0]["params"]] == [id(p) for p in vit.parameters()]
