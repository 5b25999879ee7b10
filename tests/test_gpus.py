"""Which tests see a GPU."""

import os

import torch


def test_tests_without_the_mark_see_no_gpu() -> None:
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not torch.cuda.is_available()
