"""Options of every script are written out: one that is cut short is refused, not guessed."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from scaledrelu.config.shell import read_arguments
from scaledrelu.errors import ConfigError
from scripts import make_token_labels
from tests.helpers.documents import ROOT
from tests.helpers.script_parsers import PARSERS


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
def test_no_script_guesses_an_option_that_is_cut_short(parse: Callable, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        parse(["--hel"])
    assert left.value.code == 2
    assert "usage: " in capsys.readouterr().err


def test_train_guesses_none_of_hydras_either() -> None:
    assert read_arguments(["--multirun", "seed=0"]).multirun
    with pytest.raises(ConfigError, match=r"unrecognized arguments: --multi;"):
        read_arguments(["--multi", "seed=0"])


def makes_parser(node: ast.AST) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return getattr(called, "attr", getattr(called, "id", "")) == "ArgumentParser"


def test_parsers_are_made_in_one_place() -> None:
    files = [path for folder in ("scripts", "scaledrelu") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    makers = [p.name for p in files if any(map(makes_parser, ast.walk(ast.parse(p.read_text()))))]
    assert makers == ["command_line.py"]


def test_a_model_of_timm_without_images_is_told_of_the_option(capsys) -> None:
    with pytest.raises(SystemExit) as left:
        make_token_labels.parse(["--timm", "resnet18"])
    assert left.value.code == 2
    assert capsys.readouterr().err.endswith("error: --timm needs --data\n")
    assert make_token_labels.parse(["--timm", "resnet18", "--data", "d"]).data == "d"


@pytest.mark.parametrize(
    "option",
    [
        ["--data", "d"],
        ["--pretrained"],
        ["--checkpoint", "w.pt"],
        ["--image-size", "64"],
        ["--crop", "0.5"],
        ["--crop-mode", "squash"],
        ["--skip-bad-images"],
    ],
    ids=lambda option: option[0],
)
def test_what_belongs_to_a_model_of_timm_is_refused_beside_a_run(option, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        make_token_labels.parse(["--run", "volo-0123456789ab", *option])
    assert left.value.code == 2
    assert capsys.readouterr().err.endswith(
        f"error: {option[0]}: only with --timm; a run labels its own training images, "
        "prepared as for its evaluation\n"
    )
    assert make_token_labels.parse(["--timm", "resnet18", "--data", "d", *option]).timm


def test_maps_are_made_by_no_more_processes_than_cores_unless_asked(monkeypatch) -> None:
    for cores, processes in ((1, 1), (3, 3), (64, 4)):
        monkeypatch.setattr(make_token_labels, "visible_cores", lambda: cores)  # noqa: B023
        assert make_token_labels.parse(["--run", "volo-0123456789ab"]).workers == processes
    asked = make_token_labels.parse(["--run", "volo-0123456789ab", "--workers", "9"])
    assert asked.workers == 9
