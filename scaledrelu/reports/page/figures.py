"""Figure 1, the curves and the stability maps on the page: pictures that other commands make.

What has not been made is left out, with one line that names the command that makes it.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from scaledrelu.reports.command import shown_overrides
from scaledrelu.reports.figure1.page import SEEDS
from scaledrelu.reports.page.html import Html, tag
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.pictures import picture
from scaledrelu.reports.page.text import folded, split_sections, text_block
from scaledrelu.reports.recipe_differences import TITLE as RECIPE
from scaledrelu.reports.report_files import CURVES, MILESTONES
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import title_of
from scaledrelu.tables.command import RESULTS, Commands
from scaledrelu.tables.figures import FIGURE1
from scaledrelu.tables.grids import FOLDER as STABILITY
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.text import plural

GONE = tag("p", "Shows runs whose records are gone.", class_="warning")
# Sections that open when their title is clicked.
FOLDED = (SEEDS, RECIPE, "Its runs", "Notes", "Runs")


def figure_section(plan: Plan, links: Links) -> list[Html]:
    """Return Figure 1 with the text that was written beside it.

    Args:
        plan: the page's, for the command.
        links: the page's folder.
    """
    return _document(links, FIGURE1) or [not_made("Figure 1", _commands(plan).make(FIGURE1))]


def curves_section(plan: Plan, links: Links) -> list[Html | None]:
    """Return what the paper says about its curves, and the curves of every table that has them.

    Args:
        plan: the tables, and the state of their runs.
        links: the page's folder.
    """
    command = _commands(plan).make(CURVES)
    parts = _document(links, f"{CURVES}/{MILESTONES}")
    for table in plan.tables:
        place = f"{CURVES}/{table.name}"
        alt = f"{title_of(table.name)}: loss and accuracy along training, a line for each run"
        drawn = picture(links, place, alt=alt)
        if drawn:
            runs = {name for cell in plan.cells_of(table) for name in cell.run_ids}
            shown = _shown_in(links.folder / f"{place}.csv")
            remark = _remark(shown, [plan.runs[name] for name in runs], command)
            parts += [tag("h3", title_of(table.name)), remark, drawn]
    return parts or [not_made("Curves", command)]


def stability_section(plan: Plan, links: Links) -> list[Html | None]:
    """Return the pages about stability: maps, edges, sensitivity to the rate.

    Args:
        plan: the tables and grids whose maps are there, with the page's seeds.
        links: the page's folder.
    """
    parts: list[Html | None] = []
    for name in stability_maps(links.folder):
        shown = _shown_in(links.folder / STABILITY / f"{name}_runs.csv")
        tables = [table for table in plan.tables if table.name == name]
        runs = [run for table in tables for run in plan.runs_of(table)]
        if tables:
            # Not make stability: that trains first.
            remark = _remark(shown, runs, _commands(plan).script("stability", name))
        else:  # of what is no table any more
            remark = GONE if any(links.target(run) is None for run in shown) else None
        parts += [tag("h3", name), remark, *_document(links, f"{STABILITY}/{name}", level=4)]
    return parts or [not_made("Stability maps", _commands(plan).make(STABILITY))]


def stability_maps(folder: Path) -> list[str]:
    """Return the names of the tables and grids whose stability a profile's folder shows."""
    return [path.stem for path in sorted((folder / STABILITY).glob("*.md"))]


def not_made(what: str, command: str) -> Html:
    """Say in one line that something is not there, and which command makes it.

    Args:
        what: is not there.
        command: what one types.
    """
    return tag("p", f"{what}: not made yet; this command makes it: ", tag("code", command))


def _commands(plan: Plan) -> Commands:
    """Return commands with the page's settings, but no path of this machine."""
    results = RESULTS if plan.results.is_absolute() else plan.results
    return Commands(plan.profile, plan.seeds, shown_overrides(plan.overrides), results)


def _remark(shown: Collection[str], runs: Iterable[PlannedRun], command: str) -> Html | None:
    """Say that a picture shows other runs than have finished, and which command draws it again.

    It is older than the results if it only lacks runs whose seeds it has.
    """
    finished = {run.run_id: run.seed for run in runs if run.status.done}
    lacking, other = finished.keys() - shown, shown - finished.keys()
    if not lacking and not other:
        return None
    seeds = {finished[name] for name in finished.keys() & shown}
    if not other and {finished[name] for name in lacking} <= seeds:
        text = f"Older than the results: {plural(len(lacking), 'more run')} finished since"
    else:
        text = (
            f"Shows other runs than this page (it lacks {len(lacking)}, and {len(other)} of its "
            "own are not here)"
        )
    return tag(
        "p", f"{text}. This command draws it again: ", tag("code", command), class_="warning"
    )


def _shown_in(path: Path) -> set[str]:
    """Return the runs that a CSV shows as finished; none where there is no such file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = csv.DictReader(text.splitlines())
    states = ((line.get("status") or line.get("outcome"), line.get("run_id")) for line in lines)
    return {name for state, name in states if name and state in (Status.OK, Status.CRASH)}


def _document(links: Links, name: str, *, level: int = 3) -> list[Html]:
    """Return a text that was written beside the page: its title left out, details folded up."""
    path = links.folder / f"{name}.md"
    if not path.is_file():
        return []
    place = f"{name.rpartition('/')[0]}/" if "/" in name else ""
    inside = replace(links, inside=place)
    head, titled = split_sections(path.read_text(encoding="utf-8"))
    parts = [text_block(head.partition("\n\n")[2], inside)]
    for title, text in titled.items():
        if title in FOLDED:
            parts.append(folded(title, text, inside))
        else:
            parts.append(text_block(f"## {title}\n{text}", inside, level=level))
    return parts
