"""Every YAML file that no Hydra composes is read alike: strictly, a mistake is one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scaledrelu.config.artifacts import data_artifact
from scaledrelu.config.compose import check_method, compose_unpinned
from scaledrelu.config.milestones import load_milestones
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.yaml_file import read_yaml
from scaledrelu.errors import ConfigError, ScaledReluError, TableError
from scaledrelu.tables.spec import load_table

Read = Callable[[Path], object]
READERS: dict[str, tuple[Read, type[ScaledReluError], str]] = {  # file -> reader, error, a key
    "artifact/mini_market.yaml": (
        lambda conf_dir: data_artifact(compose_unpinned(["recipe=reid"]), conf_dir),
        ConfigError,
        "script",
    ),
    "figure/curves.yaml": (load_milestones, ConfigError, "tolerance"),
    "table/table1.yaml": (lambda conf_dir: load_table("table1", conf_dir), TableError, "title"),
}


@pytest.fixture(params=READERS)
def file(request, tmp_path):
    """Return a file of a copy of ``conf/``, its reader, the kind of its errors and a key of it."""
    shutil.copytree(CONF_DIR, tmp_path / "conf")
    return tmp_path / "conf" / request.param, *READERS[request.param]


def refused(file: tuple[Path, Read, type[ScaledReluError], str]) -> str:
    path, read, error, _ = file
    conf_dir = path.parents[1]
    with pytest.raises(error) as caught:
        read(conf_dir)
    assert "\n" not in str(caught.value)
    assert str(path.relative_to(conf_dir)) in str(caught.value)
    return str(caught.value)


def test_the_files_are_read(file):
    path, read, _, _ = file
    read(path.parents[1])


def test_a_file_that_is_nested_without_end_is_one_line(file):
    file[0].write_text("[" * 5000)
    refused(file)


def test_a_key_that_stands_twice_is_refused_not_forgotten(file):
    path, key = file[0], file[-1]
    path.write_text(f"{path.read_text()}\n{key}: another\n")
    assert f"the key '{key}' is given twice" in refused(file)


@pytest.mark.parametrize(
    "content", [b"a: [1", b"a: \xff", b"? {}\n: 1\n"], ids=["no YAML", "no UTF-8", "no key"]
)
def test_what_is_no_yaml_is_one_line(file, content):
    file[0].write_bytes(content)
    refused(file)


def test_a_damaged_recipe_of_a_stored_run_is_one_line(tmp_path):
    config = compose_unpinned(["recipe=deit", "profile=smoke"])
    recipe = tmp_path / "recipe" / "deit.yaml"
    recipe.parent.mkdir()
    recipe.write_text("[" * 5000)
    with pytest.raises(ConfigError, match=r"recipe/deit\.yaml: [^\n]+$"):
        check_method(config, tmp_path)


def test_a_file_that_is_no_yaml_is_named_with_the_line(file):
    path = file[0]
    path.write_text("# half written\nsource: x\ncolumns: {\n")
    place = path.relative_to(path.parents[1])
    assert f"{place}, line 4: not valid YAML (expected the node content, but" in refused(file)


def test_what_a_reader_does_with_a_content_changes_no_later_reading(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("rows: [{run: [stem=conv]}]\n")
    read_yaml(path, "it")["rows"][0]["run"].append("lr.base=1")
    assert read_yaml(path, "it") == {"rows": [{"run": ["stem=conv"]}]}
    path.write_text("rows: []\n")
    assert read_yaml(path, "it") == {"rows": []}
