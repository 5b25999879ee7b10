"""What a person adds costs what docs say: one file of conf, and one module where code is needed."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from scaledrelu.config.compose import CONF_DIR, compose_unpinned
from scaledrelu.config.identity import run_id
from scaledrelu.errors import ConfigError
from scaledrelu.runs.build import build_task
from scaledrelu.runs.optimisation import build_optimizer, build_schedule
from scaledrelu.tables.captions import Subject, components
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.planner import build_plan
from scaledrelu.tables.spec import load_table


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of the configuration tree to add to."""
    return Path(shutil.copytree(CONF_DIR, tmp_path / "conf"))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of one's own with a norm and a curve."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "of_my_own.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    yield "of_my_own"
    sys.modules.pop("of_my_own", None)


MODULE = """\
from torch import nn


class PairNorm(nn.GroupNorm):
    def __init__(self, channels, *, groups):
        super().__init__(groups, channels)


class Straight:
    def __init__(self, power=1.0):
        self.power = power

    def __call__(self, done, length):
        return (1 - done / length) ** self.power
"""
STEM = """\
# A stem with another norm.
defaults: [conv, _self_]
label: conv
norm: {_target_: of_my_own.PairNorm, groups: 4}
"""
CURVE = """\
# A straight line down, scaled as in DeiT.
defaults: [linear512, _self_]
label: straight
curve: {_target_: of_my_own.Straight}
"""
LION = """\
# Lion (Chen et al., 2023) from timm.
defaults: [_base, _self_]
label: Lion too
build: {_target_: timm.optim.Lion, betas: [0.9, 0.99]}
"""
VIT_B = """\
# DeiT-B (recipes A.1).
defaults: [vit_small, _self_]
label: DeiT-Base
width: 768
heads: 12
"""
VIT_B_AT_MINI = """\
# @package _global_
# Mini ViT-B: twice the width of mini ViT-S.
model: {width: 128, depth: 6, heads: 4, patch_size: 4, drop_path: 0.0}
stem: {hidden: 16, shrink: true}
"""
TABLE = """\
source: Nobody's table
title: Two optimizers
base: [recipe=deit, model=vit_small, stem=conv]
columns:
  optimizer: {from: optimizer.label}
  top1: {metric: val/top1, header: Top-1, digits: 1}
blocks:
  - label: DeiT-Small
    rows:
      - {run: [optimizer=adamw], paper: {top1: missing}}
      - {run: [optimizer=lion], paper: {top1: missing}}
"""


def test_a_norm_for_stems_is_one_module_and_one_file(conf: Path, module: str) -> None:
    (conf / "stem" / "conv_pairs.yaml").write_text(STEM)
    with pytest.raises(ConfigError, match=r"add trust=\[of_my_own\]"):
        compose_unpinned(["stem=conv_pairs"], conf_dir=conf)
    config = compose_unpinned(["stem=conv_pairs", f"trust=[{module}]"], conf_dir=conf)
    norms = build_task(config, 10).backbone.patch_embed.convs[1::3]
    assert [(type(norm).__name__, norm.num_groups) for norm in norms] == [("PairNorm", 4)] * 3
    assert run_id(config) != run_id(compose_unpinned(["stem=conv"], conf_dir=conf))
    assert components(Subject(config, None, 16)) == "3Conv+3PairNorm+3ReLU+1Proj"


