"""Uses a GPU that is free for a few minutes: tests, speed, then whole runs.

Every piece has a share of the budget; what it does not use goes to the runs. Results are published
at once: bench rows one by one, runs at the end.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from scaledrelu.bench.pieces import (
    Clock,
    Ended,
    Piece,
    Report,
    Show,
    attempt,
    end_piece,
    grace_s,
    start_piece,
)
from scaledrelu.bench.whole_runs import LOGS, whole_runs
from scaledrelu.config.command_line import option_parser
from scaledrelu.config.launch import visible_gpus
from scaledrelu.config.places import ROOT, published_root
from scaledrelu.errors import ConfigError

SHARES = {"tests": 1 / 4, "step": 1 / 4, "end": 1 / 5, "loader": 1 / 9}  # of the budget, at most
MATCH = {"step": "patchify", "end": "DeiT", "loader": "timm"}  # kinds of bench.py, of QUICK
COMPILED, COMPILING = 6, "compile"  # networks that are compiled beside the tests
TEST_PROCESSES = "8"  # most of a short test is loading and building
QUICK = ("--profile", "mini", "--quick", "--blocks", "1", "--turn", "0.05")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = option_parser(
        "Run tests, measure speed and train whole runs on one GPU, in limited time.", prog="gpu.py"
    )
    add = parser.add_argument
    add(
        "--budget",
        type=float,
        default=540.0,
        metavar="SECONDS",
        help="time for everything, default: 540",
    )
    add("--only", action="append", choices=tuple(WORK), help="repeatable, default: all")
    add("--device", default="cuda", choices=("cuda", "cpu"), help="cpu: to try the script itself")
    add("--profile", default="small", help="profile of the runs, default: small")
    add("--tables", help="tables of the runs, default: table1,table2; all from half an hour on")
    add("--seeds", default="0", help="seeds of the runs, default: 0")
    add(
        "--images",
        type=Path,
        metavar="DIR",
        help="JPEGs for the loader and from file to update, default: generated ones",
    )
    add("--results", type=Path, default=Path("results"), metavar="DIR", help="results folder")
    options = parser.parse_args(arguments)
    if not options.budget > 0:
        parser.error(f"--budget={options.budget}: must be seconds above 0")
    return options


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
    chosen = [kind for kind in WORK if kind in (options.only or WORK)]
    compiles = "step" in chosen and options.device == "cuda"
    beside = start_piece(compile_piece(options), options.results / LOGS) if compiles else None
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
    show(_summary(reports, options.budget - clock.left))
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
        folder = options.results / LOGS
        return [attempt(piece(options, limit), limit, clock=clock, folder=folder, show=show)]

    return work


def tests_piece(options: argparse.Namespace, limit_s: float) -> Piece:
    """Return the tests marked ``gpu``, from the files that hold some; having none is not a failure.

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
    arguments += ["--out", str(published_root(options.results) / "bench")]
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
    """
    arguments = ["--only", "step", "--compile-only", str(COMPILED)]
    arguments += ["--device", options.device, "--profile", "paper"]
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), *arguments]
    return Piece(COMPILING, command, good=frozenset({0, 1}))


def _summary(reports: Sequence[Report], seconds: float) -> str:
    """Return one line per piece: how it ended, its seconds, its log; above them the sum."""
    lines = [
        f"{r.name:8} {r.ended:9} {r.seconds:5.0f} s  "
        f"{f'exit {r.status}  ' if r.ended is Ended.FAILED else ''}{r.log}"
        for r in reports
    ]
    return "\n".join(["", f"== {seconds:.0f} s ==", *lines, ""])


def _path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


Work = Callable[[argparse.Namespace, Clock, Show], list[Report]]
WORK: dict[str, Work] = {
    "tests": measure("tests", tests_piece),
    **{kind: measure(kind, partial(bench_piece, kind)) for kind in MATCH},
    "runs": whole_runs,
}
