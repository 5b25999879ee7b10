"""The stem's arithmetic: strides always multiply to the patch, kernels stay centred."""

import itertools
import math
import subprocess
import sys

import pytest
from scaledrelu.config.grammar import FittedKernel, FittedStrides, fit_proj_kernel, fit_strides

from scaledrelu.errors import ConfigError


@pytest.mark.parametrize(
    ("strides", "patch", "shrink", "expected"),
    [
        ([], 16, False, FittedStrides((), 16, False)),
        ([2, 1, 1], 16, False, FittedStrides((2, 1, 1), 8, False)),  # Algorithm 1
        ([2, 1, 1], 8, False, FittedStrides((2, 1, 1), 4, False)),  # VOLO
        ([2, 2, 2], 16, False, FittedStrides((2, 2, 2), 2, False)),  # Table 3
        ([2, 1, 1], 4, True, FittedStrides((2, 1, 1), 2, False)),  # mini
        ([2, 2, 2], 4, True, FittedStrides((2, 2, 1), 1, True)),  # mini
    ],
)
def test_strides_of_the_paper_and_of_mini(strides, patch, shrink, expected):
    assert fit_strides(strides, patch, shrink=shrink) == expected


def test_fitted_strides_multiply_to_the_patch_and_keep_the_longest_prefix_that_fits():
    for patch, strides in itertools.product(
        (1, 2, 4, 6, 16), itertools.product((1, 2, 3), repeat=3)
    ):
        fitted = fit_strides(strides, patch, shrink=True)
        assert math.prod(fitted.convs) * fitted.proj == patch
        prefixes = [strides[:kept] + (1,) * (3 - kept) for kept in (3, 2, 1, 0)]
        assert fitted.convs == next(p for p in prefixes if patch % math.prod(p) == 0)
        assert fitted.shrunk == (fitted.convs != strides)


def test_shrinking_changes_nothing_that_fits():
    for strides in itertools.product([1, 2], repeat=3):
        assert fit_strides(strides, 16, shrink=True) == fit_strides(strides, 16, shrink=False)


@pytest.mark.parametrize(
    ("strides", "patch", "shrink", "words"),
    [
        ([2, 2, 2], 4, False, ["stem.strides", "[2, 2, 2]", "8", "patch_size=4", "shrink"]),
        ([3, 1, 1], 16, False, ["stem.strides", "3", "patch_size=16"]),
        ([0, 1, 1], 16, True, ["stem.strides", "[0, 1, 1]", ">= 1"]),
    ],
)
def test_strides_that_do_not_fit_say_so_in_one_line(strides, patch, shrink, words):
    with pytest.raises(ConfigError) as error:
        fit_strides(strides, patch, shrink=shrink)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("kernel", "stride", "shrunk", "expected"),
    [
        (None, 8, False, FittedKernel(8, 0)),
        (8, 2, False, FittedKernel(8, 3)),  # Table 3: 28 -> 14 pixels
        (8, 8, False, FittedKernel(8, 0)),
        (8, 1, True, FittedKernel(1, 0)),  # mini: 1x1
    ],
)
def test_projection_kernels_of_the_paper_and_of_mini(kernel, stride, shrunk, expected):
    assert fit_proj_kernel(kernel, stride, shrunk) == expected


@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (4, 8)])
def test_a_kernel_that_cannot_be_centred_is_refused(kernel, stride):
    with pytest.raises(ConfigError, match=r"stem.proj_kernel: \d cannot be centred"):
        fit_proj_kernel(kernel, stride, False)


def test_the_grammar_does_not_import_torch():
    code = "import sys, scaledrelu.config.grammar; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
