"""Draw the training curves of every row, from finished runs; `make curves` calls this.

python scripts/curves.py tables=[table1] profile=mini seeds=0,1,2

Writes <results>/<profile>/curves/<table>.csv, .png and .svg, and milestones.csv and .md: what the
paper says runs had reached after 5, 20 and 50 epochs, with ours beside it (docs/reports.md). Trains
nothing. Names runs that are missing or damaged, and draws the others.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.files import writing_to
from scaledrelu.reports.curves import write_curves
from scaledrelu.reports.milestones import write_milestones
from scaledrelu.tables.planner import plan_tables, planner_of
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say
from scripts._tables import run_script


def curves(settings: Settings, say: Say) -> int:
    """Draw the curves of some tables; one without a finished run is named.

    Args:
        settings: which tables.
        say: prints one line.
    """
    planner = planner_of(settings)
    plan = plan_tables(settings, planner=planner)
    with writing_to(settings.results):
        for table in plan.tables:
            written = write_curves(plan, table)
            for path in written.files:
                say(f"wrote {path}")
            for line in written.lines:
                say(line)
        for path in write_milestones(settings, planner=planner):
            say(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script("curves", curves, __doc__))
