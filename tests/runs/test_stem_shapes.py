"""A stem from elsewhere is refused where its map is not the one that the model expects."""

from __future__ import annotations

import copy
import re
import time

import pytest
import torch
from torch import nn

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.errors import ConfigError
from scaledrelu.models.stem import Stem, check_map
from scaledrelu.runs.build import build_task

TRUST = f"trust=[{__name__}]"


class _Own(nn.Module):
    """A stem as a person writes it: one convolution."""

    extra, shrinks = 0, 1

    def __init__(self, stem, *, width, patch_size, image_size, create):
        super().__init__()
        sides = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.grid_size = tuple(side // patch_size for side in sides)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        stride = patch_size // self.shrinks
        self.conv = nn.Conv2d(3, width + self.extra, patch_size, stride, padding=0)

    def forward(self, image_BCHW):
        return self.conv(image_BCHW)


class Right(_Own):
    """As the model expects it."""


class Wide(_Own):
    """A channel too many."""

    extra = 1


class Fine(_Own):
    """A forgotten stride."""

    shrinks = 2


class Tokens(_Own):
    """Tokens instead of a map."""

    def forward(self, image_BCHW):
        return super().forward(image_BCHW).flatten(2).transpose(1, 2)


class Pair(_Own):
    """Two things."""

    def forward(self, image_BCHW):
        return image_BCHW, super().forward(image_BCHW)


class OnGpu(_Own):
    """What cannot be looked at without a GPU."""

    def forward(self, image_BCHW):
        raise RuntimeError("needs a GPU")


def built(stem: str, *overrides: str) -> nn.Module:
    own = [f"stem.build._target_={__name__}.{stem}", TRUST]
    return build_task(compose_unpinned([*own, *overrides]), 10).backbone.patch_embed


VOLO = ("recipe=volo", "data.token_labels=none")


@pytest.mark.parametrize("recipe", [(), VOLO], ids=["vit", "volo"])
def test_a_stem_with_the_right_map_is_taken(recipe) -> None:
    assert isinstance(built("Right", *recipe), Right)


@pytest.mark.parametrize(
    ("stem", "found"),
    [
        ("Wide", "(1, 65, 4, 4), expected (1, 64, 4, 4): (1, width, rows, columns)"),
        ("Fine", "(1, 64, 7, 7), expected (1, 64, 4, 4)"),
        ("Tokens", "(1, 16, 64), expected (1, 64, 4, 4)"),
        ("Pair", "tuple, expected (1, 64, 4, 4)"),
    ],
)
def test_another_map_is_refused_by_name(stem: str, found: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"stem ({__name__}.{stem}): returns {found}")):
        built(stem)


def test_a_volo_refuses_it_too() -> None:
    with pytest.raises(ConfigError, match=r"Wide\): returns \(1, \d+, \d+, \d+\), expected"):
        built("Wide", *VOLO)


def test_a_layer_that_changes_the_map_is_refused() -> None:
    pool = "stem.tail=[{_target_: torch.nn.MaxPool2d, kernel_size: 2}]"
    with pytest.raises(ConfigError, match=r"stem \(torch.nn.MaxPool2d\): returns \(1, 64, 2, 2\)"):
        build_task(compose_unpinned([pool, "trust=[torch.nn]"]), 10)


def test_a_stem_without_its_grid_is_told_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"mine: has grid_size=None .* set self\.grid_size="):
        check_map(nn.Identity(), name="mine", width=3, image_size=4)


@pytest.mark.parametrize("grid", [4, (2, 2, 1), [4]])
def test_a_grid_that_is_not_rows_and_columns_is_refused(grid: object) -> None:
    stem = nn.Identity()
    stem.grid_size, stem.num_patches = grid, 4
    with pytest.raises(ConfigError, match=r"mine: has grid_size=.* set self\.grid_size=\(rows"):
        check_map(stem, name="mine", width=3, image_size=4)


def test_what_does_not_run_without_its_device_is_left_to_the_training() -> None:
    assert isinstance(built("OnGpu"), OnGpu)


def test_looking_changes_nothing_and_takes_milliseconds_at_paper_size() -> None:
    config = compose_unpinned(["stem=conv", "profile=paper", "launch=local"])
    stem = Stem(config.stem, width=384, patch_size=16, image_size=224)
    before, state = copy.deepcopy(stem.state_dict()), torch.get_rng_state()
    started = time.process_time()
    with pytest.raises(ConfigError, match=r"conv: returns \(1, 384, 14, 14\), expected \(1, 385"):
        check_map(stem, name="conv", width=385, image_size=224)
    assert time.process_time() - started < 0.1  # 5 ms; imports of torch that timm needs are done
    assert stem.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in stem.state_dict().items())
