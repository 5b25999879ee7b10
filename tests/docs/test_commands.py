"""Every command that the documents show can be typed, and what they show of its answer is true."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from scaledrelu.config import plugins
from scaledrelu.config.compose import compose, compose_unpinned
from scaledrelu.config.identity import RUN_ID, run_id
from scaledrelu.config.shell import planned_run, read_arguments, ready_for_hydra
from scaledrelu.errors import ScaledReluError
from scaledrelu.runs.planned import PlanWriter, read_planned
from scaledrelu.runs.record import run_directory
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import load_settings
from tests.helpers.documents import (
    ROOT,
    WRITTEN,
    Shown,
    conf_without_examples,
    example_files,
    shown_commands,
)
from tests.helpers.script_parsers import PARSERS

COMMANDS = [shown for page in WRITTEN for shown in shown_commands(page)]
MISTAKES = [shown for shown in COMMANDS if shown.answer.startswith("error: ")]
MAKEFILE = (ROOT / "Makefile").read_text()
SCRIPT_OF = {
    "tables": "sweep",
    "edge": "sweep",
    "stability": "sweep",
    "plan": "sweep",
    "publish": "report",
}  # else that of the name
OF_TABLES = (
    *("sweep", "figure1", "curves", "claims", "status", "report", "dry", "dashboard"),
    "performance",
)
PYTHON = ("python", ".venv/bin/python", "torchrun", "srun")
MODULES = (
    *([], ["-m", "pytest", "-m", "slurm"], ["-m", "pytest", "-m", "gpu"]),
    ["-m", "tests.tables.test_ids", "table8"],
)
OUTSIDE = ("pip", "squeue", "eval")  # programs of others
ANNOUNCED = re.compile(rf"^({RUN_ID.pattern}):", re.MULTILINE)


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration with the files of all examples: pages train and plan them, too."""
    return with_examples(tmp_path_factory.mktemp("examples"), example_files())


def with_examples(base: Path, files: dict[str, str]) -> Path:
    conf = conf_without_examples(base)
    for name, text in files.items():
        (base / name).write_text(text)
    return conf


@pytest.mark.parametrize("shown", [one for one in COMMANDS if one not in MISTAKES], ids=str)
def test_every_command_of_the_documents_is_one(
    shown: Shown, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "plugin_installed", lambda _: True)  # of the extras
    monkeypatch.setattr(plugins, "import_problem", lambda: "")
    monkeypatch.syspath_prepend(conf.parent)
    read_command(shown, conf)


@pytest.mark.parametrize("shown", MISTAKES, ids=str)
def test_every_mistake_of_the_documents_has_the_answer_that_they_show(
    shown: Shown, tmp_path: Path
) -> None:
    conf = with_examples(tmp_path, example_files(before=shown.at))
    with pytest.raises(ScaledReluError) as refused:
        read_command(shown, conf)
    assert shown.answer == f"error: {refused.value}\n"


def read_command(shown: Shown, conf: Path) -> None:
    """Read a command as its program would; nothing is trained."""
    program, *words = shown.words
    if program == "make":
        read_make(words, conf, shown.answer)
    elif program in PYTHON:
        script = next((word for word in words if word.startswith("scripts/")), None)
        if script is not None:
            assert (ROOT / script).is_file(), script
            read_script(Path(script).stem, words[words.index(script) + 1 :], conf, shown.answer)
        else:
            assert words in MODULES
    else:
        assert program in OUTSIDE


def read_make(words: Sequence[str], conf: Path, answer: str) -> None:
    """Refuse a target or variable that the Makefile lacks, and what its script would not take."""
    given = dict(word.split("=", 1) for word in words if "=" in word)
    assert set(given) <= set(re.search(r"^KNOWN +:= (.*)$", MAKEFILE, re.MULTILINE)[1].split())
    for target in (word for word in words if "=" not in word):
        rule = "table%" if re.fullmatch(r"table\d\w*", target) else target
        assert re.search(rf"^{rule}:", MAKEFILE, re.MULTILINE), target
        asked = shlex.split(given.get("ARGS", ""))
        asked += [f"profile={given[key]}" for key in ["PROFILE"] if key in given]
        asked += [f"seeds=[{given[key]}]" for key in ["SEEDS"] if key in given]
        if rule == "table%":
            read_script("sweep", [f"tables=[{target}]", *asked], conf, answer)
        elif (name := SCRIPT_OF.get(target, target)) in (*PARSERS, *OF_TABLES):
            read_script(name, asked, conf, answer)
        else:
            assert asked == [], target


def read_script(name: str, arguments: list[str], conf: Path, answer: str) -> None:
    """Refuse what a script would not take, and names that its answer cannot hold."""
    if "--help" in arguments or "[overrides]" in arguments:
        return
    if name == "train":
        read_train(arguments, conf, answer)
    elif name in PARSERS:
        PARSERS[name](arguments)
    else:
        settings = load_settings(
            [*arguments, f"results={conf.parent / 'none'}"], conf_dir=conf, script=name
        )
        if names := set(RUN_ID.findall(answer)):
            plan = plan_tables(settings)
            assert names <= {*plan.runs, *plan.artifacts}


def read_train(arguments: list[str], conf: Path, answer: str) -> None:
    """Compose what is asked, of a multirun the first values."""
    if (planned := planned_run(arguments)) is not None:
        read_planned_run(planned.changes, conf)
        return
    asked = read_arguments(arguments)
    if asked.shell_completion:
        return
    ready = ready_for_hydra(asked, conf)[: len(asked.overrides)]
    chosen = [word for word in ready if not word.startswith("hydra")]
    if asked.multirun:
        chosen = [one_value(word) for word in chosen]
    compose_unpinned(chosen, conf_dir=conf)
    if names := set(ANNOUNCED.findall(answer)):
        assert names == {run_id(compose(chosen, conf_dir=conf))}


def one_value(word: str) -> str:
    """Return an override with the first value of its list, or the lower end of its interval."""
    key, _, values = word.partition("=")
    interval = re.search(r"interval\(([^,]+),", values)
    return f"{key}={interval[1] if interval else values.split(',')[0]}"


def read_planned_run(changes: Sequence[str], conf: Path) -> None:
    """Read a planned run with changes; which one does not matter."""
    config, results = compose_unpinned([]), conf.parent / "results"
    PlanWriter().write(config, run_directory(results, run_id(config)))
    read_planned(results, run_id(config), changes=changes)
