"""Save a workspace and a report per table at W&B; saving again updates the same views.

python scripts/dashboard.py                                  # every table at mini
python scripts/dashboard.py tables=[table1] profile=paper
Needs the extra: .venv/bin/pip install -e '.[dashboards]'
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.dashboards.save import check_installed, save_views, where_of
from scaledrelu.runs.mirrored import check_online, project_of
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say
from scripts._tables import run_script


def dashboard(settings: Settings, say: Say) -> int:
    """Save the views.

    Args:
        settings: which tables.
        say: prints one line.
    """
    check_installed()
    check_online(instead="try again where the server can be reached: views exist only there")
    plan = plan_tables(settings)
    entity, project = project_of(next(iter(plan.runs.values())).config)
    for what, address in save_views(plan, where_of(plan, entity=entity, project=project)):
        say(f"saved {what}: {address}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script("dashboard", dashboard, __doc__))
