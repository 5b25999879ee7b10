"""Write the stability of some tables from finished runs: map, edge, sensitivity; train nothing.

python scripts/stability.py tables=[stems] profile=mini seeds=table
python scripts/stability.py tables=[table1]     the runs of a table; any table works

`make stability` trains the grid first, conf/stability/stems.yaml. For another grid, train it with
scripts/sweep.py; dry_run=true there shows what it costs.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.files import writing_to
from scaledrelu.reports.stability.files import write_stability
from scaledrelu.tables.planner import plan_tables, planner_of
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say
from scripts._tables import run_script


def stability(settings: Settings, say: Say) -> int:
    """Write the stability of some tables; holes are holes.

    Args:
        settings: which tables.
        say: prints one line.
    """
    planner = planner_of(settings)
    plan = plan_tables(settings, planner=planner)
    with writing_to(settings.results):
        for table in plan.tables:
            for path in write_stability(plan, table, planner=planner):
                say(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script("stability", stability, __doc__))
