"""A trusted name leads to what it says, and takes only arguments that it has."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from scaledrelu.errors import ConfigError
from scaledrelu.runs.create import create, create_layer, locate


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


@pytest.mark.parametrize(
    ("build", "field", "value"),
    [
        ({"_target_": "torch.nn.ELU"}, "alpha", 1.0),
        ({"_target_": "torch.nn.ELU", "alpha": 0.5}, "alpha", 0.5),
        ({"_target_": "torch.nn.LeakyReLU"}, "negative_slope", 0.01),
        ({"_target_": "torch.nn.SiLU"}, "inplace", False),
        ({"_target_": "torch.nn.Tanh"}, "training", True),
        ({"_target_": "torch.nn.PReLU"}, "num_parameters", 1),
        ({"_target_": "torch.nn.Threshold", "threshold": 0.1, "value": 0.0}, "threshold", 0.1),
        ({"_target_": "torch.nn.BatchNorm2d"}, "num_features", 64),
        ({"_target_": "torch.nn.GroupNorm", "num_groups": 4}, "num_channels", 64),
        ({"_target_": "timm.layers.LayerNorm2d"}, "normalized_shape", (64,)),
        ({"_target_": "scaledrelu.models.stem.ChannelLayerNorm"}, "normalized_shape", (64,)),
    ],
)
def test_the_channels_go_to_the_first_argument_that_a_layer_lacks(build, field, value) -> None:
    layer = create_layer(build, 64)
    assert getattr(layer, field) == value
    assert layer(torch.zeros(2, 64, 3, 3)).shape == (2, 64, 3, 3)


def test_a_class_that_takes_any_arguments_gets_the_channels() -> None:
    assert isinstance(create_layer({"_target_": "torch.nn.Identity"}, 64), torch.nn.Identity)


OWN = """
from torch import nn

class Kept(nn.Identity):
    def __init__(self, {parameters}):
        super().__init__()
        self.channels = channels
"""


@pytest.mark.parametrize("parameters", ["channels=8", "channels, *more", "scale=1.0, channels=8"])
def test_channels_are_given_by_name_whatever_their_default(own_module, parameters: str) -> None:
    own_module("kept_layers", OWN.format(parameters=parameters))
    assert create_layer({"_target_": "kept_layers.Kept"}, 64).channels == 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import nothing_here",
            "imported (broken_layers.py, line 1: ModuleNotFoundError: No module ",
        ),
        ("x = (", "broken_layers cannot be imported (SyntaxError: '(' was never closed"),
        (
            "\nx = 1 / 0",
            "imported (broken_layers.py, line 2: ZeroDivisionError: division by zero)",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_place(own_module, text, said) -> None:
    own_module("broken_layers", text)
    with pytest.raises(ConfigError) as caught:
        locate("broken_layers.Layer")
    assert "_target_=broken_layers.Layer: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("target", "near"),
    [
        ("torch.nn.functionl.relu", "functional"),
        ("torch.optm.AdamW", "optim"),
        ("torch.nn.SilU", "SiLU"),
    ],
)
def test_the_part_of_a_name_that_is_wrong_has_the_nearest_name(target: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{near}'"):
        locate(target)


@pytest.fixture
def own_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """Return what writes a module of one's own, which is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(name: str, text: str) -> None:
        written.append(name)
        (tmp_path / f"{name}.py").write_text(text)

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            {"_target_": "torch.nn.GroupNorm"},
            "torch.nn.GroupNorm: needs num_groups, num_channels; give all but the one that takes "
            "the number of channels",
        ),
        (
            {"_target_": "torch.nn.functional.relu"},
            "torch.nn.functional.relu: is not a layer; name",
        ),
        (
            {"_target_": "torch.nn.functional.gelu"},
            "torch.nn.functional.gelu: is not a layer; name",
        ),
    ],
)
def test_what_is_no_layer_or_lacks_more_is_named(build, message) -> None:
    with pytest.raises(ConfigError) as caught:
        create_layer(build, 64)
    assert message in str(caught.value)
