import os
import re
import subprocess
import sys

import pytest
import yaml

from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import ConfigError
from scaledrelu.tables import settings as settings_module
from scaledrelu.tables.settings import USED, load_settings, settings_help
from scaledrelu.tables.spec import tables_of
from scripts._tables import run_script


def test_defaults_are_every_table_at_mini():
    settings = load_settings([])
    assert settings.tables == tuple(tables_of("mini", CONF_DIR))
    assert (settings.profile, settings.seeds, settings.redo) == ("mini", (0,), "failed")
    assert (settings.launcher, settings.n_jobs, settings.budget_s) == ("local", None, None)


def test_settings_know_which_of_them_were_typed():
    assert load_settings([]).given == frozenset()
    typed = ["results=results", "slurm.partition=gpu", "seeds=0"]
    assert load_settings(typed).given == {"results", "slurm", "seeds"}


@pytest.mark.parametrize("text", ["tables=[table1,table3]", "tables=table1,table3"])
def test_lists_may_be_written_with_or_without_brackets(text):
    assert load_settings([text]).tables == ("table1", "table3")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0,1,2", (0, 1, 2)),
        ("[3]", (3,)),
        ("7", (7,)),
        ("0,0,1", (0, 1)),
        ("null", None),
        ("table", None),
        ("[table]", None),
    ],
)
def test_seeds_are_whole_numbers(text, seeds):
    assert load_settings([f"seeds={text}"]).seeds == seeds


def test_overrides_of_every_run_are_a_list():
    settings = load_settings(["profile=paper", "overrides=[launch.nproc=8,stem=conv]"])
    assert settings.overrides == ("launch.nproc=8", "stem=conv")


