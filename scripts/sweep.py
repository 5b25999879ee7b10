"""Train the missing runs of some tables and write the tables; `make table1` calls this.

python scripts/sweep.py tables=[table1] profile=mini seeds=0,1,2
python scripts/sweep.py dry_run=true                       # the plan only
python scripts/sweep.py tables=[table1] redo=deit-0123456789ab
python scripts/sweep.py profile=paper slurm.partition=gpu slurm.gpus_per_node=8
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.files import writing_to
from scaledrelu.launch.jobs import Train
from scaledrelu.launch.sweep import launch_tables
from scaledrelu.launch.sweep_end import conclude
from scaledrelu.reports.report import write_reports
from scaledrelu.runs.spawn import train_planned
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say
from scripts._tables import run_script

Write = Callable[[Plan], list[Path]]
PRELOAD = ("torch", "timm", "scaledrelu.runs.execute")  # what every run imports


def sweep(
    settings: Settings,
    say: Say,
    *,
    train: Train = train_planned,
    preload: Sequence[str] = PRELOAD,
    write: Write = write_reports,
) -> int:
    """Plan, train what is missing, write the reports; return the exit status.

    Args:
        settings: which tables to train, and how.
        say: prints one line.
        train: the function that the process of a run calls.
        preload: modules that every such process needs.
        write: writes the reports of a plan below its results folder.
    """
    launched = launch_tables(settings, say, train=train, preload=preload)
    if launched is None:
        return 0
    plan = plan_tables(settings)
    with writing_to(settings.results):
        for path in write(plan):
            say(f"wrote {path}")
    return conclude(plan, launched, say)


if __name__ == "__main__":
    sys.exit(run_script("sweep", sweep, __doc__))
