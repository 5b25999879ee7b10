"""Figure 1, the curves and the stability maps on the page: pictures that other commands make.

What has not been made is left out, with one line that names the command that makes it.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from scaledrelu.reports.figure1.page import SEEDS
from scaledrelu.reports.page.html import Html, section, tag
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.pictures import picture
from scaledrelu.reports.page.text import folded, split_sections, text_block
from scaledrelu.reports.recipe_differences import TITLE as RECIPE
from scaledrelu.reports.report_files import CURVES, MILESTONES
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import title_of
from scaledrelu.tables.figures import FIGURE1
from scaledrelu.tables.grids import FOLDER as STABILITY
from scaledrelu.tables.plan import Plan

FOLDED = (
    SEEDS,
    RECIPE,
    "Its runs",
    "Notes",
    "Runs",
)  # sections that open when their title is clicked


def figure_section(links: Links, profile: str) -> Html:
    """Return Figure 1 with the text that was written beside it.

    Args:
        links: the page's folder.
        profile: named in the command.
    """
    content = _document(links, FIGURE1) or [not_made("Figure 1", f"make figure1 PROFILE={profile}")]
    return section(FIGURE1, "Figure 1", *content)


def curves_section(plan: Plan, links: Links) -> Html:
    """Return what the paper says about its curves, and the curves of every table that has them.

    Args:
        plan: the tables, and the state of their runs.
        links: the page's folder.
    """
    command = f"make curves PROFILE={plan.profile}"
    parts = _document(links, f"{CURVES}/{MILESTONES}")
    for table in plan.tables:
        place = f"{CURVES}/{table.name}"
        alt = f"{title_of(table.name)}: loss and accuracy along training, a line for each run"
        drawn = picture(links, place, alt=alt)
        if drawn:
            runs = {name for cell in plan.cells_of(table) for name in cell.run_ids}
            finished = {name for name in runs if plan.runs[name].status.done}
            is_old = _finished_in(links.folder / f"{place}.csv") != finished
            parts += [tag("h3", title_of(table.name)), _older(command) if is_old else None, drawn]
    return section(CURVES, "Curves", *(parts or [not_made("Curves", command)]))


def stability_section(links: Links, profile: str) -> Html:
    """Return the pages about stability: maps, edges, sensitivity to the rate.

    Args:
        links: the page's folder.
        profile: named in the command.
    """
    command = f"make stability PROFILE={profile}"
    parts: list[Html | None] = []
    for path in sorted((links.folder / STABILITY).glob("*.md")):
        finished = _finished_in(path.with_name(f"{path.stem}_runs.csv"))
        is_old = any(links.target(name) is None for name in finished)
        parts += [tag("h3", path.stem), _older(command) if is_old else None]
        parts += _document(links, f"{STABILITY}/{path.stem}", level=4)
    return section(STABILITY, "Stability", *(parts or [not_made("Stability maps", command)]))


def not_made(what: str, command: str) -> Html:
    """Say in one line that something is not there, and which command makes it.

    Args:
        what: is not there.
        command: what one types.
    """
    return tag("p", f"{what}: not made yet; this command makes it: ", tag("code", command))


def _older(command: str) -> Html:
    text = "Older than the results: more runs have finished since. This command draws it again: "
    return tag("p", text, tag("code", command), class_="warning")


def _finished_in(path: Path) -> set[str]:
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
