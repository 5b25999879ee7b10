"""What other commands leave beside the page: claims, figures, curves, stability maps."""

from __future__ import annotations

import pytest

from scaledrelu.errors import TableError
from scaledrelu.reports.claims.decision import Count, Interval, Verdict
from scaledrelu.reports.claims.findings import CellName, Judged, Part, Said
from scaledrelu.reports.claims.records import csv_text
from scaledrelu.reports.claims.spec import Relation
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.pictures import LARGEST_SVG
from scaledrelu.reports.page.write import page
from tests.helpers.pages import read_page
from tests.helpers.table_fakes import finish, plan_of, write_table

# As matplotlib writes one: ids, a style for everything, clip paths, links to its own parts.
SVG = """<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="90pt" height="40pt" viewBox="0 0 90 40"
 xmlns="http://www.w3.org/2000/svg" version="1.1">
 <metadata><rdf xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#">x</rdf></metadata>
 <defs><style type="text/css">*{stroke-linejoin: round; stroke-linecap: butt}</style></defs>
 <g id="figure_1"><defs><path id="m1" d="M 0 0"/></defs>
  <g clip-path="url(#p1)"><use xlink:href="#m1" x="1" y="2"/></g>
  <text id="text_1">stem &amp; block 1</text>
 </g>
 <defs><clipPath id="p1"><rect x="0" y="0" width="9" height="9"/></clipPath></defs>
</svg>
"""
PNG = b"\x89PNG of a test"


@pytest.fixture
def plan(tmp_path):
    write_table(tmp_path / "conf")
    first = plan_of(tmp_path, seeds=(0, 1))
    for run_id in first.runs:
        finish(first, run_id, 70.0)
    return plan_of(tmp_path, seeds=(0, 1))


