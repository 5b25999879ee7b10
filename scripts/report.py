"""Write the tables; with all of them Figure 1, the claims and the page. Nothing is trained.

python scripts/report.py tables=[table1] profile=mini
python scripts/report.py profile=mini seeds=0,1,2 publish=true
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.files import writing_to
from scaledrelu.reports.claims.readme import write_readme
from scaledrelu.reports.claims.write import write_claims
from scaledrelu.reports.figure1 import write_figure1_of
from scaledrelu.reports.page import write_page
from scaledrelu.reports.publish import publish
from scaledrelu.reports.report import write_reports
from scaledrelu.reports.verdicts_page import PROFILE, write_results_page
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.spec import tables_of
from scripts._tables import run_script


def report(settings: Settings, say: Callable[[str], None]) -> int:
    """Write the reports and publish them if asked; a report with holes is still a report.

    Publishing mini's own tables also rewrites ``docs/results.md`` and the claims in README.md.

    Args:
        settings: which tables, and whether to publish them.
        say: prints one line.
    """
    results, profile = settings.results, settings.profile
    with writing_to(results):
        plan = plan_tables(settings)
        written = write_reports(plan, results=results)
        if set(settings.tables) == set(tables_of(profile, settings.conf_dir)):
            written += write_figure1_of(settings)
            written += write_claims(settings)[0]
        written.append(write_page(plan, folder=results / profile, root=results))
        if settings.publish:
            files = publish(results, profile, tables=settings.tables, force=settings.force)
            published = results / "published" / profile
            say(f"published {len(files)} files under {published}")
            written.append(write_page(plan, folder=published, root=published))
            if profile == PROFILE:
                written.append(write_results_page(results, settings.conf_dir.parent))
                written.append(write_readme(results, settings.conf_dir.parent, profile))
        for path in filter(None, written):
            say(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script("report", report, __doc__))
