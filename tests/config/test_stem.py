"""Which fields of a stem are refused, and what can still be read."""

from __future__ import annotations

import pytest

from scaledrelu.config.compose import compose
from scaledrelu.errors import ConfigError
from tests.helpers.configs import composed, with_values


@pytest.mark.parametrize("stem", ["patchify", "patchify_relu", "patchify_bn_relu"])
@pytest.mark.parametrize("field", ["norm=batch", "act=scaled_relu"])
def test_a_layer_behind_convolutions_that_a_stem_does_not_have_is_refused(
    stem: str, field: str
) -> None:
    name = field.split("=")[0]
    with pytest.raises(ConfigError, match=rf"stem\.{name}=.* has no effect, .*stem\.tail=") as said:
        compose([f"stem={stem}", f"stem.{field}", "profile=smoke"])
    assert "\n" not in str(said.value)


def test_the_same_layer_is_taken_behind_convolutions_and_behind_the_projection() -> None:
    assert compose(["stem=conv_plain", "stem.norm=batch", "profile=smoke"]).stem.norm == "batch"
    found = compose(["stem=patchify", "stem.tail=[batch,scaled_relu]", "profile=smoke"])
    assert found.stem.tail == ("batch", "scaled_relu")


def test_a_run_that_was_stored_with_such_a_layer_can_still_be_read() -> None:
    assert with_values(composed("stem=patchify"), {"stem.norm": "batch"}).stem.norm == "batch"
