from dataclasses import replace

import pytest

from scaledrelu.errors import TableError
from scaledrelu.tables.captions import (
    Subject,
    components,
    design,
    label,
    model_with_stem,
    stride,
    value_text,
)
from scaledrelu.tables.table import Column
from tests.helpers.configs import composed, with_values


def subject(*, patch=16, paper_patch=16, upstream=None, **stem):
    fields = {"strides": [2, 1, 1], "norm": "none", "act": "none", "tail": [], "shrink": True}
    fields |= stem
    fields["kernels"] = [3] * len(fields["strides"])
    changes = {f"stem.{name}": value for name, value in fields.items()}
    changes |= {"model.patch_size": patch, "model.label": "DeiT-Small", "lr.base": 1e-3}
    return Subject(with_values(composed(), changes), upstream, paper_patch)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5e-4, "5e-4"),
        (0.001, "1e-3"),
        (1.6e-3, "1.6e-3"),
        (5e-2, "5e-2"),
        (1e-6, "1e-6"),
        (0.1, "0.1"),
        (0.3, "0.3"),
        (20, "20"),
        (5.0, "5"),
        (0, "0"),
        ("AdamW", "AdamW"),
    ],
)
def test_numbers_read_as_the_paper_prints_them(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("stem", "text"),
    [
        ({"norm": "batch", "act": "relu"}, "3Conv+3BN+3ReLU+1Proj"),
        ({"act": "relu"}, "3Conv+3ReLU+1Proj"),
        ({"tail": ["relu"]}, "3Conv+1Proj+1ReLU"),
        ({"strides": [], "tail": ["batch", "relu"]}, "1Proj+1BN+1ReLU"),
        ({"strides": [], "norm": "batch", "act": "relu"}, "1Proj"),
        (
            {"strides": [2, 2], "norm": "layernorm", "act": "scaled_relu"},
            "2Conv+2LN+2ScaledReLU+1Proj",
        ),
    ],
)
def test_components_are_counted_from_the_fields(stem, text):
    assert components(subject(**stem)) == text


def test_a_stem_of_ones_own_class_is_called_by_it():
    own = {"build": {"_target_": "my_stems.MyStem"}}
    assert components(subject(strides=[], **own)) == "MyStem"
    assert components(subject(norm="batch", **own)) == "MyStem(3Conv+3BN+1Proj)"
    assert model_with_stem(subject(strides=[], **own)) == "DeiT-Small_MyStem"


@pytest.mark.parametrize(
    ("strides", "patch", "paper_patch", "text"),
    [
        ([2, 1, 1], 16, 16, "(2,1,1,8)"),
        ([2, 1, 1], 8, 8, "(2,1,1,4)"),
        ([], 16, 16, "(16)"),
        ([], 4, 16, "(16) [run as (4)]"),
        ([2, 2, 2], 4, 16, "(2,2,2,2) [run as (2,2,1,1)]"),
    ],
)
def test_stride_prints_the_papers_and_the_one_used(strides, patch, paper_patch, text):
    assert stride(subject(strides=strides, patch=patch, paper_patch=paper_patch)) == text


def test_design_names_what_differs_from_the_conv_stem_model():
    plain = subject(norm="batch", act="relu")
    assert design(plain) == "reference"
    assert design(subject(norm="batch", act="gelu")) == "ReLU->GELU in conv-stem"
    other = with_values(plain.config, {"ffn.label": "MLP->Conv1D+GELU"})
    assert design(replace(plain, config=other)) == "MLP->Conv1D+GELU"


def test_a_column_may_hold_the_option_of_the_stem():
    column = Column("stem", "stem", "stem.name", "from")
    for option in ("conv_bn", "patchify_relu"):
        config = composed("recipe=deit", f"stem={option}")
        assert label(column, Subject(config, None, 16)) == option


def test_label_may_read_the_run_it_starts_from():
    upstream = with_values(composed(), {"lr.base": 5e-4})
    column = Column("lr", "lr", "lr.base", "from", of_upstream=True)
    assert label(column, subject(upstream=upstream)) == "5e-4"
    assert label(column, subject()) == "1e-3"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Column("a", "a", "componets", "caption"), "did you mean 'components'"),
        (Column("a", "a", "lr.bas", "from"), "no key 'lr.bas'"),
    ],
)
def test_label_that_does_not_exist_is_an_error(column, message):
    with pytest.raises(TableError, match=message):
        label(column, subject())
