"""Which images may be decoded to tensors, and what that does to a run's id."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaledrelu.config.identity import NEUTRAL, canonical
from scaledrelu.errors import ConfigError
from tests.helpers.configs import composed, with_values

FILES = {"data.augment": "device", "data.in_memory": False}
TENSOR = {**FILES, "data.decoder": "tensor"}


def test_the_decoder_is_pillow_and_then_no_part_of_the_id() -> None:
    config = composed("profile=official")
    assert config.data.decoder == NEUTRAL["data.decoder"] == "pil"
    assert "decoder" not in canonical(config)["data"]
    other = with_values(config, TENSOR)
    assert canonical(other)["data"]["decoder"] == "tensor"


@pytest.mark.parametrize(
    ("recipe", "path"),
    [
        ("deit", ("device", "tensor")), ("dino", ("device", "tensor")),
        ("linear_probe", ("device", "tensor")), ("volo", ("reference", "tensor")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("data", ["imagenet1k", "imagefolder"])
def test_the_device_augments_at_paper_size_but_for_label_maps(
    recipe: str, data: str, path: tuple[str, str]
) -> None:
    ours, official = (
        composed(f"profile={p}", f"recipe={recipe}", f"data={data}").data
        for p in ("paper", "official")
    )
    assert (ours.augment, ours.decoder) == path
    assert (official.augment, official.decoder) == ("reference", "pil")


@pytest.mark.parametrize("data", ["market1501", "msmt17"])
def test_people_live_on_the_device_at_paper_size(data: str) -> None:
    ours, official = (
        composed(f"profile={p}", "recipe=reid", f"data={data}").data for p in ("paper", "official")
    )
    assert (ours.augment, ours.in_memory) == ("device", True)
    assert ours == replace(official, augment="device", in_memory=True)


@pytest.mark.parametrize(
    ("recipe", "change", "message"),
    [
        (
            "deit",
            {"data.augment": "reference"},
            "data.augment=reference, .*; set data.decoder=pil,",
        ),
        ("deit", {"data.in_memory": True}, "data.in_memory=false, or data.decoder=pil"),
        ("deit", {"augment.interpolation": "lanczos"}, "bicubic or bilinear, or data.decoder=pil"),
        ("dino", {"augment.multi_crop.pipeline": "reference"}, "multi_crop.pipeline=device, or"),
        (
            "volo",
            {"data.augment": "reference", "data.token_labels": "none"},
            "no label maps; set data.token_labels=none data.decoder=pil$",
        ),
    ],
)
def test_what_needs_pillows_images_is_refused_in_one_line(
    recipe: str, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        with_values(composed("profile=paper", f"recipe={recipe}"), {**TENSOR, **change})
    assert "\n" not in str(caught.value)
