"""Trains as many whole runs as fit into what is left of a GPU's minutes, and publishes them."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scaledrelu.bench.pieces import Clock, Ended, Piece, Report, Show, attempt, grace_s
from scaledrelu.config.places import CONFIG, RESULT, ROOT, published_root, runs_root

LOGS = "gpu"  # below the results folder
PUBLISH_SHARE = 1 / 18  # of the budget
FIRST = "first=[method=deit,optimizer.label=AdamW]"
LONG_S = 1800.0  # from here on all tables are planned; a shorter budget never gets to the others


def whole_runs(options: argparse.Namespace, clock: Clock, show: Show) -> list[Report]:
    """Train as many whole runs as fit, then publish them with what was published before.

    Published records are copied first, so that only rows without a record are trained.

    Args:
        options: the command line.
        clock: the time left.
        show: prints text.
    """
    restored = _restore(options.results, options.profile)
    show(f"\n{len(restored)} published records of {options.profile} copied\n")
    kept = min(PUBLISH_SHARE * options.budget, clock.left / 2)
    limit = clock.left - kept
    before, folder = finished(options.results), options.results / LOGS
    command = sweep_command(options, limit - grace_s(limit))
    piece = Piece("runs", command, good=frozenset({0, 1}))
    report = attempt(piece, limit, clock=clock, folder=folder, show=show)
    new = finished(options.results) - before
    show(f"\n{len(new)} runs finished\n")
    nothing = report.status == 1 and not new
    if nothing or "\nfailed: " in _text(report.log):
        report = replace(report, ended=Ended.FAILED)
    if not finished(options.results):
        return [report]
    seeds = sorted({*map(int, options.seeds.split(",")), *restored.values()})
    publishing = Piece("publish", publish_command(options, seeds))
    limit = max(clock.left, kept)
    return [report, attempt(publishing, limit, clock=clock, folder=folder, show=show)]


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


def _restore(results: Path, profile: str) -> dict[str, int]:
    """Copy published records of a profile to the runs; return run -> seed.

    Runs that are there already are kept; weights are not published, so no run can start from a
    copied record.
    """
    found = {}
    for record in sorted(runs_root(published_root(results) / profile).glob("*")):
        target = runs_root(results) / record.name
        try:
            seed = int(json.loads((record / CONFIG).read_bytes())["seed"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: the run is trained again
        if not (target / RESULT).exists():
            shutil.copytree(record, target, dirs_exist_ok=True)
        found[record.name] = seed
    return found


def finished(results: Path) -> set[str]:
    """Return the runs that have a result."""
    return {path.parent.name for path in runs_root(results).glob(f"*/{RESULT}")}


def _text(path: Path) -> str:
    return "\n" + path.read_text(errors="replace") if path.exists() else ""
