"""Check the paper's theory and write docs/theory.md with its pictures; trains the runs it needs.

python scripts/theory.py                    about five minutes on two cores; finished runs are kept
python scripts/theory.py n_jobs=1           settings of scripts/sweep.py, see its --help
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.places import published_root
from scaledrelu.files import writing_to
from scaledrelu.launch.sweep import launch_plan
from scaledrelu.launch.sweep_end import conclude
from scaledrelu.runs.spawn import train_planned
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say
from scaledrelu.theory.plan import plan_theory
from scripts._tables import run_script
from scripts.sweep import PRELOAD


def theory(settings: Settings, say: Say) -> int:
    """Train the runs of conf/theory.yaml that are missing, then write the page.

    Args:
        settings: how runs are launched, and where results lie.
        say: prints one line.
    """
    docs = settings.conf_dir.parent / "docs"
    where = {"results": settings.results, "conf_dir": settings.conf_dir}
    plan = plan_theory(**where)
    launched = launch_plan(plan, settings, say, train=train_planned, preload=PRELOAD)
    if launched is None:
        return 0
    from scaledrelu.theory.page import write_page  # torch: not for --help and dry_run=true

    plan = plan_theory(**where)
    if launched.interrupted:
        return conclude(plan, launched, say)
    with writing_to(docs):
        published = published_root(settings.results)
        for path in write_page(plan, docs=docs, published=published, say=say):
            say(f"wrote {path}")
    return conclude(plan, launched, say)


if __name__ == "__main__":
    sys.exit(run_script("theory", theory, __doc__))
