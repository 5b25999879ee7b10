"""The page in a real browser: nothing is loaded, nothing overflows, everything can be read.

Needs Chromium; on a machine without it these tests are skipped and say how to get it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scaledrelu.config.places import ROOT, published_root
from scaledrelu.reports.claims.decision import Interval, Verdict
from scaledrelu.reports.claims.findings import POINTS, CellName, Judged, Part, Said
from scaledrelu.reports.claims.records import csv_text
from scaledrelu.reports.claims.spec import Relation
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.write import page
from scaledrelu.reports.publish import publish
from scaledrelu.reports.report import write_reports
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.planner import plan_tables, planner_of
from scaledrelu.tables.settings import load_settings
from tests.helpers.browser import NEEDED, Browser, browser, find_chromium
from tests.helpers.pages import read_page
from tests.helpers.table_fakes import finish, plan_of, write_table

pytestmark = pytest.mark.browser

SEEDS = (0, 1, 2)
PHONE, DESK = (360, 800), (1280, 900)
CUT_OFF = "[...document.querySelectorAll('.scroll')].filter(b => b.scrollWidth > b.clientWidth)"
LARGE = ("table2", "table4")  # of the published ones: many rows and labels, up to 16 seeds a row
# Every text that is seen, with its colour and what it stands on; pictures have a card of their own.
UNREADABLE = """
(() => {
  const rgba = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
  ).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = node => {  // what is half transparent tints what it stands on
    if (!node) throw new Error("no background at all");
    const [r, g, b, share = 1] = rgba(getComputedStyle(node).backgroundColor);
    if (share === 1) return [r, g, b];
    const below = ground(node.parentElement);
    return [r, g, b].map((v, i) => v * share + below[i] * (1 - share));
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const found = [];
  const weigh = (node, what, limit, kinds) => {
    for (const kind of kinds) {
      const colour = rgba(getComputedStyle(node)[kind]);
      const value = ratio(colour, ground(node));
      if (value < limit) found.push([what, kind, value]);
    }
  };
  document.querySelectorAll("details").forEach(one => one.open = true);
  let counted = 0;
  for (const node of document.querySelectorAll("body *")) {
    if (node.closest("figure svg")) continue;
    const own = [...node.childNodes].filter(c => c.nodeType === 3);
    const text = own.map(c => c.data).join("").trim();
    if (!text || node.tagName === "title") continue;
    counted += 1;
    weigh(node, text, 4.5, [node.namespaceURI.endsWith("svg") ? "fill" : "color"]);
  }
  for (const mark of document.querySelectorAll("circle.seed")) weigh(mark, "dot", 3, ["fill"]);
  for (const name of ["crashed", "paper", "mean"]) {
    for (const mark of document.querySelectorAll("." + name)) weigh(mark, name, 3, ["stroke"]);
  }
  return JSON.stringify({counted, found});
})()
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip(NEEDED)
    with browser(program, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page with everything on it, where it is written and where it is published."""
    root = tmp_path_factory.mktemp("page")
    write_table(root / "conf", title="A table with a long title " * 8)
    plan = plan_of(root, profile="paper", seeds=SEEDS)  # on the paper's data: with its ticks
    for number, run_id in enumerate(plan.runs):
        finish(plan, run_id, 60.0 + 6 * number, crash="collapsed" if number == 1 else None)
    plan = plan_of(root, profile="paper", seeds=SEEDS)
    write_reports(plan)
    here, there = plan.results / "paper", plan.results / "published" / "paper"
    _draw(here, next(iter(plan.runs)))
    publish(plan.results, "paper")
    made = {}
    for name, folder, root in (("written", here, plan.results), ("published", there, there)):
        made[name] = folder / "report.html"
        made[name].write_text(page(plan, Links(folder, root, frozenset({"table8", "figure1"}))))
    made["large"] = _large(there)
    return made


def _large(folder: Path) -> Path:
    """Write a page about published tables, from the published records, with some claims."""
    published = published_root(ROOT / "results") / "mini"
    asked = load_settings(["profile=mini", "seeds=table", f"results={published}"])
    asked = replace(asked, tables=LARGE)
    composer = Composer(folder, conf_dir=asked.conf_dir)
    plan = plan_tables(asked, planner=planner_of(asked, compose=composer))
    (folder / "claims.csv").write_text(csv_text([_claim(n, list(plan.runs)) for n in range(12)]))
    path = folder / "large.html"
    path.write_text(page(plan, Links(folder, published, frozenset(LARGE))))
    return path


def _claim(number: int, runs: list[str]) -> Judged:
    said = Said(Verdict.SUPPORTED, Interval(3.0, 1.0, 5.0), POINTS, 16, 360, runs=tuple(runs))
    name = CellName("table2", 2, "top1")
    parts = [
        Part(f"{side} 1e-3 AdamW above conv 1e-3 SAM", Relation.HIGHER, (name,), said, said)
        for side in ("patchify", "linear conv")
    ]
    return Judged(f"T2.{number}", "A section", "It says much. " * 9, number == 1, tuple(parts))


def _draw(folder: Path, run_id: str) -> None:
    """Leave a figure 1 and a stability map, as other commands do."""
    from scaledrelu.reports.drawing import drawing, look, save_picture

    for name in ("figure1", "stability/vit"):
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        with drawing(9, 4, ncols=2) as (figure, axes):
            axes[0].plot([1, 2, 3], [0.5, 0.4, 0.6], label="a", **look(0).settings)
            axes[0].legend()
            save_picture(figure, place)
        place.with_suffix(".csv").write_text(f"run_ids\n{run_id}\n")
        place.with_suffix(".md").write_text(
            f"# Title\n\nAbout `{run_id}`.\n\n![it]({place.name}.png)\n\n## Map\n\n"
            "| a | b |\n| --- | --- |\n| 1 | " + "much text " * 40 + "|\n"
        )


def seen(chromium: Browser) -> str:
    return chromium.value("document.body.innerText")


@pytest.mark.parametrize("which", ["written", "published"])
def test_it_loads_nothing_and_the_console_is_silent(chromium, pages, which):
    chromium.open(pages[which], dark=False)
    assert chromium.requests() == [pages[which].resolve().as_uri()]
    assert chromium.complaints() == []
    assert chromium.value("document.compatMode") == "CSS1Compat"


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("which", ["written", "large"])
def test_the_page_never_scrolls_sideways_and_wide_things_do_in_their_own_box(
    chromium, pages, size, dark, which
):
    chromium.open(pages[which], width=size[0], height=size[1], dark=dark)
    chromium.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    width = chromium.value("document.documentElement.scrollWidth")
    assert width <= size[0]
    assert (chromium.value(f"{CUT_OFF}.length") > 0) == (size == PHONE)


def test_a_box_that_hides_a_part_of_its_content_has_a_shade_at_its_edge(chromium, pages):
    chromium.open(pages["large"], width=PHONE[0], height=PHONE[1], dark=False)
    # Nothing inside may be opaque, or the shade below would not be seen.
    opaque = (
        f"{CUT_OFF}.flatMap(b => [...b.querySelectorAll('table, tr, td, th, .scroll > *')])"
        ".map(one => getComputedStyle(one)).filter(s => s.mixBlendMode !== 'multiply')"
        ".map(s => s.backgroundColor).filter(c => c !== 'rgba(0, 0, 0, 0)')"
    )
    assert chromium.value(opaque) == []
    shades = f"{CUT_OFF}.map(b => getComputedStyle(b).backgroundImage.split('gradient').length)"
    assert set(chromium.value(shades)) == {5}  # two shades, two covers


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_verdicts_and_results_of_large_tables_are_seen_without_scrolling(chromium, pages, size):
    chromium.open(pages["large"], width=size[0], height=size[1], dark=False)
    cells = "[...document.querySelectorAll('.grid td, .grid tbody th, .claims td')]"
    places = f"JSON.stringify({cells}.map(one => one.getBoundingClientRect().toJSON()))"
    found = json.loads(chromium.value(places))
    assert len(found) > 500
    assert all(0 <= one["left"] <= one["right"] <= size[0] for one in found)


def test_on_a_phone_the_verdict_stands_before_the_claim_and_a_result_has_its_name(chromium, pages):
    chromium.open(pages["large"], width=PHONE[0], height=PHONE[1], dark=False)
    tops = "[...document.querySelectorAll('.claims tr')].filter(r => r.querySelector('.says'))"
    verdict, says = (
        f"r.querySelector('{at}').getBoundingClientRect()" for at in (".here", ".says")
    )
    assert chromium.value(f"{tops}.length") > 10
    assert chromium.value(f"{tops}.every(r => {verdict}.bottom <= {says}.top)")
    named = "[...document.querySelectorAll('.grid tr:first-child td[data-name]')]"
    assert {"paper", "ours"} <= set(chromium.value(f"{named}.map(one => one.dataset.name)"))
    content = f"{named}.map(one => getComputedStyle(one, '::before').content)"
    assert "none" not in chromium.value(content)


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_and_mark_stands_out_from_its_ground(chromium, pages, dark):
    chromium.open(pages["written"], dark=dark)
    got = json.loads(chromium.value(UNREADABLE))
    assert got["counted"] > 100
    assert got["found"] == []
    ground = chromium.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 3 * 128) == dark


def test_a_picture_has_a_light_card_in_the_dark_too(chromium, pages):
    chromium.open(pages["written"], dark=True)
    cards = "[...document.querySelectorAll('figure .scroll')]"
    grounds = chromium.value(f"{cards}.map(one => getComputedStyle(one).backgroundColor)")
    assert grounds == ["rgb(255, 255, 255)"] * 2


def test_without_scripts_everything_is_there(chromium, pages):
    chromium.open(pages["written"], dark=False)
    before = seen(chromium)
    assert chromium.value("document.scripts.length") == 0
    chromium.open(pages["written"], dark=False, scripts=False)
    assert seen(chromium) == before
    for text in ("60.0", "\u00d766.0", "1 of 3 crashed", "79.8", "make claims PROFILE=paper"):
        assert text in before


@pytest.mark.parametrize("which", ["written", "published"])
def test_every_link_that_the_browser_sees_leads_to_a_file(chromium, pages, which):
    chromium.open(pages[which], dark=False)
    links = chromium.value(
        "[...document.querySelectorAll('a[href]')]"
        ".map(a => new URL(a.getAttribute('href'), document.baseURI).href)"
    )
    files = [link.removeprefix("file://") for link in links if "#" not in link]
    assert len(links) > len(files) > 10
    assert [name for name in files if not Path(name).is_file()] == []
    assert read_page(pages[which].read_text()).dead_links(pages[which].parent) == []
