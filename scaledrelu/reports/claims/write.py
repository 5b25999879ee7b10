"""Writes ``<results>/<profile>/claims.{csv,md}`` from finished runs; trains nothing."""

from __future__ import annotations

from pathlib import Path

from scaledrelu.files import write_changed
from scaledrelu.reports.cells import read_cell
from scaledrelu.reports.claims.findings import Judged
from scaledrelu.reports.claims.judge import judge_claims
from scaledrelu.reports.claims.limits import counts_of_runs, ratios_of
from scaledrelu.reports.claims.page import PageFacts, claims_page
from scaledrelu.reports.claims.records import csv_text
from scaledrelu.reports.claims.rows import Rows
from scaledrelu.reports.claims.spec import Claims, load_claims
from scaledrelu.reports.command import how_to_train
from scaledrelu.reports.markdown import made_on
from scaledrelu.reports.report_files import CLAIMS
from scaledrelu.runs.record import Status
from scaledrelu.tables.figures import load_figure
from scaledrelu.tables.plan import Plan, PlannedRun
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
    facts = _page_facts(plan, claims)
    folder = settings.results / settings.profile
    texts = {"csv": csv_text(judged), "md": claims_page(judged, facts)}
    written = [write_changed(folder / f"{CLAIMS}.{kind}", text) for kind, text in texts.items()]
    return written, judged


def _page_facts(plan: Plan, claims: Claims) -> PageFacts:
    commands = {
        table.name: how_to_train(plan, table)
        for table in plan.tables
        if any(_is_open(plan, run) for run in plan.runs_of(table))
    }
    return PageFacts(
        profile=plan.profile,
        notes=plan.cells[0].composed.config.profile.notes if plan.cells else (),
        made=made_on(plan.runs.values()),
        tables=tuple(table.name for table in plan.tables),
        commands=commands,
        noise=claims.printed,
        crashes=counts_of_runs(
            (read_cell(plan, cell) for cell in plan.cells), ratios_of(plan, claims.crash_limits)
        ),
    )


def _is_open(plan: Plan, run: PlannedRun) -> bool:
    return run.status in (Status.MISSING, Status.FAILED) and not plan.crashed_upstream(run)
