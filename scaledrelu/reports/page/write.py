"""One page about a profile: claims, tables, figures, and how to read them; needs no other file.

A pure function of a plan and of the files beside the page: written anew it changes no byte. It
loads nothing: style and pictures are inside, there is no script, and it says so to the browser.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scaledrelu.config.places import published_root
from scaledrelu.files import write_changed
from scaledrelu.reports.cells import CellValue
from scaledrelu.reports.markdown import crash_rules, made_on
from scaledrelu.reports.page.claims import claims_section
from scaledrelu.reports.page.figures import (
    curves_section,
    figure_section,
    stability_maps,
    stability_section,
)
from scaledrelu.reports.page.html import Html, joined, listed, tag
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.tables import TableReport, progress, table_report
from scaledrelu.reports.page.text import folded, text_line
from scaledrelu.reports.recipe_differences import TITLE as RECIPE
from scaledrelu.reports.report_files import CLAIMS, CURVES, table_files
from scaledrelu.tables.composer import Compose
from scaledrelu.tables.figures import FIGURE1
from scaledrelu.tables.grids import FOLDER as STABILITY
from scaledrelu.tables.grids import grid_names
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import Planner, plan_tables, planner_of
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.spec import table_names

PAGE = "report.html"
STYLE = Path(__file__).with_name("page.css")
PAPER = "Scaled ReLU Matters for Training Vision Transformers"
# The browser is told to load nothing, whatever a later change might put in.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
SENTENCES = (
    "A crash is a result, not a fault: it is printed, counted and drawn like every other outcome. "
    "Failed and missing runs are not results; they have no dot.",
    "The mean is over all finished seeds; a crashed run counts with the value that it ended at. "
    "Behind \u00b1 stands half of the 95 % t interval of that mean; one seed has none.",
    "A difference is undecided where its interval over seeds contains zero, or where it is smaller "
    "than what the validation images can resolve.",
    "A row of ours counts as a crash beside the paper if more than half of its finished seeds "
    "crashed.",
    "The paper's value is a tick in the drawing only on the paper's own data; elsewhere it stands "
    "beside ours as text, since accuracies on different data cannot be compared.",
    "The last epoch is printed, for every method, with raw weights; the CSV has the best epoch "
    "beside it.",
    "Every number of a run links to its record: what it measured, and the device, the versions and "
    "the commit that it was made with.",
)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page and its line in the table of contents."""

    anchor: str
    title: str
    content: Sequence[Html | None]
    about: str = ""

    @property
    def html(self) -> Html:
        """The section with its heading."""
        return tag("section", tag("h2", self.title), *self.content, id=self.anchor)


def write_page(settings: Settings, *, planner: Planner | None = None) -> Path:
    """Write the page about every table whose report lies in the profile's folder.

    Args:
        settings: profile, seeds, results folder and overrides.
        planner: one of these settings; None = a new one.

    Raises:
        TableError, ConfigError: as planning, or a file beside the page that another version wrote.
    """
    results = settings.results
    planner = planner or planner_of(settings)
    return _write_page(results / settings.profile, results, settings, planner)


def write_published_page(settings: Settings, *, compose: Compose | None = None) -> Path:
    """Write the page about what is published, from the published records alone.

    Args:
        settings: profile, seeds, results folder and overrides.
        compose: overrides -> composed config; None = a new composer with the results' cache.

    Raises:
        TableError, ConfigError: as :func:`write_page`.
    """
    folder = published_root(settings.results) / settings.profile
    composer = compose or planner_of(settings).compose
    planner = planner_of(replace(settings, results=folder), compose=composer)
    return _write_page(folder, folder, settings, planner)


def _write_page(folder: Path, root: Path, settings: Settings, planner: Planner) -> Path:
    known = table_names(settings.conf_dir)
    names = tuple(path.stem for path in table_files(folder) if path.stem in known)
    plan = plan_tables(replace(settings, tables=names), planner=planner)
    grids = (*known, *grid_names(settings.conf_dir))
    drawn = tuple(name for name in stability_maps(folder) if name in grids)
    maps = plan_tables(replace(settings, tables=drawn), planner=planner)
    links = Links(folder, root, frozenset((*names, FIGURE1)))
    text = page(replace(plan, results=settings.results), links, maps)
    return write_changed(folder / PAGE, text)


def page(plan: Plan, links: Links, maps: Plan | None = None) -> str:
    """Return the page as HTML; tables of the paper come before others.

    Args:
        plan: which tables, which seeds.
        links: its folder, and where the records are.
        maps: the tables and grids of the stability maps beside it; None = the same tables.
    """
    ordered = sorted(plan.tables, key=lambda table: not table.is_of_the_paper)
    plan = replace(plan, tables=tuple(ordered))
    reports = [table_report(plan, table) for table in plan.tables]
    parts = list(_parts(plan, maps or plan, reports, links))
    body = tag(
        "body",
        tag("a", "Skip to the contents", href="#main", class_="skip"),
        _header(plan, reports, links),
        _contents(parts),
        tag("main", *(part.html for part in parts), id="main"),
    )
    return f"<!doctype html>\n{tag('html', _head(plan), body, lang='en')}\n"


