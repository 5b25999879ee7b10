"""What to do with a GPU that is at hand for minutes only: tests, speed, then whole runs.

Every piece has a share of the budget; what it leaves goes to the runs. Results are published the
moment they are there: bench rows one by one, runs at the end.
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

from scaledrelu.bench.pieces import Ended, Piece, Report, grace_s, run_piece
from scaledrelu.config.compose import CONF_DIR
from scaledrelu.config.launch import visible_gpus
from scaledrelu.errors import ConfigError

Show = Callable[[str], None]  # takes text

ROOT = CONF_DIR.parent
SHARES = {"tests": 1 / 6, "step": 1 / 3, "loader": 1 / 9}  # of the budget, at most
PUBLISH_SHARE = 1 / 18
KINDS = (*SHARES, "runs")
FIRST = "first=[method=deit,optimizer.label=AdamW]"
LONG_S = 1800.0  # from here on every table is planned: a short budget never gets to the others
LEFT_S = 5.0  # a piece with less than this is not started
TEST_PROCESSES = "4"  # most of a short test is loading and building
QUICK = ("--profile", "mini", "--quick", "--blocks", "1", "--turn", "0.05", "--match", "patchify")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="gpu.py", description="Tests, speed and whole runs on one GPU, in limited time."
    )
    add = parser.add_argument
    add("--budget", type=float, default=540.0, metavar="SECONDS", help="of everything (540)")
    add("--only", action="append", choices=KINDS, help="repeatable; default: all")
    add("--device", default="cuda", choices=("cuda", "cpu"), help="cpu tries the script itself")
    add("--profile", default="small", help="of the runs (small)")
    add("--tables", help="of the runs; default: table1,table2, with half an hour or more all")
    add("--seeds", default="0", help="of the runs (0)")
    add("--images", type=Path, metavar="DIR", help="real JPEGs for the loader; else generated ones")
    add("--results", type=Path, default=Path("results"), metavar="DIR", help="results folder")
    options = parser.parse_args(arguments)
    if not options.budget > 0:
        parser.error(f"--budget {options.budget}: write seconds above 0")
    return options


@dataclass(slots=True)
class Clock:
    """What is left of a budget."""

    budget: float
    started: float

    @property
    def left(self) -> float:
        """Seconds until everything must be over."""
        return self.budget - (time.monotonic() - self.started)


def main(arguments: Sequence[str], *, show: Show) -> int:
    """Run the pieces one after the other; 1 if one failed, ran over or had no time.

    Raises:
        ConfigError: no GPU is there.
    """
    options = parse(arguments)
    if options.device == "cuda" and not visible_gpus():
        raise ConfigError("make gpu: no GPU is visible here; --device cpu tries the script itself")
    clock = Clock(options.budget, time.monotonic())
    chosen = [kind for kind in KINDS if kind in (options.only or KINDS)]
    reports = []
    for kind in chosen:
        work = WORK[kind]
        reports += work(options, clock, show)
    show(summary(reports, options.budget - clock.left))
    return int(any(report.ended is not Ended.OK for report in reports))


def measure(kind: str, piece: Callable[[argparse.Namespace, float], Piece]) -> Work:
    """Return what runs one piece within its share."""

    def work(options: argparse.Namespace, clock: Clock, show: Show) -> list[Report]:
        limit = min(SHARES[kind] * options.budget, clock.left)
        return [attempt(piece(options, limit), limit, options, show)]

    return work


def attempt(piece: Piece, limit_s: float, options: argparse.Namespace, show: Show) -> Report:
    """Run a piece, or say that there is no time for it."""
    folder = options.results / "gpu"
    if limit_s < min(LEFT_S, 0.01 * options.budget):
        return Report(piece.name, Ended.OVER, None, 0.0, folder / f"{piece.name}.log")
    show(f"\n== {piece.name}: {limit_s:.0f} s at most ==\n")
    return run_piece(piece, limit_s=limit_s, folder=folder, show=show)


def tests_piece(options: argparse.Namespace, limit_s: float) -> Piece:
    """Return the tests marked ``gpu``, from the files that hold some; none is no failure."""
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
    """Return a part of the bench that stops by itself before the limit."""
    seconds = 0.95 * (limit_s - grace_s(limit_s))
    arguments = ["--only", kind, "--device", options.device, "--budget", f"{seconds:.0f}"]
    arguments += ["--out", str(options.results / "published" / "bench")]
    if options.device == "cpu":
        arguments += QUICK
    elif kind == "step":
        arguments += ["--profile", "paper"]
    if options.images and kind == "loader":
        arguments += ["--images", str(options.images)]
    return Piece(kind, [sys.executable, str(ROOT / "scripts" / "bench.py"), *arguments])


def whole_runs(options: argparse.Namespace, clock: Clock, show: Show) -> list[Report]:
    """Train whole runs for as long as they fit, then publish them with what was published before.

    Records that were published are taken over first, so that only rows without one are trained.
    """
    restored = restore(options.results, options.profile)
    show(f"\n{len(restored)} published records of {options.profile} taken over\n")
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
    """Return the sweep that trains the rows of most worth first."""
    asked = [*_shared(options), f"seeds=[{options.seeds}]", FIRST, f"budget_s={budget_s:.1f}"]
    return [sys.executable, str(ROOT / "scripts" / "sweep.py"), *asked]


def publish_command(options: argparse.Namespace, seeds: Sequence[int]) -> list[str]:
    """Return the report over all seeds that have a record, published whatever was there."""
    asked = [*_shared(options), f"seeds=[{','.join(map(str, seeds))}]"]
    script = str(ROOT / "scripts" / "report.py")
    return [sys.executable, script, *asked, "publish=true", "force=true"]


def _shared(options: argparse.Namespace) -> list[str]:
    tables = options.tables or ("table1,table2" if options.budget < LONG_S else "all")
    shared = [f"profile={options.profile}", f"tables=[{tables}]", f"results={options.results}"]
    return [*shared, f"overrides=[launch.device={options.device}]"]


def restore(results: Path, profile: str) -> dict[str, int]:
    """Copy published records of a profile to where runs are looked for; return run -> seed.

    Runs that are there already stay; weights are not published, so nothing can start from a
    record that was taken over.
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
    """Return one line per piece: how it ended, its seconds, its log."""
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
    "loader": measure("loader", partial(bench_piece, "loader")),
    "runs": whole_runs,
}
