"""A stem is called by the option that a person chose, where the file still says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaledrelu.config.run import plain
from scaledrelu.config.stem_options import option_name
from tests.helpers.configs import composed, group_with
from tests.helpers.documents import conf_without_examples, example_files
from tests.helpers.options import STEMS


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A configuration tree with an option of one's own, a copy of another, and a draft."""
    conf = conf_without_examples(tmp_path)
    files = {
        "mine": "defaults: [conv, _self_]\nlabel: mine\nstrides: [2, 2, 2]\nact: scaled_relu\n",
        "alike": "defaults: [conv, _self_]\nlabel: alike\n",
        "wide": "defaults: [conv, _self_]\nlabel: wide\nhidden: 128\n",
        "draft": "defaults: [_grammer, _self_]\nstrides: [2, 1\n",
        "conv_group_norm": example_files()["conf/stem/conv_group_norm.yaml"],
    }
    for name, text in files.items():
        (conf / "stem" / f"{name}.yaml").write_text(text)
    return conf


@pytest.mark.parametrize("option", STEMS)
@pytest.mark.parametrize("profile", ["mini", "paper"])
def test_every_stem_is_called_by_its_option_at_every_size(option: str, profile: str) -> None:
    assert option_name(plain(composed(f"stem={option}", f"profile={profile}").stem)) == option


def test_a_stem_of_ones_own_is_called_by_its_file_and_no_other_stem_is(conf: Path) -> None:
    stem = composed("stem=conv").stem
    mine = group_with(stem, strides=[2, 2, 2], act="scaled_relu", hidden=24)
    norm = {"_target_": "my_norms.GroupNorm", "groups": 4}
    named = {
        "mine": mine,
        "conv_group_norm": group_with(stem, norm=norm),
        "conv": stem,  # of which there is a copy
        "wide": group_with(stem, label="wide"),  # where a profile has set the width
        "conv_relu": composed("stem=conv_relu").stem,
        "conv_scaled_relu": group_with(mine, strides=[2, 1, 1]),  # no file says so
        "conv_GroupNorm_relu": group_with(stem, norm={**norm, "groups": 2}),
    }
    for name, one in named.items():
        assert option_name(plain(one), conf_dir=conf) == name


def test_a_stem_that_no_option_describes_is_called_by_its_layers() -> None:
    wide = group_with(composed("stem=conv").stem, strides=[2, 2, 2], proj_kernel=8)
    assert option_name(plain(wide)) == "conv"


def test_what_a_record_does_not_say_is_as_the_option_has_it() -> None:
    stem = plain(composed("stem=conv_bn").stem)
    del stem["proj_kernel"], stem["kernels"]
    assert option_name(stem) == "conv_bn"