def _key() -> Html:
    """Return the signs of the page in one line, for its head."""
    dot = tag("circle", cx=7, cy=7, r=3.5, class_="seed")
    cross = tag("path", d="M3.5 3.5l7 7m0 -7l-7 7", class_="crashed")
    mean = (
        tag("line", x1=0, x2=14, y1=7, y2=7, class_="interval"),
        tag("line", x1=7, x2=7, y1=1, y2=13, class_="mean"),
    )
    paper = tag("line", x1=7, x2=7, y1=1, y2=13, class_="paper")
    signs = (
        ((dot,), "a seed that held"),
        ((cross,), "a seed that crashed"),
        (mean, "mean of all seeds, 95 % interval"),
        ((paper,), "the paper's value, where comparable"),
    )
    return listed((joined([_sign(parts), f" {text}"]) for parts, text in signs), class_="key")


def _guide(rules: Mapping[str, Sequence[str]], links: Links) -> list[Html | None]:
    """Return how to read the page, with each sentence about crashes and the tables it is about."""
    crashes = listed(
        joined([text_line(sentence, links), tag("span", f" ({'; '.join(tables)})")])
        for sentence, tables in rules.items()
    )
    heading = tag("h3", "What counts as a crash") if crashes else None
    return [listed(SENTENCES), heading, crashes]


def _head(plan: Plan) -> Html:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", f"{PAPER}: what our runs say, {plan.profile} profile"),
        tag("style", Html(STYLE.read_text(encoding="ascii"))),
    )


def _parts(
    plan: Plan, maps: Plan, reports: Sequence[TableReport], links: Links
) -> Iterable[Section]:
    profile = plan.profile
    yield Section(CLAIMS, "Claims", claims_section(links, profile))
    for report in reports:
        yield Section(report.table.name, report.title, report.section(links), report.in_short)
    yield Section(FIGURE1, "Figure 1", figure_section(plan, links))
    yield Section(CURVES, "Curves", curves_section(plan, links))
    yield Section(STABILITY, "Stability", stability_section(maps, links))
    yield Section("recipe", RECIPE, _recipe(reports, links))
    yield Section("guide", "How to read this page", _guide(_crash_rules(reports), links))


def _header(plan: Plan, reports: Sequence[TableReport], links: Links) -> Html:
    cells = [value for report in reports for value in report.values]
    notes = dict.fromkeys(n for v in cells for n in v.cell.composed.config.profile.notes)
    facts = {
        "Profile": plan.profile,
        "Seeds": _seeds(cells),
        "Runs": progress(plan, plan.runs.values()),
        "Trained": made_on(plan.runs.values()) or "No run has finished yet.",
    }
    return tag(
        "header",
        tag("p", "Reproduction of a paper, from the records of its runs", class_="kicker"),
        tag("h1", PAPER),
        *(tag("p", text_line(note, links), class_="warning") for note in notes),
        tag("dl", *(tag("div", tag("dt", k), tag("dd", v)) for k, v in facts.items())),
        _key(),
    )


def _seeds(cells: Sequence[CellValue]) -> str:
    """Return how many seeds the rows have, and which they are."""
    sets = sorted({tuple(sorted(seed.run.seed for seed in value.seeds)) for value in cells})
    return "; or ".join(f"{len(seeds)} per row ({', '.join(map(str, seeds))})" for seeds in sets)


def _contents(parts: Sequence[Section]) -> Html:
    lines = []
    for part in parts:
        aside = tag("span", f" {part.about}", class_="aside") if part.about else None
        lines.append(joined([tag("a", part.title, href=f"#{part.anchor}"), aside]))
    return tag("nav", tag("h2", "Contents", id="contents"), listed(lines), aria_label="Contents")


def _recipe(reports: Sequence[TableReport], links: Links) -> list[Html]:
    """Return, for each table, the fields whose values differ from those at paper scale."""
    found = {report.title: report.texts["recipe"] for report in reports if "recipe" in report.texts}
    about = (
        "Every row is composed again at paper scale; each field whose value differs is one line."
        if found
        else "Nothing: every field has the value that the paper's recipe gives it."
    )
    folds = [folded(title, text, links) for title, text in found.items()]
    return [tag("p", about), *folds]


def _crash_rules(reports: Sequence[TableReport]) -> dict[str, list[str]]:
    """Return each sentence about what a crash is, with the tables that it is about."""
    rules: dict[str, list[str]] = {}
    for report in reports:
        for sentence in crash_rules(report.table, report.values):
            rules.setdefault(sentence, []).append(report.title)
    return rules


def _sign(parts: Sequence[Html]) -> Html:
    size = {"width": 14, "height": 14, "viewBox": "0 0 14 14"}
    return tag("svg", *parts, aria_hidden="true", focusable="false", **size)
