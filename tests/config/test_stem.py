"""The stem's arithmetic: strides always multiply to the patch, kernels stay centred."""

import itertools
import math
import subprocess
import sys

import pytest

from scaledrelu.config.stem import FittedStem, fit_strides
from scaledrelu.errors import ConfigError
from tests.helpers.configs import composed, group_with


def fit(strides, patch, *, shrink=False, proj_kernel=None):
    fields = {"strides": strides, "kernels": [3] * len(strides), "proj_kernel": proj_kernel}
    return group_with(composed("stem=conv").stem, **fields, shrink=shrink).fit(patch)


@pytest.mark.parametrize(
    ("strides", "patch", "shrink", "expected"),
    [
        ([], 16, False, FittedStem((), 16, 16, 0, False)),
        ([2, 1, 1], 16, False, FittedStem((2, 1, 1), 8, 8, 0, False)),  # Algorithm 1
        ([2, 1, 1], 8, False, FittedStem((2, 1, 1), 4, 4, 0, False)),  # VOLO
        ([2, 2, 2], 16, False, FittedStem((2, 2, 2), 2, 2, 0, False)),  # Table 3
        ([2, 1, 1], 4, True, FittedStem((2, 1, 1), 2, 2, 0, False)),  # mini
        ([2, 2, 2], 4, True, FittedStem((2, 2, 1), 1, 1, 0, True)),  # mini
    ],
)
def test_strides_of_the_paper_and_of_mini(strides, patch, shrink, expected):
    assert fit(strides, patch, shrink=shrink) == expected


def test_fitted_strides_multiply_to_the_patch_and_keep_the_longest_prefix_that_fits():
    for patch, strides in itertools.product(
        (1, 2, 4, 6, 16), itertools.product((1, 2, 3), repeat=3)
    ):
        fitted = fit(strides, patch, shrink=True)
        assert math.prod(fitted.strides) * fitted.proj == patch
        prefixes = [strides[:kept] + (1,) * (3 - kept) for kept in (3, 2, 1, 0)]
        assert fitted.strides == next(p for p in prefixes if patch % math.prod(p) == 0)
        assert fitted.shrunk == (fitted.strides != strides)


def test_shrinking_changes_nothing_that_fits():
    for strides in itertools.product([1, 2], repeat=3):
        assert fit_strides(strides, 16, shrink=True) == fit_strides(strides, 16, shrink=False)


@pytest.mark.parametrize(
    ("strides", "patch", "words"),
    [
        ([2, 2, 2], 4, ["stem.strides", "[2, 2, 2]", "8", "patch_size=4", "shrink"]),
        ([3, 1, 1], 16, ["stem.strides", "3", "patch_size=16"]),
        ([0, 1, 1], 16, ["stem.strides", "[0,1,1]", "[1, 1024]"]),
    ],
)
def test_strides_that_do_not_fit_say_so_in_one_line(strides, patch, words):
    with pytest.raises(ConfigError) as error:
        fit(strides, patch)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("strides", "patch", "kernel", "shrink", "expected"),
    [
        ([2, 1, 1], 16, None, False, (8, 0)),
        ([2, 2, 2], 16, 8, False, (8, 3)),  # Table 3: 28 -> 14 pixels
        ([2, 1, 1], 16, 8, False, (8, 0)),
        ([2, 2, 2], 4, 8, True, (1, 0)),  # mini: 1x1
    ],
)
def test_projection_kernels_of_the_paper_and_of_mini(strides, patch, kernel, shrink, expected):
    fitted = fit(strides, patch, shrink=shrink, proj_kernel=kernel)
    assert (fitted.proj_kernel, fitted.padding) == expected


@pytest.mark.parametrize(("kernel", "strides"), [(7, [2, 2, 2]), (4, [2, 1, 1])])
def test_a_kernel_that_cannot_be_centred_is_refused(kernel, strides):
    with pytest.raises(ConfigError, match=r"stem.proj_kernel=\d: cannot be centred"):
        fit(strides, 16, proj_kernel=kernel)


@pytest.mark.parametrize("kernels", [[3, 3], [4, 3, 3]])
def test_kernels_that_do_not_go_with_the_strides_are_refused(kernels):
    with pytest.raises(ConfigError, match=r"stem.kernels"):
        group_with(composed("stem=conv").stem, kernels=kernels)


@pytest.mark.parametrize(
    ("field", "value"), [("norm", "bach"), ("act", "relo"), ("tail", ["relu", "bach"])]
)
def test_a_word_that_is_none_gets_the_nearest(field, value):
    with pytest.raises(ConfigError, match=f"stem.{field}.*did you mean '(batch|relu)'"):
        group_with(composed("stem=conv").stem, **{field: value})


def test_configuration_does_not_import_torch():
    code = "import sys, scaledrelu.config.compose; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_kernel_that_cannot_be_centred_is_the_stride_only_where_stems_shrink():
    """Stride (2,2,2,2) with its 8x8 projection on patches of 8 pixels: 1 is left for it."""
    fitted = fit([2, 2, 2], 8, shrink=True, proj_kernel=8)
    assert (fitted.strides, fitted.proj, fitted.proj_kernel, fitted.padding) == ((2, 2, 2), 1, 1, 0)
    assert fit([2, 2, 2], 16, shrink=True, proj_kernel=8).proj_kernel == 8
    with pytest.raises(ConfigError, match="cannot be centred"):
        fit([2, 2, 2], 8, shrink=False, proj_kernel=8)
