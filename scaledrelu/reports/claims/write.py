"""Writes ``<results>/<profile>/claims.{csv,md}`` from finished runs; trains nothing."""

from __future__ import annotations

from pathlib import Path

from scaledrelu.files import write_changed
from scaledrelu.reports.claims.findings import Judged
from scaledrelu.reports.claims.judge import judge_claims
from scaledrelu.reports.claims.page import claims_page
from scaledrelu.reports.claims.records import csv_text
from scaledrelu.reports.claims.rows import Rows
from scaledrelu.reports.claims.spec import load_claims
from scaledrelu.reports.report_files import CLAIMS
from scaledrelu.tables.figures import load_figure
from scaledrelu.tables.planner import Planner, planner_of
from scaledrelu.tables.settings import Settings


def write_claims(
    settings: Settings, *, planner: Planner | None = None
) -> tuple[list[Path], list[Judged]]:
    """Judge every claim by the runs of a profile and write both files.

    Args:
        settings: profile, seeds, results folder and overrides; the claims decide the tables.
        planner: one of these settings; None = a new one.

    Returns:
        The files, and the claims as judged.

    Raises:
        TableError: a claim that names a row, a column or a setting that does not exist.
        ConfigError: an override that does not compose.
    """
    claims = load_claims(settings.conf_dir)
    rows = Rows(claims, settings.conf_dir)
    planner = planner or planner_of(settings)
    tables = [
        table
        for table in (*rows.tables.values(), load_figure(settings.conf_dir).table)
        if table.is_made_at(settings.profile)
    ]
    plan = planner.plan(tables, settings.seeds)
    judged = judge_claims(claims, rows, plan, planner.compose)
    planner.compose.save()
    folder = settings.results / settings.profile
    texts = {"csv": csv_text(judged), "md": claims_page(judged, claims, plan)}
    written = [write_changed(folder / f"{CLAIMS}.{kind}", text) for kind, text in texts.items()]
    return written, judged
