"""What the scripts do when their output is not read to its end, or an input may not be read."""

import argparse
import os
import runpy
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from scaledrelu.errors import ConfigError, RefusedError, RunError, nearest
from scaledrelu.runs import command
from scaledrelu.runs.ending import concluded
from scripts import _tables
from scripts._tables import READERS, run_script
from tests.helpers.permissions import closed

SCRIPTS = sorted((Path(__file__).resolve().parents[1] / "scripts").glob("[!_]*.py"))


def test_a_name_that_differs_in_capitals_is_near():
    assert nearest("Elu", ["GELU", "Linear", "ELU"]) == "; did you mean 'ELU'?"
    assert nearest("SilU", ["SELU", "SiLU"]) == "; did you mean 'SiLU'?"
    assert nearest("Elu", ["Linear"]) == ""


def test_a_reader_that_leaves_early_is_no_error(monkeypatch):
    """``make plan | head`` ends without a traceback, also when the buffer is flushed at the end."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "argv", ["sweep.py", "--help"])
        assert not run_script("sweep", lambda settings, say: 1, "a script")
        print("more", flush=True)  # goes nowhere


def test_a_sweep_goes_on_where_nobody_reads_any_more(monkeypatch):
    """``make table1 | tee log``: Ctrl-C stops ``tee`` first, and running runs have to save."""
    reader, writer = os.pipe()
    os.close(reader)
    said = []

    def work(settings, say):
        for line in ("stopping", "saved"):
            say(line)
            said.append(line)
        return 130

    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "argv", ["sweep.py"])
        assert run_script("sweep", work, "a script") == 130
    assert said == ["stopping", "saved"]


def test_a_failure_is_1_and_wrong_input_2(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sweep.py"])
    for error, status in ((RunError("disk full"), 1), (ConfigError("no such key"), 2)):

        def work(settings, say, error=error):
            raise error

        assert run_script("sweep", work, "a script") == status


def interrupt(*_arguments, **_options):
    """Do as Ctrl-C does."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_ctrl_c_ends_every_script_with_one_line_and_130(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script.name])
    for read in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, read, interrupt)
    monkeypatch.setattr(_tables, "load_settings", interrupt)
    monkeypatch.setattr(command, "planned_run", interrupt)
    with pytest.raises((SystemExit, KeyboardInterrupt)) as left:  # the latter would end pytest
        runpy.run_path(str(script), run_name="__main__")
    assert getattr(left.value, "code", "a traceback") == 130
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("interrupted; run the same command again")


def test_every_refused_thing_has_its_line(capsys):
    def refuse():
        raise RefusedError(["no images", "no GPU"])

    assert concluded(refuse) == 2
    assert capsys.readouterr().err == "error: no images\nerror: no GPU\n"


@pytest.mark.parametrize("error", [HydraException("no such group"), OmegaConfBaseException("type")])
def test_what_hydra_refuses_is_one_line(error, capsys):
    def refuse():
        raise error

    assert concluded(refuse) == 2
    assert capsys.readouterr().err.startswith(f"error: {error}; see conf/")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        concluded(lambda: 1 // 0)


def test_what_a_script_returns_is_its_exit_status_while_somebody_reads(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sweep.py"])
    assert run_script("sweep", lambda settings, say: 1, "a script") == 1
    monkeypatch.setattr(sys, "argv", ["sweep.py", "seed=3"])
    assert run_script("sweep", lambda settings, say: 0, "a script") == 2
    assert capsys.readouterr().err.startswith("error: 'seed=3'")


def test_what_a_script_may_not_read_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["sweep.py"])
    with closed(tmp_path / "file"):
        assert run_script("sweep", lambda *_: len((tmp_path / "file").read_text()), "") == 2
    said = f"error: {tmp_path / 'file'}: cannot be read (Permission denied); give read permission"
    assert capsys.readouterr().err.splitlines() == [said]


def test_a_script_that_may_not_write_keeps_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sweep.py"])
    with closed(tmp_path, 0o555), pytest.raises(PermissionError):
        run_script("sweep", lambda *_: (tmp_path / "file").write_text(""), "")


@pytest.mark.parametrize("script", READERS)
def test_a_results_folder_that_is_typed_has_runs_where_nothing_is_trained(
    tmp_path, monkeypatch, capsys, script
):
    monkeypatch.chdir(tmp_path)
    for typed, status in (("results=nowhere", 2), ("results=results", 2), (None, 0)):
        monkeypatch.setattr(sys, "argv", list(filter(None, ["x.py", typed])))
        assert run_script(script, lambda *_: 0, "") == status
        if typed:
            place = typed.partition("=")[2]
            said = f"error: {typed}: holds no runs (there is no folder {place}/runs); "
            assert capsys.readouterr().err.startswith(said)
    monkeypatch.setattr(sys, "argv", ["x.py", "results=nowhere"])
    (tmp_path / "nowhere" / "runs").mkdir(parents=True)
    assert run_script(script, lambda *_: 0, "") == 0


def test_a_sweep_may_have_a_new_results_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sweep.py", f"results={tmp_path / 'new'}"])
    assert run_script("sweep", lambda *_: 0, "") == 0
