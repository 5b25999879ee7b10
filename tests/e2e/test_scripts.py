"""From a shell command to a table, for real: the scripts, Hydra, joblib, training, the report."""

from __future__ import annotations

import csv
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import train

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = (
    "table,row,block,{labels},metric,paper,target,status,n,n_ok,n_crash,n_failed,n_missing,"
    "n_images,mean_all,ci_all,sd,mean_held,ci_held,delta,base,vs_base,ci_vs_base,decided,epoch,"
    "values,mean_last,values_last,mean_best,values_best,judged_losses,judged_limit,run_ids,note"
)

SWEEP = ("tables=[table3]", "profile=smoke", "seeds=0")


def shell(script: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    shell("sweep.py", *SWEEP, f"results={results}")
    return results


def test_a_sweep_trains_every_row_and_writes_both_reports(swept: Path) -> None:
    with (swept / "smoke" / "table3.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    assert {row["status"] for row in rows} == {"ok"}
    assert all((swept / "runs" / row["run_ids"] / "result.json").exists() for row in rows)
    header = (swept / "smoke" / "table3.csv").read_text().splitlines()[0].split(",")
    expected = COLUMNS.split(",")
    assert header[:3] == expected[:3]
    assert header[-len(expected[4:]) :] == expected[4:]
    assert "smoke profile" in (swept / "smoke" / "table3.md").read_text()


def test_a_second_call_trains_nothing_and_changes_no_byte(swept: Path) -> None:
    report = swept / "smoke" / "table3.md"
    before = report.read_bytes()
    done = shell("sweep.py", *SWEEP, f"results={swept}")
    assert "nothing to train" in done.stdout
    assert report.read_bytes() == before


def test_every_run_has_a_line_of_status_and_keeps_what_it_printed(swept: Path) -> None:
    done = shell("status.py", *SWEEP, f"results={swept}")
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert all(line.split()[2:4] == ["ok", "val/top1"] for line in lines)
    for line in lines:
        console = (swept / "runs" / line.split()[0] / "console.log").read_text()
        assert ": planned as " in console.splitlines()[0]


def test_a_planned_run_is_trained_by_hand_from_its_file(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = next((swept / "runs").glob("deit-*"))
    target = tmp_path / "r" / "runs" / source.name
    target.mkdir(parents=True)
    (target / "config.yaml").write_bytes((source / "config.yaml").read_bytes())
    words = ["--run", source.name, f"paths.results={tmp_path / 'r'}", "launch.workers=0"]
    monkeypatch.setattr(sys, "argv", [str(ROOT / "scripts" / "train.py"), *words])
    assert train.main() == 0
    ours, theirs = (json.loads((f / "result.json").read_text()) for f in (target, source))
    assert ours["metrics"] == theirs["metrics"]


@pytest.mark.slow
def test_several_processes_a_run_in_slots(tmp_path: Path) -> None:
    spread = "overrides=[launch.nproc=2,launch.device=cpu,batch.group=32]"
    shell("sweep.py", *SWEEP, f"results={tmp_path}", spread)
    results = [json.loads(p.read_text()) for p in (tmp_path / "runs").glob("*/result.json")]
    assert [result["provenance"]["processes"] for result in results] == [2] * 8


@pytest.mark.slow  # of real runs, test_train_shell.py has a multirun in slots
def test_a_multirun_from_the_shell_needs_no_table(tmp_path: Path) -> None:
    small = ("model.depth=1", "data.fraction=0.1")
    shell("train.py", "-m", "profile=smoke", "seed=0,1", f"paths.results={tmp_path}", *small)
    assert len(list((tmp_path / "runs").glob("deit-*/result.json"))) == 2


@pytest.mark.parametrize(
    ("script", "arguments", "line"),
    [
        ("train.py", ["lr=1e-3"], "to set the rate write lr.base=1e-3"),
        ("train.py", ["stem=convv"], "did you mean 'conv'"),
        ("train.py", ["lr.base=fast"], "lr.base"),
        ("train.py", ["--run", "deit-0123456789ab"], "plan its table first"),
        (
            "train.py",
            ["--run", "deit-0123456789ab", "-m"],
            "takes overrides only",
        ),
        ("train.py", ["--run=../x"], "becomes a folder name"),
        ("report.py", ["profile=mini", "n_jobs=2"], "it has no effect in report.py"),
        ("dry.py", ["seeds=1"], "it has no effect in dry.py"),
        ("sweep.py", ["tables=[table9]"], "table9"),
        ("sweep.py", ["profile=papr"], "did you mean 'paper'"),
        ("sweep.py", ["seed=1"], "did you mean 'seeds'"),
        ("report.py", ["profile=mini", "redo"], "write key=value"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(script: str, arguments: list[str], line: str) -> None:
    done = shell(script, *arguments, check=False)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("script", "one"),
    [
        ("sweep", "1 some runs have no result"),
        ("figure1", "1 some runs have no result"),
        ("status", "1 could not be done"),
        ("dry", "1 a row cannot take its steps"),
        ("mirror", "1 some could not be sent"),
    ],
)
def test_help_ends_with_what_the_exit_status_means(
    script: str, one: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
    assert left.value.code == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("Exit status: 0 ")
    assert f"; {one}; 2 wrong input; 130 interrupted" in last


@pytest.mark.slow  # test_train_shell.py has the statuses
def test_a_failing_single_run_exits_1(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"no weights")
    start = ["init=checkpoint", f"init.path={weights}"]
    bad = shell("train.py", "profile=smoke", f"paths.results={tmp_path}", *start, check=False)
    assert bad.returncode == 1
    assert f"{weights}: damaged, or not a checkpoint" in bad.stdout + bad.stderr
    assert "Traceback" not in bad.stdout + bad.stderr


def test_the_composed_configuration_can_be_shown() -> None:
    done = shell("train.py", "--cfg", "job", "--resolve", "stem=conv")
    assert "hidden: 16" in done.stdout
