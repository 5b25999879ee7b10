"""A trusted name leads to what it says, and takes only arguments that it has."""

from __future__ import annotations

import logging

import pytest
import torch

from scaledrelu.errors import ConfigError
from scaledrelu.runs.create import create, locate


def test_classes_and_functions_are_found_where_they_are_named() -> None:
    assert locate("torch.optim.AdamW") is torch.optim.AdamW
    assert locate("torch.optim.adamw.AdamW") is torch.optim.AdamW
    assert locate("scaledrelu.models.stem.Stem").__name__ == "Stem"


@pytest.mark.parametrize(
    "target",
    [
        "torch.optim.adam.torch.load",
        "torch.optim.swa_utils.torch.load",
        "scaledrelu.models.weight_files.torch.load",
        "scaledrelu.data.cifar.pickle.load",
        "scaledrelu.data.cifar.Path",
        "torch.optim.optimizer.defaultdict",
        "torch.optim.adam",
        "torch.optim.Foo",
        "torch.nothing.Foo",
        "nobody.has.this",
    ],
)
def test_a_trusted_name_that_leads_elsewhere_is_not_called(
    target: str, caplog: pytest.LogCaptureFixture
) -> None:
    for build in ({"_target_": target}, {"_target_": "torch.optim.SGD", "x": {"_target_": target}}):
        with (
            caplog.at_level(logging.DEBUG),
            pytest.raises(ConfigError, match=f"_target_={target}: ") as caught,
        ):
            create(build, [])
        assert "\n" not in str(caught.value)
        assert not caplog.records


def test_a_foreign_module_is_no_part_of_the_one_before_it() -> None:
    with pytest.raises(ConfigError, match=r"torch is not part of torch\.optim\.adam$"):
        locate("torch.optim.adam.torch.load")


def test_an_argument_that_nobody_takes_is_named() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1))]
    build = {"_target_": "torch.optim.AdamW", "weight_decai": 0.1}
    with pytest.raises(
        ConfigError, match="has no argument 'weight_decai'; did you mean 'weight_decay'"
    ):
        create(build, weights, lr=0.1)
    with pytest.raises(ConfigError, match="'lr' is set by the run itself"):
        create({"_target_": "torch.optim.AdamW", "lr": 1.0}, weights, lr=0.1)
