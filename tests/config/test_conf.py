"""Every option of every group composes, is typed, and says where it comes from."""

from __future__ import annotations

import re
from functools import cache

import pytest

from scaledrelu.config import compose as composition
from scaledrelu.config.hydra_tree import FULL_SIZE, SPECIALISED
from scaledrelu.config.options import group_options
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig
from tests.helpers.options import fitting_recipe, own_code

OPTIONS = {
    group: options
    for group, options in group_options(CONF_DIR).items()
    if group not in ("init", "launch", "stem", "recipe", "profile")  # all but init: below
}
# Every option in one of as few lines as may be: Hydra takes a fifth of a second for each.
LINES = [
    {group: options[turn % len(options)] for group, options in OPTIONS.items()}
    for turn in range(max(map(len, OPTIONS.values())))
]
TRAININGS = [[f"recipe={recipe}"] for recipe in group_options(CONF_DIR)["recipe"]]
TRAININGS.append(["recipe=reid", "data=msmt17"])


@cache
def composed(*overrides: str) -> RunConfig:
    return composition.compose([*overrides, *own_code(*overrides)])


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line.values()))
def test_every_option_composes(line: dict[str, str]) -> None:
    chosen = [f"{group}={option}" for group, option in line.items()]
    assert composed(*fitting_recipe(*chosen), *chosen, *size(line)).method


def size(line: dict[str, str]) -> list[str]:
    """Return the profile paper where mini was not told what an option of the line becomes."""
    files = (f"profile_{group}/mini_{line[group]}.yaml" for group in SPECIALISED if group in line)
    told = all((CONF_DIR / file).is_file() for file in files)
    return [] if told else [f"profile={FULL_SIZE}", "launch=local"]


@pytest.mark.parametrize("launch", group_options(CONF_DIR)["launch"])
def test_every_way_to_launch_composes(launch: str) -> None:
    assert composed(f"launch={launch}", "profile=paper").method  # eight processes, eight groups


@pytest.mark.parametrize("profile", group_options(CONF_DIR)["profile"])
@pytest.mark.parametrize("stem", group_options(CONF_DIR)["stem"])
def test_every_stem_fits_every_profile(profile: str, stem: str) -> None:
    assert composed(f"profile={profile}", f"stem={stem}").stem.label


@pytest.mark.parametrize("profile", group_options(CONF_DIR)["profile"])
@pytest.mark.parametrize("kinds", TRAININGS, ids=",".join)
def test_every_recipe_fits_every_profile(profile: str, kinds: list[str]) -> None:
    assert composed(f"profile={profile}", *kinds).profile.name == profile


def test_every_option_file_opens_with_what_it_is() -> None:
    for path in sorted(CONF_DIR.rglob("*.yaml")):
        text = re.sub(r"^# @package.*\n", "", path.read_text())
        first = text.partition("\n")[0]
        assert re.match(r"# .{9}|source: .{3}", first), (
            f"conf/{path.relative_to(CONF_DIR)}: open the file with a comment of at least 9 "
            f"characters that says what it is and where it comes from; found {first!r}"
        )


def test_the_shell_has_the_last_word_over_recipe_and_profile() -> None:
    config = composed("profile=mini", "precision=bf16", "augment.shift=2", "profile.lr_scale=3")
    assert config.precision.autocast == "bf16"
    assert config.augment.shift == 2
    assert config.profile.lr_scale == 3


def test_a_profile_shrinks_but_never_changes_the_thing_under_study() -> None:
    for stem in group_options(CONF_DIR)["stem"]:
        mini, paper = (composed(f"profile={p}", f"stem={stem}") for p in ("mini", "paper"))
        for key in ("strides", "kernels", "norm", "act", "tail"):
            assert getattr(mini.stem, key) == getattr(paper.stem, key)
        assert mini.lr == paper.lr
        assert mini.warmup == paper.warmup


def test_sam_at_mini_has_the_measured_radius_and_the_recipes_elsewhere() -> None:
    assert composed("optimizer=sam").optimizer.sam.rho == 0.05
    assert composed("optimizer=sam", "profile=paper").optimizer.sam.rho == 0.1
