"""A GPU for minutes: every piece within its share, whatever the others do."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path

import pytest

from scaledrelu.bench import gpu, whole_runs
from scaledrelu.bench import main as bench
from scaledrelu.bench.compiling import to_compile
from scaledrelu.bench.pieces import Ended, Piece, Report, run_piece
from scaledrelu.errors import ConfigError
from scaledrelu.tables.settings import load_settings
from tests.helpers.processes import lives, until


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_piece_tells_how_it_ended_and_shows_what_it_prints(tmp_path: Path) -> None:
    shown: list[str] = []
    pieces = [
        Piece("good", script("print('row')")),
        Piece("bad", script("raise SystemExit(3)")),
        Piece("fine", script("raise SystemExit(3)"), good=frozenset({0, 3})),
    ]
    found = [run_piece(p, limit_s=30, folder=tmp_path, show=shown.append) for p in pieces]
    assert [(r.ended, r.status) for r in found] == [
        (Ended.OK, 0),
        (Ended.FAILED, 3),
        (Ended.OK, 3),
    ]
    assert "".join(shown) == "row\n"
    assert (tmp_path / "good.log").read_text() == "row\n"


# Shells, because they are up at once however busy the machine is.
SLEEPER = "trap '' TERM; setsid sleep 600 & echo $!; sleep 600; sleep 600"
SAVER = "trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_piece_that_will_not_stop_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    report = run_piece(
        Piece("sleeper", ["sh", "-c", SLEEPER]), limit_s=3.0, folder=tmp_path, show=str
    )
    assert (report.ended, report.status) == (Ended.OVER, None)
    child = int(report.log.read_text())
    while lives(child):  # a killed process takes a moment; one that was forgotten, ten minutes
        time.sleep(0.05)


def test_a_piece_is_asked_to_stop_before_it_is_made_to(tmp_path: Path) -> None:
    report = run_piece(Piece("saves", ["sh", "-c", SAVER]), limit_s=3.0, folder=tmp_path, show=str)
    assert report.ended is Ended.OVER
    words = report.log.read_text().split()
    assert (words[0], words[-1]) == ("up", "saved")


ARGUMENTS = ("--device", "cpu", "--budget", "60")  # seconds


def test_what_runs_over_or_fails_stops_no_other_piece_and_is_told(tmp_path, monkeypatch) -> None:
    pieces = {"tests": "import time; time.sleep(60)", "step": "1/0"}
    pieces |= dict.fromkeys(("end", "loader"), "print('row')")
    for kind, text in pieces.items():
        make = lambda options, limit, kind=kind, text=text: Piece(kind, script(text))  # noqa: E731
        monkeypatch.setitem(gpu.WORK, kind, gpu.measure(kind, make))
        monkeypatch.setitem(gpu.SHARES, kind, 0.05 if kind == "tests" else 1.0)
    monkeypatch.setitem(gpu.WORK, "runs", lambda options, clock, show: [done("runs", tmp_path)])
    shown: list[str] = []
    arguments = [*ARGUMENTS, "--results", str(tmp_path)]
    assert gpu.main(arguments, show=shown.append) == 1
    lines = [line.split() for line in "".join(shown).splitlines()[-5:]]
    assert [(words[0], words[1]) for words in lines] == [
        ("tests", "over"),
        ("step", "failed"),
        ("end", "ok"),
        ("loader", "ok"),
        ("runs", "ok"),
    ]
    assert "ZeroDivisionError" in "".join(shown)
    assert gpu.main([*arguments, "--only", "loader"], show=shown.append) == 0


def test_networks_are_compiled_beside_the_tests_and_may_be_late(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "visible_gpus", lambda: ["0"])
    late = Piece(gpu.COMPILING, ["sh", "-c", "echo up; sleep 60"])
    monkeypatch.setattr(gpu, "compile_piece", lambda options: late)
    monkeypatch.setitem(gpu.SHARES, "tests", 0.1)
    log, order = tmp_path / "gpu" / f"{gpu.COMPILING}.log", []

    def beside(options, clock, show):
        until(lambda: log.exists() and log.read_text() == "up\n")
        order.append("tests")
        return []

    monkeypatch.setitem(gpu.WORK, "tests", beside)
    monkeypatch.setitem(gpu.WORK, "step", lambda *_: order.append("step") or [])
    shown: list[str] = []
    arguments = ["--budget", "30", "--only", "tests", "--only", "step", "--results", str(tmp_path)]
    assert gpu.main(arguments, show=shown.append) == 0
    assert order == ["tests", "step"]
    assert "compile  over time" in "".join(shown)


def test_an_interruption_ends_what_compiles_beside_the_tests(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "visible_gpus", lambda: ["0"])
    beside = Piece(gpu.COMPILING, ["sh", "-c", "echo $$; sleep 60"])
    monkeypatch.setattr(gpu, "compile_piece", lambda options: beside)
    log = tmp_path / "gpu" / f"{gpu.COMPILING}.log"

    def interrupted(options, clock, show):
        until(lambda: log.exists() and log.read_text().endswith("\n"))
        raise KeyboardInterrupt

    monkeypatch.setitem(gpu.WORK, "tests", interrupted)
    arguments = ["--budget", "30", "--only", "tests", "--only", "step", "--results", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        gpu.main(arguments, show=str)
    assert not lives(int(log.read_text()))


def done(name: str, folder: Path, *, status: int = 0) -> Report:
    return Report(name, Ended.OK, status, 1.0, folder / f"{name}.log")


@pytest.fixture
def options(tmp_path: Path):
    return gpu.parse([*ARGUMENTS, "--results", str(tmp_path / "results")])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_piece_is_a_command_that_its_script_understands(options, device) -> None:
    options.device = device
    for kind in ("step", "loader", "end"):
        command = gpu.bench_piece(kind, options, 60.0).command
        read = bench.parse(command[2:])
        assert (read.only, read.device) == ([kind], device)
        assert read.budget < 60
        assert kind != "step" or bench.chosen_cases(read, device)
        assert kind != "end" or bench.chosen_ends(read, device)
    ahead = bench.parse(gpu.compile_piece(options).command[2:])
    assert len(to_compile(bench.chosen_cases(ahead, "cuda"))) >= ahead.compile_only == gpu.COMPILED
    settings = load_settings(whole_runs.sweep_command(options, 30.0)[2:])
    assert (settings.profile, settings.tables, settings.budget_s) == (
        "small",
        ("table1", "table2"),
        30.0,
    )
    assert settings.first == ("method=deit", "optimizer.label=AdamW")
    published = load_settings(whole_runs.publish_command(options, [0, 2])[2:], script="report")
    assert published.publish
    assert published.force
    assert published.seeds == (0, 2)
    assert published.overrides == settings.overrides


def test_the_tests_piece_names_every_file_that_holds_a_gpu_test(options) -> None:
    command = shlex.join(gpu.tests_piece(options, 60.0).command)
    for name in ("test_step.py", "test_sam.py", "test_augment.py"):
        assert name in command
    assert "test_spec.py" not in command


def publish_record(results: Path, name: str, seed: int) -> None:
    record = results / "published" / "small" / "runs" / name
    record.mkdir(parents=True)
    (record / "config.json").write_text(json.dumps({"seed": seed}))
    (record / "result.json").write_text("{}")


def test_published_runs_are_taken_over_and_reported_again_with_their_seeds(
    options, monkeypatch
) -> None:
    publish_record(options.results, "deit-a", 0)
    publish_record(options.results, "deit-b", 3)
    torn = options.results / "published" / "small" / "runs" / "deit-c"
    torn.mkdir()
    (torn / "result.json").write_text("{}")
    own = options.results / "runs" / "deit-a"
    own.mkdir(parents=True)
    (own / "result.json").write_text("mine")
    commands = []

    def note(piece, limit, **_):
        commands.append(piece.command)
        return done(piece.name, options.results)

    monkeypatch.setattr(whole_runs, "attempt", note)
    clock = gpu.Clock(60.0, time.monotonic())
    reports = whole_runs.whole_runs(options, clock, show=lambda text: None)
    assert [report.name for report in reports] == ["runs", "publish"]
    assert whole_runs.finished(options.results) == {"deit-a", "deit-b"}
    assert (own / "result.json").read_text() == "mine"
    assert "seeds=[0]" in commands[0]
    assert "seeds=[0,3]" in commands[1]


@pytest.mark.parametrize(
    ("status", "log", "new", "ended"),
    [
        (0, "", 0, Ended.OK),
        (1, "not started: ...\n", 1, Ended.OK),
        (1, "not started: ...\n", 0, Ended.FAILED),
        (1, "failed: deit-x: out of memory\n", 1, Ended.FAILED),
    ],
)
def test_runs_that_the_budget_left_out_are_no_failure_unless_nothing_came_of_it(
    options, monkeypatch, status, log, new, ended
) -> None:
    def train(piece, limit, **_):
        report = done(piece.name, options.results, status=status)
        report.log.parent.mkdir(parents=True, exist_ok=True)
        report.log.write_text(log)
        for number in range(new):
            folder = options.results / "runs" / f"deit-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_text("{}")
        return report

    monkeypatch.setattr(whole_runs, "attempt", train)
    clock = gpu.Clock(60.0, time.monotonic())
    reports = whole_runs.whole_runs(options, clock, show=lambda text: None)
    assert reports[0].ended is ended
    assert len(reports) == (2 if new else 1)


def test_without_a_gpu_it_is_one_line_that_says_so(monkeypatch) -> None:
    monkeypatch.setattr(gpu, "visible_gpus", list)
    with pytest.raises(ConfigError, match="no GPU is visible"):
        gpu.main([], show=print)


@pytest.mark.slow
def test_a_whole_pass_on_a_processor_publishes_what_it_measured(tmp_path: Path) -> None:
    shown: list[str] = []
    arguments = ["--device", "cpu", "--profile", "smoke", "--tables", "table3"]
    arguments += ["--budget", "150", "--results", str(tmp_path)]
    assert gpu.main(arguments, show=shown.append) == 0, "".join(shown)
    assert list(tmp_path.glob("published/bench/*.csv"))
    assert (tmp_path / "published" / "smoke" / "table3.csv").exists()
    assert list(tmp_path.glob("published/smoke/runs/*/result.json"))
