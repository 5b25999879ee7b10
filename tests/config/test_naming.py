"""What people call a run: one name a run, one group a row; nothing of it depends on who asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaledrelu.config.naming import readable_name, row_group, row_key, stem_name
from tests.helpers.configs import composed, group_with
from tests.helpers.options import of_the_paper


def test_a_run_is_called_by_what_a_row_says() -> None:
    config = composed("stem=conv", "lr.base=1e-3", "warmup.epochs=5")
    assert readable_name(config) == "conv lr 1e-3 adamw wm5 s0"
    other = composed("recipe=volo", "model=volo_d1", "stem=conv", "ffn=conv1d", "warmup=none")
    name = "volo conv MLP->Conv1D+GELU lr 1.6e-3 adamw wm0 s3"
    assert readable_name(replace(other, seed=3)) == name


@pytest.mark.parametrize("option", of_the_paper("stem"))
def test_a_stem_of_the_paper_is_called_as_its_option_at_every_size(option: str) -> None:
    for profile in ("mini", "paper"):
        assert stem_name(composed(f"stem={option}", f"profile={profile}").stem) == option


def test_a_stem_without_an_option_has_a_name_of_its_own() -> None:
    stem = composed("stem=conv").stem
    names = {stem_name(group_with(stem, norm="layernorm")), stem_name(group_with(stem, act="none"))}
    assert names == {"conv_ln_relu", "conv_bn"}


def test_a_stem_of_ones_own_class_is_called_by_it() -> None:
    own = {"_target_": "my_stems.MyStem"}
    names = [
        stem_name(group_with(composed("stem=patchify").stem, build=own)),
        stem_name(group_with(composed("stem=conv_bn").stem, build=own)),
    ]
    assert names == ["MyStem", "MyStem_conv_bn"]
    config = composed("stem.build._target_=my_stems.MyStem", "trust=[my_stems]")
    assert readable_name(config) == "MyStem lr 5e-4 adamw wm5 s0"


def test_a_row_is_another_one_when_anything_but_the_seed_differs() -> None:
    config = composed("stem=conv")
    assert row_key(config) == row_key(replace(config, seed=5))
    assert row_key(config) != row_key(composed("stem=conv", "optimizer.build.weight_decay=0.1"))
    assert row_group(config) != row_group(composed("stem=conv", "profile=paper"))
