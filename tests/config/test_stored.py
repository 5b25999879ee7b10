"""Configurations of finished runs of any age are read as what they were."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from typing import Any

import pytest

from scaledrelu.config.identity import canonical, run_id
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import plain
from scaledrelu.config.stored import ADDED, from_stored, from_yaml, to_yaml
from scaledrelu.errors import ConfigError
from tests.helpers.configs import composed, from_science

PUBLISHED = sorted((CONF_DIR.parent / "results" / "published").glob("*/runs/*/config.json"))
RECIPES = ["deit", "dino", "linear_probe", "reid", "volo"]


def hashed(science: dict[str, Any]) -> str:
    text = json.dumps(science, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_every_published_science_is_read_and_written_back_unchanged() -> None:
    assert len(PUBLISHED) > 300
    for path in PUBLISHED:
        science = json.loads(path.read_text())
        method = path.parent.name.rpartition("-")[0]
        found = canonical(from_science(science, method=method))
        found["science_version"] = science["science_version"]
        if science["science_version"] == 1:  # had no patience
            del found["divergence"]["patience"]
        assert found == science, path


def test_every_published_record_has_the_id_of_its_science() -> None:
    for path in PUBLISHED:
        assert path.parent.name.rpartition("-")[2] == hashed(json.loads(path.read_text())), path


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_configuration_comes_back_from_its_file(recipe: str) -> None:
    config = composed(f"recipe={recipe}", "optimizer=sam")
    assert from_stored(from_yaml(to_yaml(config, {}))) == config


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_field_younger_than_a_file_has_the_value_that_means_as_before(recipe: str) -> None:
    config = composed(f"recipe={recipe}")
    values = deepcopy(plain(config))
    dropped = []
    for key, neutral in ADDED.items():
        *groups, leaf = key.split(".")
        place = values
        for group in groups:
            place = place.get(group) or {}
        if leaf in place and place[leaf] == neutral:
            dropped.append(place.pop(leaf))
    assert len(dropped) > 10
    assert run_id(from_stored(values)) == run_id(config)


def test_what_never_was_science_and_is_no_field_any_more_is_passed_over() -> None:
    values = deepcopy(plain(composed()))
    values["launch"]["hosts"] = 3
    values["wandb"]["colour"] = "blue"
    assert from_stored(values) == composed()


def test_an_unknown_field_of_the_science_is_refused() -> None:
    values = deepcopy(plain(composed()))
    values["stem"]["dilation"] = 2
    with pytest.raises(ConfigError, match=r"stem\.dilation"):
        from_stored(values)


def test_the_science_of_a_run_hashes_to_its_id() -> None:
    config = composed("stem=conv")
    assert run_id(config) == f"deit-{hashed(canonical(config))}"


def test_a_file_keeps_the_order_of_the_fields() -> None:
    lines = to_yaml(composed(), {}).splitlines()
    groups = [line.partition(":")[0] for line in lines if line[:1].isalpha()]
    assert groups[:4] == ["method", "task", "seed", "model"]
