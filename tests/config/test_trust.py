"""Configurations of others travel: what they may call is a short list, whoever wrote them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.identity import run_id
from scaledrelu.config.options import group_options
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import plain
from scaledrelu.config.trust import check_targets, find_targets
from scaledrelu.errors import ConfigError

ROOT = CONF_DIR.parent


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "torch.optimx.Adam",
        "torch.optim",
        "builtins.eval",
        "scaledrelu.files.write_atomic",
        "scaledrelu.bench.main.main",
        "scaledrelu.data.cifar._unpickle",
        "scaledrelu.models.__builtins__.eval",
        "scaledrelu.models.x y",
        "",
        None,
        5,
        ["torch.optim.AdamW"],
    ],
)
def test_code_outside_the_list_is_refused_at_any_depth(target: object) -> None:
    for config in (
        {"task": {"_target_": target}},
        {"a": {"build": [{"x": 1}, {"deep": {"_target_": target}}]}},
        {"a": [[{"_target_": target}]]},
    ):
        with pytest.raises(ConfigError, match="not trusted code") as caught:
            check_targets(config)
        assert "\n" not in str(caught.value)


def test_the_error_says_how_to_trust_a_module() -> None:
    config = {"optimizer": {"build": {"_target_": "lion_pytorch.Lion"}}}
    with pytest.raises(ConfigError, match=r"add trust=\[lion_pytorch\]$"):
        check_targets(config)
    check_targets(config, trust=["lion_pytorch"])
    with pytest.raises(ConfigError):
        check_targets(config, trust=["lion"])


def test_composition_refuses_and_trust_on_the_command_line_allows() -> None:
    own = ["optimizer.build._target_=lion_pytorch.Lion"]
    with pytest.raises(ConfigError, match=r"optimizer\.build\._target_=lion_pytorch\.Lion"):
        compose_unpinned(own)
    assert compose_unpinned([*own, "trust=[lion_pytorch]"]).trust == ("lion_pytorch",)


def test_what_has_to_be_trusted_is_said_at_once() -> None:
    own = ["optimizer.build._target_=b.Own", "stem.norm={_target_: c.Norm}", "trust=[a]"]
    with pytest.raises(ConfigError, match=r"add trust=\[a,(b,c|c,b)\]$"):
        compose_unpinned(own)
    with pytest.raises(ConfigError, match=r"add trust=\[b,c\] \(scripts: --trust b --trust c\)$"):
        check_targets([{"_target_": "b.Own"}, {"_target_": "c.Norm"}], where="config.json")


def test_whom_one_trusts_is_no_part_of_a_run() -> None:
    assert run_id(compose_unpinned(["trust=[a.b]"])) == run_id(compose_unpinned([]))


def test_everything_that_conf_calls_is_trusted_without_asking() -> None:
    for recipe in group_options(CONF_DIR)["recipe"]:
        config = compose_unpinned([f"recipe={recipe}"])
        assert config.trust == ()
        assert list(find_targets(plain(config)))


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def test_nothing_reads_foreign_files_in_a_way_that_runs_them() -> None:
    files = [*(ROOT / "scaledrelu").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]
    for path in files:
        for call in calls(path):
            name = ast.unparse(call.func)
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            if name == "torch.load":
                assert given.get("weights_only") == "True", path
            assert given.get("allow_pickle", "False") == "False", path
            assert name not in ("eval", "exec", "joblib.load", "torch.hub.load"), path
            if name in ("pickle.load", "pickle.loads", "pickle.Unpickler"):
                # The server reads what its own client wrote into their pipe, no file.
                assert path.name in ("cifar.py", "server.py"), path
            if name == "yaml.load":
                assert given.get("Loader", "").endswith("_Loader"), path