def test_options_of_jobs_choose_slurm():
    settings = load_settings(
        ["slurm.partition=gpu", "slurm.timeout_min=600", "slurm.artifacts.gpus_per_node=1"]
    )
    assert settings.launcher == "slurm"
    assert settings.slurm == {
        "partition": "gpu",
        "timeout_min": 600,
        "artifacts": {"gpus_per_node": 1},
    }
    assert load_settings(["launcher=slurm", "wait=true"]).wait


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("table=[table1]", "did you mean 'tables'"),
        ("tables=[tabel1]", "did you mean 'table1'"),
        ("profile=min", "did you mean 'mini'"),
        ("launcher=slrm", "did you mean 'slurm'.*allowed: auto, local, slurm"),
        ("tabels=[table1]", "did you mean .tables.?"),
        ("launcher=[local]", "no such launcher.*allowed: auto, local, slurm"),
        ("launcher=joblib", r"\(train.py -m\); write launcher=local"),
        ("launcher=basic", "write launcher=local n_jobs=1"),
        ("launcher=submitit_slurm", "write launcher=slurm"),
        ("slurm=gpu", r"slurm=gpu: is a group; write slurm\.<option>=<value>"),
        ("n_jobs.x=1", "no such setting"),
        ("publish=true", "it has no effect in sweep.py"),
        ("seeds=a", "seeds=0,1,2"),
        ("seeds=-1", "seeds=0,1,2"),
        ("seeds=1.7", r"seeds=1.7: must be whole numbers"),
        ("seeds=0,1.7", r"seeds=0,1.7: must be whole numbers"),
        ("seeds=[true]", r"seeds=\[true\]: must be whole numbers"),
        ("seeds=[]", "seeds=table"),
        ("seeds=", "seeds=: is empty"),
        ("seeds=[table,1]", "must be whole numbers"),
        ("seeds=[0,,1]", r"'seeds=\[0,,1\]': an item of the list is empty; leave out a comma"),
        ("seeds=[,1]", "an item of the list is empty"),
        ("seeds=[[0]]", "has brackets twice; write SEEDS=0 with make, else seeds=0"),
        ("seeds=[[0,2]]", "write SEEDS=0,2 with make, else seeds=0,2"),
        ("seeds=[[0],[2]]", "must be whole numbers"),
        ("seeds=010", "seeds=010: must be whole numbers"),  # of YAML these are 8, 16, 10 and 90
        ("seeds=[0x10]", "must be whole numbers"),
        ("seeds=1_0", "must be whole numbers"),
        ("seeds=1:30", "must be whole numbers"),
        ("n_jobs=010", "n_jobs=010: must be a whole number"),
        ("seeds=99999999999", "must be whole numbers"),
        ("tables=", "tables=: is empty"),
        ("tables=[]", "tables=: is empty; allowed: all, "),
        ("results=", "results=: is empty"),
        ("results=null", "results=: must be a folder"),
        ("results=false", "results=false: must be a folder, e.g. results=results"),
        ("results=True", "results=true: must be a folder"),
        ("redo=", "redo=: is empty"),
        ("redo=null", "redo=: allowed: none, failed, all, or a run id"),
        ("redo=true", "redo=true: allowed"),
        ("profile=", "profile=: is empty"),
        ("n_jobs=true", "whole number from 1"),
        ("n_jobs=1.5", "whole number from 1"),
        ("dry_run=1", "dry_run=1: allowed: true, false"),
        ("overrides=[seed=7]", "write seeds=0,1,2"),
        ("trust=[timm.layers,a b]", r"trust=a b: must be modules, e.g. trust=\[timm.layers\]"),
        ("overrides=[init.run=x]", "write upstream: in the table"),
        (
            "overrides=[hydra/launcher=basic]",
            "Hydra's settings are not part of a run; choose how runs are",
        ),
        ("overrides=[hydra.sweep.dir=/tmp]", "Hydra's settings are not part of a run"),
        ("hydra.launcher.partition=gpu", r"write slurm\.partition="),
        ("overrides=[hydra.launcher.foo=3]", "Hydra's settings are not part of a run"),
        ("overrides=[lr.base]", "overrides: 'lr.base': write key=value"),
        ("overrides=[5]", "write key=value"),
        ("n_jobs=0", "whole number from 1"),
        ("budget_s=0", "seconds above 0"),
        ("budget_s=.inf", "seconds above 0"),
        ("budget_s=soon", "seconds above 0"),
        ("first=[adamw]", "must be field=value"),
        ("dry_run=maybe", "allowed: true, false"),
        ("tables=[table1", r"cannot parse 'tables=\[table1'; unbalanced brackets or quotes"),
        ("stem=conv", "overrides=\\["),
        ("table1", "write key=value"),
        (f"tables={'[' * 5000}", "cannot parse"),
        ("n_jobs=2001-99-99", "cannot parse"),
    ],
)
def test_wrong_setting_is_one_line_with_what_is_allowed(argument, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings([argument])
    assert "\n" not in str(caught.value)


DAMAGES = {  # of conf/sweep.yaml
    "renamed": (lambda text: text.replace(b"redo:", b"rdo:"), "unknown key 'rdo'; did you mean 'r"),
    "unknown": (lambda text: text + b"extra: 1\n", "unknown key 'extra'"),
    "missing": (lambda text: text.replace(b"redo:", b"#redo:"), "redo is missing"),
    "twice": (lambda text: text + b"seeds: 1\n", "the key 'seeds' is given twice"),
    "empty": (lambda text: b"", "must be 'key: value' pairs, found nothing"),
    "no YAML": (lambda text: text + b"a: [1\n", "expected ',' or ']'"),
    "no text": (lambda text: text + b"\xff", "can't decode byte 0xff"),
    "no key": (lambda text: text + b"? {}\n: 1\n", "sweep.yaml: "),
}


@pytest.fixture
def damaged(request, tmp_path, monkeypatch):
    """Return what is said of a damaged conf/sweep.yaml, which the scripts then read."""
    damage, words = DAMAGES[request.param]
    (tmp_path / "sweep.yaml").write_bytes(damage((CONF_DIR / "sweep.yaml").read_bytes()))
    monkeypatch.setattr(settings_module, "CONF_DIR", tmp_path)
    return words


@pytest.mark.parametrize("damaged", DAMAGES, indirect=True)
@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["defaults", "help"])
def test_a_damaged_file_of_settings_is_one_line_that_names_it(
    damaged, arguments, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["sweep.py", *arguments])
    assert run_script("sweep", lambda _settings, _say: 0, "Text.") == 2
    said = capsys.readouterr()
    assert said.out == ""
    path = tmp_path / "sweep.yaml"
    assert said.err.startswith((f"error: {path}: ", f"error: {path}, "))
    assert damaged in said.err
    assert len(said.err.splitlines()) == 1


def test_a_launcher_without_jobs_is_given_no_options():
    with pytest.raises(ConfigError, match="has no effect with launcher=local"):
        load_settings(["launcher=local", "slurm.partition=gpu"])


