"""Every option has its size at every profile; what a person adds without one is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.hydra_tree import FULL_SIZE, SPECIALISED, compose_tree
from scaledrelu.config.options import group_options
from scaledrelu.config.overrides import expand_glob
from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import ConfigError
from scaledrelu.runs.optimisation import build_optimizer
from tests.helpers.options import of_the_paper

GROUPS = group_options(CONF_DIR)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of the configuration tree to add to."""
    return shutil.copytree(CONF_DIR, tmp_path / "conf")


# Options that no table of the paper trains, and that fit every profile all the same.
BESIDE = {"data": ("cifar10", "digits", "imagefolder")}


def test_every_option_of_the_papers_tables_has_a_file_for_every_profile() -> None:
    assert {sizes_of(p) for p in GROUPS["profile"]} >= {"mini", "small", "cifar", FULL_SIZE}
    for profile in ("mini", "small", "cifar"):
        for group in SPECIALISED:
            for option in (*of_the_paper(group), *BESIDE.get(group, ())):
                path = CONF_DIR / f"profile_{group}" / f"{profile}_{option}.yaml"
                assert path.is_file(), (
                    f"add conf/{path.relative_to(CONF_DIR)}: what {group}={option} becomes at "
                    f"{profile}; the files beside it are examples"
                )


def sizes_of(profile: str) -> str:
    return compose_tree([f"profile={profile}"], CONF_DIR).choices["sizes"]


@pytest.mark.parametrize("group", ["model", "recipe", "data"])
def test_an_option_without_its_size_is_refused_with_the_file_to_add(conf: Path, group: str) -> None:
    first = GROUPS[group][0]
    shutil.copy(conf / group / f"{first}.yaml", conf / group / "own.yaml")
    with pytest.raises(ConfigError) as refused:
        compose_unpinned([f"{group}=own", "profile=small"], conf_dir=conf)
    assert f"conf/profile_{group}/small_own.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert compose_unpinned([f"{group}=own", "profile=paper"], conf_dir=conf)
    (conf / f"profile_{group}" / "small_own.yaml").write_text("# @package _global_\n# Its size.\n")
    assert compose_unpinned([f"{group}=own", "profile=small"], conf_dir=conf)


WITH_SAM = {
    "what it builds on": "defaults: [sam, _self_]\nlabel: Own\n",
    "itself": "defaults: [lion, _self_]\nlabel: Own\n"
    "sam: {rho: 0.1, per_group: false, stats_in_second_pass: false, same_masks: false}\n",
}


@pytest.mark.parametrize("text", WITH_SAM.values(), ids=WITH_SAM)
@pytest.mark.parametrize("profile", ["mini", "smoke", "cifar"])
def test_sam_around_another_optimizer_wants_its_radius(conf: Path, text: str, profile: str) -> None:
    (conf / "optimizer" / "own.yaml").write_text(text)
    sizes = sizes_of(profile)
    file = f"profile_optimizer/{sizes}_own.yaml"
    refused = rf"no radius of SAM for optimizer=own; add conf/{file} \({sizes}_sam\.yaml beside it"
    for more in ([], ["optimizer.sam.rho=0.2"]):
        with pytest.raises(ConfigError, match=refused):
            compose_unpinned(["optimizer=own", f"profile={profile}", *more], conf_dir=conf)
    assert compose_unpinned(["optimizer=own", "profile=paper"], conf_dir=conf).optimizer.sam
    (conf / file).write_text("# @package _global_\noptimizer: {sam: {rho: 0.03}}\n")
    found = compose_unpinned(["optimizer=own", f"profile={profile}"], conf_dir=conf)
    assert found.optimizer.sam.rho == 0.03


def test_an_optimizer_without_sam_wants_no_radius(conf: Path) -> None:
    own = conf / "optimizer" / "own.yaml"
    for text in ("defaults: [adamw, _self_]\n", "defaults: [sam, _self_]\nsam: null\n"):
        own.write_text(f"{text}label: Own\n")
        assert compose_unpinned(["optimizer=own"], conf_dir=conf).optimizer.sam is None


