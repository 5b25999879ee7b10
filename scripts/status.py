"""Show the state of every run of some tables, one line each; train nothing.

python scripts/status.py                                   # every table at mini
python scripts/status.py tables=[table1] profile=paper seeds=0,1,2
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.launch.status import status_lines
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say
from scripts._tables import run_script


def status(settings: Settings, say: Say) -> int:
    """Print the state of the runs.

    Args:
        settings: which tables.
        say: prints one line.
    """
    for line in status_lines(plan_tables(settings)):
        say(line)
    return 0


if __name__ == "__main__":
    sys.exit(run_script("status", status, __doc__))