def folder_of(plan):
    folder = plan.results / plan.profile
    for name in ("curves", "stability"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return folder


def page_of(plan):
    links = Links(folder_of(plan), plan.results, frozenset({"table8", "figure1"}))
    return read_page(page(plan, links))


def section_of(plan, name):
    (found,) = page_of(plan).all("section", id=name)
    return found.text


def judged(name, verdict, runs=()):
    said = Said(verdict, Interval(-3.0, -5.0, -1.0), "points", 3, 360, counts=(Count(0, 3),))
    ours = Said(verdict, said.interval, said.unit, 3, 360, runs=tuple(runs))
    part = Part("conv - patchify", Relation.HIGHER, (CellName("table8", 2, "top1"),), ours, said)
    return Judged(name, "Abstract", f"Claim {name} <b> is so.", name == "A1", (part,))


@pytest.mark.parametrize(
    ("verdict", "sign"),
    [
        (Verdict.SUPPORTED, "\u2713"),
        (Verdict.CONTRADICTED, "\u2717"),
        (Verdict.UNDECIDED, "?"),
        (Verdict.NOT_RUN, "\u2013"),
    ],
)
def test_a_claim_has_its_verdict_as_a_word_with_a_sign(plan, verdict, sign):
    (folder_of(plan) / "claims.csv").write_text(csv_text([judged("A1", verdict)]))
    (cell,) = page_of(plan).all("span", class_="verdict")
    assert cell.text == f"{sign} {verdict}"


def test_a_claim_links_to_its_rows_and_to_the_record_of_every_run_behind_it(plan):
    runs = list(plan.runs)
    text = csv_text([judged("A1", Verdict.SUPPORTED, runs), judged("T1", Verdict.UNDECIDED)])
    (folder_of(plan) / "claims.csv").write_text(text)
    found = page_of(plan)
    links = [e for e in found.all("a") if "tbody" in e.parents]
    assert [e.attributes["href"] for e in links if e.text == "Table 8"] == ["#table8"] * 2
    records = [e.attributes["href"] for e in links if "details" in e.parents]
    assert records[: len(runs)] == [f"../runs/{name}/result.json" for name in runs]
    (head,) = found.all("th", id="claim-A1")
    assert head.attributes["scope"] == "row"
    assert "Claim A1 <b> is so." in section_of(plan, "claims")
    assert found.dead_links(folder_of(plan)) == []


def test_claims_of_another_version_are_refused_by_name(plan):
    (folder_of(plan) / "claims.csv").write_text("claim,says\nA1,so\n")
    with pytest.raises(TableError, match=r"claims\.csv: not a list of claims of this version"):
        page_of(plan)


def test_a_picture_becomes_part_of_the_page_without_touching_the_rest(plan):
    folder = folder_of(plan)
    for place in ("figure1", "stability/vit"):
        (folder / f"{place}.svg").write_text(SVG)
        name = place.rpartition("/")[2]
        (folder / f"{place}.md").write_text(f"# Title\n\nWords.\n\n![so it looks]({name}.png)\n")
    found = page_of(plan)
    assert len(found.all("svg", role="img")) == 2
    assert [e.attributes["aria-label"] for e in found.all("svg", role="img")] == ["so it looks"] * 2
    assert len(found.all("style")) == 1  # the page's own
    assert not found.all("metadata")
    ids = {e.attributes["id"] for e in found.elements if "id" in e.attributes}
    assert {"figure1-m1", "figure1-p1", "stability-vit-m1", "stability-vit-p1"} <= ids
    assert not {name for name in ids if "text_1" in name or "figure_1" in name}  # nobody's target
    used = [e.attributes["href"] for e in found.all("use")]
    assert used == ["#figure1-m1", "#stability-vit-m1"]
    clipped = [e.attributes["clip-path"] for e in found.all("g") if "clip-path" in e.attributes]
    assert clipped == ["url(#figure1-p1)", "url(#stability-vit-p1)"]
    assert "stem & block 1" in section_of(plan, "figure1")


def test_of_a_picture_that_is_too_large_the_png_is_shown(plan):
    folder = folder_of(plan)
    (folder / "curves" / "table8.svg").write_text(SVG + " " * LARGEST_SVG)
    (folder / "curves" / "table8.png").write_bytes(PNG)
    (image,) = page_of(plan).all("img")
    assert image.attributes["src"] == "data:image/png;base64,iVBORyBvZiBhIHRlc3Q="
    assert "Table 8" in image.attributes["alt"]


def test_a_picture_that_is_none_is_named(plan):
    (folder_of(plan) / "curves" / "table8.svg").write_text("<svg")
    with pytest.raises(TableError, match=r"table8\.svg: not an SVG"):
        page_of(plan)


def curves(plan, statuses):
    lines = (f"{status},{run_id}\n" for status, run_id in zip(statuses, plan.runs, strict=False))
    (folder_of(plan) / "curves" / "table8.svg").write_text(SVG)
    (folder_of(plan) / "curves" / "table8.csv").write_text("status,run_id\n" + "".join(lines))


@pytest.mark.parametrize(
    ("statuses", "is_old"),
    [(["ok"] * 4, False), (["ok", "crash", "ok", "ok"], False), (["ok"] * 3 + ["missing"], True)],
)
def test_curves_that_do_not_show_the_finished_runs_say_so(plan, statuses, is_old):
    curves(plan, statuses)
    assert ("Older than the results: 1 more run finished" in section_of(plan, "curves")) == is_old


def test_curves_of_a_run_that_is_gone_say_so(plan, tmp_path):
    curves(plan, ["ok"] * 4)
    (plan.results / "runs" / list(plan.runs)[3] / "result.json").unlink()
    text = section_of(plan_of(tmp_path, seeds=(0, 1)), "curves")
    assert "Shows other runs than this page (it lacks 0, and 1 of its own are not here)" in text


def test_curves_of_other_seeds_are_not_older_and_the_command_has_the_pages(plan, tmp_path):
    only = plan_of(tmp_path, seeds=(0,))
    curves(only, ["ok"] * 2)
    text = section_of(plan, "curves")
    assert "Older" not in text
    assert "Shows other runs than this page (it lacks 2, and 0 of its own are not here)" in text
    assert "make curves PROFILE=mini SEEDS=0,1" in text
    assert "Shows other" not in section_of(only, "curves")


def test_every_command_of_the_page_has_its_seeds(plan):
    text = page_of(plan).all("main")[0].text
    for name in ("figure1", "curves", "stability"):
        assert f"make {name} PROFILE=mini SEEDS=0,1" in text


def stability(plan, name, runs):
    """Leave a map that shows some runs."""
    folder = folder_of(plan) / "stability"
    (folder / f"{name}.md").write_text("# Stability\n\nWords.\n\n## Map\n\nA map.\n")
    lines = "".join(f"{run},ok\n" for run in runs)
    (folder / f"{name}_runs.csv").write_text(f"run_id,outcome\n{lines}")
    return section_of(plan, "stability")


def test_a_stability_map_of_a_run_that_is_gone_says_so(plan):
    assert "Shows" not in stability(plan, "vit", plan.runs)
    assert "Shows runs whose records are gone" in stability(plan, "vit", ["deit-000000000000"])


def test_a_stability_map_that_lacks_a_run_says_so(plan):
    assert "Older" not in stability(plan, "table8", plan.runs)
    text = stability(plan, "table8", list(plan.runs)[1:])
    assert "Older than the results: 1 more run finished since" in text
    command = "python scripts/stability.py tables=[table8] profile=mini seeds=0,1"
    assert command in text
    assert "Shows other runs" in stability(plan, "table8", [*plan.runs, "deit-000000000000"])
