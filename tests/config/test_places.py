"""``~`` in a path means the home folder, wherever the path is given."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from scaledrelu.config.compose import compose
from scaledrelu.config.overrides import expand_overrides, quoted
from scaledrelu.config.places import PLACES, expand_home, expand_places
from scaledrelu.errors import ConfigError
from scaledrelu.tables.settings import load_settings


@pytest.fixture(params=["plain", "it's a, b"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / request.param
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    return str(path)


def read_back(override: str) -> object:
    return OverridesParser.create().parse_override(override).value()


def test_home_is_expanded_on_every_way_in(home: str) -> None:
    config = compose(["data=imagefolder", "data.root=~/set", "paths.results='~/r'"])
    assert config.data.root == f"{home}/set"
    assert config.paths.results == f"{home}/r"
    settings = load_settings(["results=~/r", "overrides=[data.root=~/set]"])
    assert settings.results == Path(home) / "r"
    assert read_back(settings.overrides[0]) == f"{home}/set"


def test_every_place_of_a_file_is_expanded(home: str) -> None:
    config: dict = {}
    for key in PLACES:
        group, leaf = key.split(".")
        config.setdefault(group, {})[leaf] = "~/x"
    found = expand_places(config)
    for key in PLACES:
        group, leaf = key.split(".")
        assert found[group][leaf] == f"{home}/x"


def test_only_a_path_that_begins_with_it_is_expanded(home: str) -> None:
    others = ["~init", "a=b~c", "a=x/~/y", "a=[1,2]", "--cfg", "job"]
    assert expand_overrides(others) == others
    assert [read_back(x) for x in expand_overrides(["a=~", "a='~/x, y'"])] == [
        home,
        f"{home}/x, y",
    ]


@pytest.mark.parametrize("path", ["/donn\u00e9es/a b", "d\u00e9t=1", "/\u6570\u636e;x"])
def test_a_path_with_letters_beyond_ascii_needs_no_quotes(path: str) -> None:
    (override,) = expand_overrides([f"data.root={path}"])
    assert read_back(override) == path
    assert expand_overrides([override]) == [override]
    assert compose([f"paths.results={path}"]).paths.results == path


@pytest.mark.parametrize("path", ["/a/trail ", " /a", "/a\t", "/donn\u00e9es/a ", "~/a "])
@pytest.mark.parametrize("key", PLACES)
def test_a_path_with_white_space_at_an_end_which_hydra_strips_needs_quotes(
    key: str, path: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        expand_overrides(["stem=conv", f"{key}={path}"])
    said = str(caught.value)
    assert said.startswith(f"{key}={path}: begins or ends with white space; leave it out, or ")
    assert "\n" not in said
    kept = expand_overrides([f"{key}='{path}'"])[0]
    assert str(read_back(kept)).endswith(path.removeprefix("~"))


def test_what_needs_quotes_is_said_where_it_was_left_without() -> None:
    with pytest.raises(ConfigError) as caught:
        compose(["paths.results=/a[b"])
    said = str(caught.value)
    for value, is_named in (("/a b", False), ("/\u00e9", False), ("/a[b", True), ("a=b", True)):
        try:
            assert compose([f"paths.results={value}"]).paths.results == value
        except ConfigError:
            assert is_named
        else:
            assert not is_named
    assert "a value with brackets, quotes, commas or = needs quotes inside" in said
    with pytest.raises(ConfigError, match="and so do letters beyond ASCII outside a path"):
        compose(["model.label=\u00e9"])


def test_a_list_of_paths_is_left_to_the_sweeper() -> None:
    listed = ["data.root=/\u00e9,/b", "data.root='/\u00e9'", "wandb.project=\u00e9"]
    assert expand_overrides(listed) == listed


def test_a_home_that_nobody_knows_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"data\.root=~nobody-here/x: the home folder is unknown"):
        expand_home("~nobody-here/x", key="data.root")


@pytest.mark.parametrize(
    "text",
    ["/a/b", "it's", "a\\'b", "end\\", "/M\u00fcller/x", "a,b", "x=y", "(x)", "{y}", "12", "~x"],
)
def test_a_quoted_text_is_read_back_as_it_was(text: str) -> None:
    assert read_back(f"key={quoted(text)}") == text
