"""Uses a GPU that is free for a few minutes: tests, speed, then whole runs.

Every piece has a share of the budget; what it does not use goes to the runs. Results are published
at once: bench rows one by one, runs at the end.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from scaledrelu.bench.pieces import (
    Ended,
    Piece,
    Report,
    end_piece,
    grace_s,
    run_piece,
    start_piece,
)
from scaledrelu.config.compose import CONF_DIR
from scaledrelu.config.launch import visible_gpus
from scaledrelu.errors import ConfigError

Show = Callable[[str], None]  # takes text

ROOT = CONF_DIR.parent
SHARES = {"tests": 1 / 4, "step": 1 / 4, "end": 1 / 5, "loader": 1 / 9}  # of the budget, at most
PUBLISH_SHARE = 1 / 18
KINDS = (*SHARES, "runs")
FIRST = "first=[method=deit,optimizer.label=AdamW]"
MATCH = {"step": "patchify", "end": "DeiT", "loader": "timm"}  # of QUICK
LONG_S = 1800.0  # from here on all tables are planned; a shorter budget never gets to the others
COMPILED, COMPILING = 6, "compile"  # networks that are compiled beside the tests
LEFT_S = 5.0  # a piece with less than this is not started
TEST_PROCESSES = "8"  # most of a short test is loading and building
QUICK = ("--profile", "mini", "--quick", "--blocks", "1", "--turn", "0.05")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="gpu.py", description="Tests, speed and whole runs on one GPU, in limited time."
    )
    add = parser.add_argument
    add(
        "--budget",
        type=float,
        default=540.0,
        metavar="SECONDS",
        help="for everything, default: 540",
    )
    add("--only", action="append", choices=KINDS, help="repeatable, default: all")
    add("--device", default="cuda", choices=("cuda", "cpu"), help="cpu: to try the script itself")
    add("--profile", default="small", help="profile of the runs, default: small")
    add("--tables", help="tables of the runs, default: table1,table2; from half an hour on all")
    add("--seeds", default="0", help="seeds of the runs, default: 0")
    add(
        "--images",
        type=Path,
        metavar="DIR",
        help="JPEGs for the loader and from file to update, default: generated",
    )
    add("--results", type=Path, default=Path("results"), metavar="DIR", help="results folder")
    options = parser.parse_args(arguments)
    if not options.budget > 0:
        parser.error(f"--budget={options.budget}: must be seconds above 0")
    return options


@dataclass(slots=True)
class Clock:
    """The time left of a budget."""

    budget: float
    started: float

    @property
    def left(self) -> float:
        """Seconds until everything must be over."""
        return self.budget - (time.monotonic() - self.started)


def main(arguments: Sequence[str], *, show: Show) -> int:
    """Run the pieces one after the other; 1 if one failed, took too long or had no time.

    Args:
        arguments: the command line.
        show: prints text.

    Raises:
        ConfigError: no GPU is visible.
    """
    options = parse(arguments)
    if options.device == "cuda" and not visible_gpus():
        raise ConfigError(
            "make gpu: no GPU is visible; run it on a machine with one, or try the script itself "
            "with --device cpu"
        )
    clock = Clock(options.budget, time.monotonic())
    chosen = [kind for kind in KINDS if kind in (options.only or KINDS)]
    compiles = "step" in chosen and options.device == "cuda"
    beside = start_piece(compile_piece(options), options.results / "gpu") if compiles else None
    reports = []
    try:
        for kind in chosen:
            if kind == "step" and beside:
                limit = SHARES["tests"] * options.budget
                reports.append(end_piece(beside, limit_s=limit, show=len))
            reports += WORK[kind](options, clock, show)
    finally:  # an interruption leaves no processes behind
        if beside and beside.process.poll() is None:
            end_piece(beside, limit_s=0.0, show=len)
    show(summary(reports, options.budget - clock.left))
    fine = [r.ended is Ended.OK or (r.name == COMPILING and r.ended is Ended.OVER) for r in reports]
    return int(not all(fine))


def measure(kind: str, piece: Callable[[argparse.Namespace, float], Piece]) -> Work:
    """Return a function that runs one piece within its share.

    Args:
        kind: name of the piece.
        piece: options and seconds -> the piece.
    """

    def work(options: argparse.Namespace, clock: Clock, show: Show) -> list[Report]:
        limit = min(SHARES[kind] * options.budget, clock.left)
        return [attempt(piece(options, limit), limit, options, show)]

    return work


def attempt(piece: Piece, limit_s: float, options: argparse.Namespace, show: Show) -> Report:
    """Run a piece, or report that there is no time for it.

    Args:
        piece: what to run.
        limit_s: seconds that it may take.
        options: the command line.
        show: prints text.
    """
    folder = options.results / "gpu"
    if limit_s < min(LEFT_S, 0.01 * options.budget):
        return Report(piece.name, Ended.OVER, None, 0.0, folder / f"{piece.name}.log")
    show(f"\n== {piece.name}: {limit_s:.0f} s at most ==\n")
    return run_piece(piece, limit_s=limit_s, folder=folder, show=show)


def tests_piece(options: argparse.Namespace, limit_s: float) -> Piece:
    """Return the tests marked ``gpu``, from the files that hold some; having none is no failure.

    Args:
        options: the command line.
        limit_s: seconds that the tests may take.
    """
    files = [p for p in sorted(ROOT.glob("tests/**/test_*.py")) if "mark.gpu" in p.read_text()]
    how = ["-m", "gpu", "-v", "-ra", "--tb=short", "-p", "no:cacheprovider"]
    if options.device == "cuda" and importlib.util.find_spec("xdist"):
        how += ["-n", TEST_PROCESSES]
    return Piece(
        "tests",
        [sys.executable, "-m", "pytest", *how, *map(str, files)],
        environment={"PYTHONPATH": _path()},
        good=frozenset({0, 5}),
    )


def bench_piece(kind: str, options: argparse.Namespace, limit_s: float) -> Piece:
    """Return a part of the bench that stops by itself before the limit.

    Args:
        kind: step, loader or end.
        options: the command line.
        limit_s: seconds that it may take.
    """
    seconds = 0.95 * (limit_s - grace_s(limit_s))
    arguments = ["--only", kind, "--device", options.device, "--budget", f"{seconds:.0f}"]
    arguments += ["--out", str(options.results / "published" / "bench")]
    if options.device == "cpu":
        arguments += [*QUICK, "--match", MATCH[kind]]
    elif kind == "step":
        arguments += ["--profile", "paper"]
    if options.images and kind != "step":
        arguments += ["--images", str(options.images)]
    return Piece(kind, [sys.executable, str(ROOT / "scripts" / "bench.py"), *arguments])


def compile_piece(options: argparse.Namespace) -> Piece:
    """Return what compiles the networks of the most important steps, while tests run.

    What is not ready in time is compiled again by the bench: no failure.

    Args:
        options: the command line.
    """
    arguments = ["--only", "step", "--compile-only", str(COMPILED)]
    arguments += ["--device", options.device, "--profile", "paper"]
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), *arguments]
    return Piece(COMPILING, command, good=frozenset({0, 1}))


def whole_runs(options: argparse.Namespace, clock: Clock, show: Show) -> list[Report]:
    """Train as many whole runs as fit, then publish them with what was published before.

    Published records are copied first, so that only rows without a record are trained.

    Args:
        options: the command line.
        clock: the time left.
        show: prints text.
    """
    restored = restore(options.results, options.profile)
    show(f"\n{len(restored)} published records of {options.profile} copied\n")
    kept = min(PUBLISH_SHARE * options.budget, clock.left / 2)
    limit = clock.left - kept
    before = finished(options.results)
    command = sweep_command(options, limit - grace_s(limit))
    piece = Piece("runs", command, good=frozenset({0, 1}))
    report = attempt(piece, limit, options, show)
    new = finished(options.results) - before
    show(f"\n{len(new)} runs finished\n")
    nothing = report.status == 1 and not new
    if nothing or "\nfailed: " in _text(report.log):
        report = replace(report, ended=Ended.FAILED)
    if not finished(options.results):
        return [report]
    seeds = sorted({*map(int, options.seeds.split(",")), *restored.values()})
    publishing = Piece("publish", publish_command(options, seeds))
    return [report, attempt(publishing, max(clock.left, kept), options, show)]


def sweep_command(options: argparse.Namespace, budget_s: float) -> list[str]:
    """Return the sweep that trains the most important rows first.

    Args:
        options: the command line.
        budget_s: seconds that it may take.
    """
    asked = [*_shared(options), f"seeds=[{options.seeds}]", FIRST, f"budget_s={budget_s:.1f}"]
    return [sys.executable, str(ROOT / "scripts" / "sweep.py"), *asked]


def publish_command(options: argparse.Namespace, seeds: Sequence[int]) -> list[str]:
    """Return the report over all seeds with a record, published whatever was there before.

    Args:
        options: the command line.
        seeds: the seeds.
    """
    asked = [*_shared(options), f"seeds=[{','.join(map(str, seeds))}]"]
    script = str(ROOT / "scripts" / "report.py")
    return [sys.executable, script, *asked, "publish=true", "force=true"]


def _shared(options: argparse.Namespace) -> list[str]:
    tables = options.tables or ("table1,table2" if options.budget < LONG_S else "all")
    shared = [f"profile={options.profile}", f"tables=[{tables}]", f"results={options.results}"]
    return [*shared, f"overrides=[launch.device={options.device}]"]


def restore(results: Path, profile: str) -> dict[str, int]:
    """Copy published records of a profile to the runs; return run -> seed.

    Runs that are there already are kept; weights are not published, so no run can start from a
    copied record.

    Args:
        results: results folder.
        profile: the profile.
    """
    found = {}
    for record in sorted((results / "published" / profile / "runs").glob("*")):
        target = results / "runs" / record.name
        try:
            seed = int(json.loads((record / "config.json").read_bytes())["seed"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: the run is trained again
        if not (target / "result.json").exists():
            shutil.copytree(record, target, dirs_exist_ok=True)
        found[record.name] = seed
    return found


def finished(results: Path) -> set[str]:
    """Return the runs that have a result."""
    return {path.parent.name for path in (results / "runs").glob("*/result.json")}


def summary(reports: Sequence[Report], seconds: float) -> str:
    """Return one line per piece: how it ended, its seconds, its log.

    Args:
        reports: how the pieces ended.
        seconds: time that all of them took.
    """
    lines = [
        f"{r.name:8} {r.ended:9} {r.seconds:5.0f} s  "
        f"{f'exit {r.status}  ' if r.ended is Ended.FAILED else ''}{r.log}"
        for r in reports
    ]
    return "\n".join(["", f"== {seconds:.0f} s ==", *lines, ""])


def _text(path: Path) -> str:
    return "\n" + path.read_text(errors="replace") if path.exists() else ""


def _path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


Work = Callable[[argparse.Namespace, Clock, Show], list[Report]]
WORK: dict[str, Work] = {
    "tests": measure("tests", tests_piece),
    "step": measure("step", partial(bench_piece, "step")),
    "end": measure("end", partial(bench_piece, "end")),
    "loader": measure("loader", partial(bench_piece, "loader")),
    "runs": whole_runs,
}