@pytest.mark.parametrize("script", USED)
def test_help_lists_what_does_something_in_a_script_and_all_else_is_refused_there(script):
    known = [line.partition(":")[0] for line in settings_help(script).splitlines()]
    assert sorted(known) == sorted(USED[script])
    every = yaml.safe_load((CONF_DIR / "sweep.yaml").read_text())
    for key in set(every) - set(known):
        with pytest.raises(ConfigError, match=f"it has no effect in {script}.py"):
            load_settings([f"{key}=1"], script=script)


@pytest.mark.parametrize("script", [script for script in USED if "profile" in USED[script]])
def test_help_shows_the_profile_that_a_script_takes_by_default(script):
    (line,) = (x for x in settings_help(script).splitlines() if x.startswith("profile: "))
    profile = "paper" if script == "dry" else "mini"
    assert line.split()[1] == load_settings([], script=script).profile == profile


@pytest.mark.parametrize("script", [script for script in USED if "seeds" in USED[script]])
def test_help_shows_the_seeds_that_a_script_takes_by_default(script):
    (line,) = (x for x in settings_help(script).splitlines() if x.startswith("seeds: "))
    if script in ("claims", "mirror"):
        shown, taken = "table", None  # every seed of each table
    else:
        shown, taken = "0", (0,)
    assert (line.split()[1], load_settings([], script=script).seeds) == (shown, taken)


@pytest.mark.parametrize(
    "name",
    ["1", "010", "1.10", "2026-01-31", "1_0", "a b", "it's", "a: b", "x ", "${y}", "#1", "no"],
)
def test_results_go_to_the_folder_that_was_typed(name):
    assert str(load_settings([f"results={name}"]).results) == name


def test_a_setting_that_is_given_twice_is_refused_not_forgotten():
    with pytest.raises(ConfigError, match=r"seeds is given twice \(seeds=\[0\], seeds=0,1\)"):
        load_settings(["seeds=[0]", "profile=mini", "seeds=0,1"])


def make(*arguments):
    command = ["make", "-n", "-C", str(CONF_DIR.parent), *arguments]
    environment = {
        "PATH": os.environ["PATH"],
        "CI": "1",
        "SEED": "3",
    }  # others' variables are not ours
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("wrong", ["SEED=3", "PROFIL=paper", "TABLE=table1", "seeds=1"])
def test_make_refuses_a_variable_that_it_does_not_know(wrong):
    done = make("table1", wrong)
    assert done.returncode == 2
    assert f"no such variable: {wrong.partition('=')[0]}; allowed: PROFILE SEEDS" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_make_passes_the_variables_that_it_knows():
    done = make("table1", "PROFILE=small", "SEEDS=table", "ARGS=n_jobs=1 redo=all", "JOBS=1")
    assert "profile=small seeds=[table] tables=[table1] n_jobs=1 redo=all" in done.stdout


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("edge", "profile=cifar seeds=[table] tables=[edge]"),
        ("stability", "profile=mini seeds=[table] tables=[stems]"),
        ("claims", "profile=mini"),
        ("report", "profile=mini"),
        ("publish", "profile=mini publish=true"),
    ],
)
def test_make_leaves_profile_and_seeds_to_a_target_unless_they_are_given(target, own):
    def asked(*given):
        (typed,) = re.findall(r"scripts/\w+\.py(.*)", make(target, *given).stdout)
        return typed.split()

    assert asked() == own.split()
    for seeds in ("0", "1,2", "table"):
        given = asked("PROFILE=small", f"SEEDS={seeds}")
        rest = [word for word in own.split() if word[:6] not in ("profil", "seeds=")]
        assert given == ["profile=small", f"seeds=[{seeds}]", *rest]


def test_a_signal_to_make_reaches_the_script():
    for target in ("table1", "plan", "status", "report", "dry", "bench"):
        lines = make(target).stdout.splitlines()
        assert any("exec " in line and "scripts/" in line for line in lines), target


@pytest.mark.parametrize("script", ["sweep", "claims"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"\nseeds:", '\n"seeds":'),
        (r"\nseeds:", "\nseeds :"),
        (r"\A#.*\n", ""),
        (r"\nseeds:", "\n# seeds of runs: any\nseeds:"),
    ],
    ids=["quoted key", "space before the colon", "no comment above", "a comment between"],
)
def test_help_is_the_same_however_the_file_of_settings_is_written(tmp_path, script, old, new):
    text, count = re.subn(old, new, (CONF_DIR / "sweep.yaml").read_text())
    assert count == 1
    (tmp_path / "sweep.yaml").write_text(text)
    assert settings_help(script, conf_dir=tmp_path) == settings_help(script)