def test_a_new_profile_is_told_every_file_that_it_lacks(conf: Path) -> None:
    small = (conf / "profile" / "small.yaml").read_text()
    (conf / "profile" / "own.yaml").write_text(small.replace("small", "own"))
    with pytest.raises(ConfigError) as refused:
        compose_unpinned(["profile=own"], conf_dir=conf)
    for file in ("recipe/own_deit", "model/own_vit_small", "data/own_imagenet1k"):
        assert f"conf/profile_{file}.yaml" in str(refused.value)


@pytest.mark.parametrize(
    ("profile", "pixels"), [("mini", 16), ("small", 32), ("smoke", 16), ("cifar", 32)]
)
def test_a_folder_of_ones_own_trains_at_the_size_of_the_profile(profile: str, pixels: int) -> None:
    overrides = ["data=imagefolder", f"profile={profile}"]
    assert compose_unpinned(overrides).data.image_size == pixels
    assert compose_unpinned([*overrides, "data.image_size=64"]).data.image_size == 64


def test_a_report_on_a_folder_of_ones_own_does_not_speak_of_digits() -> None:
    notes = " ".join(compose_unpinned(["data=imagefolder", "profile=mini"]).profile.notes)
    assert "images of a folder" in notes
    assert "digits" not in notes


def test_a_recipe_chooses_its_model_and_the_shell_has_the_last_word() -> None:
    chosen = {recipe: _model(f"recipe={recipe}") for recipe in GROUPS["recipe"]}
    assert chosen.pop("volo") == "scaledrelu.models.volo.build_volo"
    assert set(chosen.values()) == {"scaledrelu.models.build.build_vit"}
    assert _model("recipe=deit", "model=volo_d1") == "scaledrelu.models.volo.build_volo"


def _model(*overrides: str) -> str:
    config = compose_unpinned([*overrides, "profile=paper", "launch=local"])
    return config.model.build["_target_"]


THREE_LINES = """\
defaults: [_base, _self_]
label: RMSprop
build: {_target_: torch.optim.RMSprop, alpha: 0.95}
"""


def test_an_optimizer_is_three_lines(conf: Path) -> None:
    (conf / "optimizer" / "rmsprop.yaml").write_text(THREE_LINES)
    config = compose_unpinned(["optimizer=rmsprop"], conf_dir=conf)
    built = build_optimizer(config.optimizer, nn.Linear(3, 2), lr=1.0)
    assert type(built) is torch.optim.RMSprop
    assert [group["weight_decay"] for group in built.param_groups] == [0.0, 0.05]
    assert built.defaults["alpha"] == 0.95


def test_lion_moves_every_weight_by_its_rate_times_the_sign_of_the_gradient() -> None:
    config = compose_unpinned(["optimizer=lion", "optimizer.build.weight_decay=0", "lr.base=0.5"])
    layer = nn.Linear(3, 1, bias=False)
    nn.init.zeros_(layer.weight)
    layer.weight.grad = torch.tensor([[2.0, -3.0, 0.1]])
    build_optimizer(config.optimizer, layer, lr=config.lr.base).step()
    assert torch.equal(layer.weight.detach(), torch.tensor([[-0.5, 0.5, -0.5]]))


def test_a_glob_takes_every_option_and_no_shared_base() -> None:
    for group in ("stem", "optimizer"):
        files = sorted(path.stem for path in (CONF_DIR / group).glob("[!_]*.yaml"))
        assert expand_glob(f"{group}=glob(*)", GROUPS) == f"{group}={','.join(files)}"
    groups = {"stem": ["conv", "conv_bn", "conv_relu", "patchify", "patchify_relu"]}
    chosen = expand_glob("stem=glob([conv_b*,patch*],exclude=*relu)", groups)
    assert chosen == "stem=conv_bn,patchify"
    assert expand_glob("lr.base=1e-3", GROUPS) == "lr.base=1e-3"