def test_a_curve_of_the_rate_is_one_module_and_one_file(conf: Path, module: str) -> None:
    (conf / "lr" / "straight.yaml").write_text(CURVE)
    overrides = ["lr=straight", "warmup=none", f"trust=[{module}]"]
    config = compose_unpinned(overrides, conf_dir=conf)
    schedule = build_schedule(config, steps_per_epoch=25)
    peak, floor = config.peak_lr, config.peak_lr / 100
    middle = schedule.total_steps // 2
    assert schedule.at(0) == peak
    assert schedule.at(middle) == pytest.approx((peak + floor) / 2)
    assert schedule.at(middle // 2) == pytest.approx(floor + 0.75 * (peak - floor))
    cosine = compose_unpinned(["warmup=none"], conf_dir=conf)
    assert run_id(config) != run_id(cosine)
    shape = 0.5 * (1 + math.cos(math.pi / 4))
    assert build_schedule(cosine, 25).at(middle // 2) == pytest.approx(
        floor + shape * (peak - floor)
    )
    bent = compose_unpinned([*overrides, "+lr.curve.power=2"], conf_dir=conf)
    assert build_schedule(bent, 25).at(middle) == pytest.approx(floor + 0.25 * (peak - floor))


def test_an_optimizer_of_timm_is_one_file(conf: Path) -> None:
    (conf / "optimizer" / "lion_too.yaml").write_text(LION)
    config = compose_unpinned(["optimizer=lion_too", "lr.base=0.5"], conf_dir=conf)
    layer = nn.Linear(3, 1, bias=False)
    nn.init.zeros_(layer.weight)
    layer.weight.grad = torch.tensor([[2.0, -3.0, 0.1]])
    build_optimizer(config.optimizer, layer, lr=config.lr.base).step()
    assert torch.equal(layer.weight.detach(), torch.tensor([[-0.5, 0.5, -0.5]]))


def test_a_larger_vit_is_one_file_and_its_sizes_at_mini(conf: Path) -> None:
    (conf / "model" / "vit_base.yaml").write_text(VIT_B)
    with pytest.raises(ConfigError, match=r"conf/profile_model/mini_vit_base\.yaml"):
        compose_unpinned(["model=vit_base", "profile=mini"], conf_dir=conf)
    paper = compose_unpinned(["model=vit_base", "profile=paper", "launch=local"], conf_dir=conf)
    assert (paper.model.width, paper.model.depth, paper.model.patch_size) == (768, 12, 16)
    (conf / "profile_model" / "mini_vit_base.yaml").write_text(VIT_B_AT_MINI)
    for profile in ("mini", "smoke"):  # smoke shares the sizes of mini
        config = compose_unpinned(["model=vit_base", f"profile={profile}"], conf_dir=conf)
        backbone = build_task(config, 10).backbone
        assert (backbone.embed_dim, backbone.patch_embed.num_patches) == (128, 16)


def test_a_table_is_one_file(conf: Path, tmp_path: Path) -> None:
    (conf / "table" / "table8.yaml").write_text(TABLE)
    plan = build_plan(
        [load_table("table8", conf)],
        profile="mini",
        seeds=(0, 1),
        results=tmp_path,
        compose=Composer(tmp_path, conf_dir=conf),
    )
    assert [cell.labels["optimizer"] for cell in plan.cells] == ["AdamW", "Lion"]
    assert len(plan.runs) == 4


def test_a_profile_may_share_the_sizes_of_another(conf: Path) -> None:
    text = "# @package _global_\n# Mini, for longer.\ndefaults: [mini, _self_]\n"
    own = conf / "profile" / "longer.yaml"
    own.write_text(f"{text}profile: {{name: longer, epoch_scale: 0.1}}\n")
    mini, longer = (
        compose_unpinned([f"profile={name}", "optimizer=sam"], conf_dir=conf)
        for name in ("mini", "longer")
    )
    assert (longer.model, longer.augment, longer.optimizer) == (
        mini.model,
        mini.augment,
        mini.optimizer,
    )
    assert (longer.run_epochs, mini.run_epochs) == (30, 16)


def test_a_profile_that_says_nothing_of_sizes_is_refused(conf: Path) -> None:
    scales = "epoch_scale: 1, warmup_scale: 1, lr_scale: 1, batch_scale: 1, notes: []"
    (conf / "profile" / "own.yaml").write_text(
        f"# @package _global_\n# Nothing said.\nprofile: {{name: own, {scales}}}\n"
    )
    with pytest.raises(ConfigError, match=r"override /sizes: own` to .*conf/profile/own\.yaml"):
        compose_unpinned(["profile=own"], conf_dir=conf)
