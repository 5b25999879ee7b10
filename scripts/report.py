"""Write tables and the page from finished runs (with all tables Figure 1 and claims, too).

python scripts/report.py tables=[table1] profile=mini
python scripts/report.py profile=mini seeds=0,1,2 publish=true

Trains nothing. Without seeds=, tables show seed 0, and claims rest on all seeds of each table. The
page is <results>/<profile>/report.html. It shows curves and stability maps if they lie beside it:
make curves and scripts/stability.py draw them (docs/reports.md).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.errors import TableError
from scaledrelu.files import writing_to
from scaledrelu.reports.claims.readme import write_readme
from scaledrelu.reports.claims.write import write_claims
from scaledrelu.reports.figure1.write import write_figure1_of
from scaledrelu.reports.page.write import write_page, write_published_page
from scaledrelu.reports.publish import publish
from scaledrelu.reports.report import write_reports
from scaledrelu.reports.report_files import CLAIMS
from scaledrelu.reports.verdicts_page import PROFILE, write_results_page
from scaledrelu.runs.record import Status
from scaledrelu.tables.composer import Compose
from scaledrelu.tables.planner import plan_tables, planner_of
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.spec import tables_of
from scaledrelu.text import Say, plural
from scripts._tables import run_script


def report(settings: Settings, say: Say) -> int:
    """Write the reports and publish them if asked; a report with holes is still a report.

    Args:
        settings: which tables, and whether to publish them.
        say: prints one line.
    """
    results, profile = settings.results, settings.profile
    planner = planner_of(settings)  # one reading of the records for all
    with writing_to(results):
        plan = plan_tables(settings, planner=planner)
        written = write_reports(plan, planner=planner)
        if _are_all(settings) or (results / profile / f"{CLAIMS}.csv").is_file():
            written += write_figure1_of(settings, planner=planner)
            # A configuration tree with other tables than the paper's has no claims about them.
            has_claims = (settings.conf_dir / f"{CLAIMS}.yaml").is_file()
            if has_claims:
                written += write_claims(_of_claims(settings), planner=planner)[0]
        written.append(write_page(settings, planner=planner))
        if settings.publish:
            written += _publish(settings, planner.compose, say)
        for path in filter(None, written):
            say(f"wrote {path}")
    if damaged := [run.run_id for run in plan.runs.values() if run.status is Status.DAMAGED]:
        what = f"{plural(len(damaged), 'damaged record')}, counted as no result"
        say(f"{what}: {', '.join(damaged)}; the reports say what to do")
    return 0


def _are_all(settings: Settings) -> bool:
    """Say whether the settings name every table of their profile."""
    try:
        return set(settings.tables) >= set(tables_of(settings.profile, settings.conf_dir))
    except TableError:  # of a table that they do not name, since those named were read
        return False


def _of_claims(settings: Settings) -> Settings:
    """Return what claims rest on: all seeds of each table, unless some are asked for."""
    return settings if "seeds" in settings.given else replace(settings, seeds=None)


def _publish(settings: Settings, compose: Compose, say: Say) -> list[Path | None]:
    """Publish the reports; mini's own also rewrite ``docs/results.md`` and claims in README.md."""
    results, profile = settings.results, settings.profile
    files = publish(results, profile, tables=settings.tables, force=settings.force)
    say(f"published {len(files)} files under {results / 'published' / profile}")
    written: list[Path | None] = [write_published_page(settings, compose=compose)]
    if profile == PROFILE:
        root = settings.conf_dir.parent
        written += [write_results_page(results, root), write_readme(results, root, profile)]
    return written


if __name__ == "__main__":
    sys.exit(run_script("report", report, __doc__))
