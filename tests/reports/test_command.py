"""The command under a table does what the report was made with, in a real shell, through make."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import ConfigError
from scaledrelu.reports.command import command
from scaledrelu.reports.report import write_reports
from scaledrelu.runs.record import run_directory, write_error
from scaledrelu.tables.settings import check_typed_results, load_settings
from tests.helpers.table_fakes import finish, plan_of, write_table

AWKWARD = (
    "stem.strides=[2,2,2]",
    "model.label='DINO-S/16 100 epoch'",
    "optimizer.label=$HOME",
    'ffn.label="a#b: c"',
    "lr.base=1e-3",
)


def planned(tmp_path, name="table8", **options):
    write_table(tmp_path / "conf", name)
    return plan_of(tmp_path, name, **options)


def arguments_of(text, tmp_path):
    """What scripts/sweep.py would be called with: run by a shell, and by make, with a stand-in."""
    echo = tmp_path / "echo.py"
    echo.write_text("import json, sys\nprint(json.dumps(sys.argv[2:]))\n")
    if text.startswith("python "):
        text = text.replace("python ", f"{shlex.quote(sys.executable)} {echo} ", 1)
    else:
        makefile = CONF_DIR.parent / "Makefile"
        told = f"make -s -f {makefile} READY= RUN={shlex.quote(f'{sys.executable} {echo}')} "
        text = text.replace("make ", told, 1)
    done = subprocess.run(text, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def settings_of(text, tmp_path):
    return load_settings(arguments_of(text, tmp_path), conf_dir=tmp_path / "conf")


@pytest.fixture
def settings_file(tmp_path):
    (tmp_path / "conf" / "profile").mkdir(parents=True)
    (tmp_path / "conf" / "profile" / "mini.yaml").touch()
    (tmp_path / "conf" / "sweep.yaml").write_text((CONF_DIR / "sweep.yaml").read_text())


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("name", ["table8", "tables", "ablation"])
@pytest.mark.parametrize("overrides", [(), AWKWARD], ids=["plain", "awkward"])
def test_the_command_asks_for_what_was_planned(tmp_path, settings_file, name, overrides):
    plan = planned(tmp_path, name, seeds=(0, 2), overrides=overrides)
    text = command(plan, plan.tables[0])
    assert text.startswith("make table8 " if name == "table8" else "python scripts/sweep.py ")
    settings = settings_of(text, tmp_path)
    assert settings.tables == (name,)
    assert (settings.profile, settings.seeds) == ("mini", (0, 2))
    assert settings.overrides == overrides
    assert settings.results == plan.results


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_tables_own_seeds_are_asked_for_again(tmp_path, settings_file):
    plan = planned(tmp_path, seeds=None)
    assert settings_of(command(plan, plan.tables[0]), tmp_path).seeds is None


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("overrides", [(), AWKWARD], ids=["plain", "awkward"])
@pytest.mark.parametrize("seeds", [(), ("seeds=0,2",), ("seeds=table",)], ids=str)
@pytest.mark.parametrize("place", ["no such", "it's $HOME"])
def test_the_command_for_a_folder_without_runs_asks_for_what_was_typed(
    tmp_path, settings_file, place, seeds, overrides
):
    write_table(tmp_path / "conf", "table8")
    given = ["profile=mini", "tables=[table8]", f"results={tmp_path / place}", *seeds]
    given += [f"overrides={json.dumps(overrides)}"] if overrides else []
    asked = load_settings(given, conf_dir=tmp_path / "conf", script="report")
    with pytest.raises(ConfigError, match="holds no runs") as caught:
        check_typed_results(asked)
    text = str(caught.value).partition(", e.g. ")[2]
    assert text.startswith("make table8 PROFILE=mini ")
    again = settings_of(text, tmp_path)
    for name in ("tables", "profile", "seeds", "overrides", "results"):
        assert getattr(again, name) == getattr(asked, name)


def test_a_simple_command_is_what_a_person_would_type(tmp_path):
    plan = planned(tmp_path, overrides=("launch.nproc=2", "data.root=data/imagenet"))
    text = command(plan, plan.tables[0]).replace(f" results={plan.results}", "")
    assert text == (
        "make table8 PROFILE=mini SEEDS=0 ARGS='overrides=[launch.nproc=2,data.root=data/imagenet]'"
    )


@pytest.mark.parametrize("place", ["/home/jane/images", "~/images", "'/data/our images'"])
def test_a_path_of_this_machine_stays_out_of_the_report(tmp_path, place):
    write_table(tmp_path / "conf")
    overrides = (f"data.root={place}", "launch.nproc=2")
    plan = plan_of(tmp_path, overrides=overrides)
    finish(plan, plan.cells[0].run_ids[0])
    reason = f"{plan.cells[0].composed.config.data.root}/train: no such folder"
    write_error(run_directory(plan.results, plan.cells[1].run_ids[0]), reason)
    texts = [path.read_text() for path in write_reports(plan_of(tmp_path, overrides=overrides))]
    for text in texts:
        assert str(place).strip("'") not in text
        assert "<data.root>/train: no such folder" in text
    assert "overrides=[data.root=...,launch.nproc=2]" in texts[1]
    assert "(left out: the path of data.root)" in texts[1]
