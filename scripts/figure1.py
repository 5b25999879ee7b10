"""Train the missing runs of Figure 1 and draw it; `make figure1` calls this.

python scripts/figure1.py profile=mini seeds=0,1,2
python scripts/figure1.py dry_run=true                     # the plan only
python scripts/figure1.py profile=paper slurm.partition=gpu slurm.gpus_per_node=8

Its runs are rows of Table 2 as well, so a run that is trained for one is there for the other.
Writes <results>/<profile>/figure1.csv, .md, .png and .svg (docs/reports.md).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.reports.figure1.write import write_figure1
from scaledrelu.tables.figures import FIGURE1
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say
from scripts._tables import run_script
from scripts.sweep import sweep


def figure1(settings: Settings, say: Say) -> int:
    """Plan, train what is missing, draw; return the exit status.

    Args:
        settings: how to train.
        say: prints one line.
    """
    return sweep(replace(settings, tables=(FIGURE1,)), say, write=write_figure1)


if __name__ == "__main__":
    sys.exit(run_script("figure1", figure1, __doc__))
