from __future__ import annotations

import re
import shutil

import pytest

from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.write import page
from scaledrelu.reports.publish import publish
from scaledrelu.reports.report import write_reports
from scaledrelu.runs.record import run_directory, write_error
from tests.helpers.pages import read_page
from tests.helpers.table_fakes import finish, plan_of, write_table

SEEDS = (0, 1, 2)


@pytest.fixture
def conf(tmp_path):
    write_table(tmp_path / "conf")
    return tmp_path


def page_of(tmp_path, *names, **options):
    """Write tables and return the page beside them."""
    plan = plan_of(tmp_path, *names, **options)
    write_reports(plan)
    return page(plan, links_of(plan))


def links_of(plan, *, published=False):
    places = frozenset(table.name for table in plan.tables)
    if published:
        folder = plan.results / "published" / plan.profile
        return Links(folder, folder, places)
    return Links(plan.results / plan.profile, plan.results, places)


def finished(tmp_path, **options):
    """Finish every run of a table with a value of its own; the second of row 2 crashes."""
    plan = plan_of(tmp_path, seeds=SEEDS, **options)
    for number, run_id in enumerate(run_id for cell in plan.cells for run_id in cell.run_ids):
        crash = "collapsed" if number == 4 else None
        finish(plan, run_id, 61.0 + 5 * number, crash=crash, device="CPU of a test", torch="2.0")
    return plan_of(tmp_path, seeds=SEEDS, **options)  # as it stands now


def seeds_in(page):
    """The numbers of single seeds, and their links."""
    links = [e for e in page.all("a") if (e.attributes.get("aria-label") or "").startswith("seed ")]
    return {(link.attributes["aria-label"], link.attributes["href"]) for link in links}


def marks_in(page):
    """How many dots and crosses the rows have, and what their titles say."""
    drawn = page.all("circle", class_="seed") + page.all("path", class_="crashed")
    titles = [e.text for e in page.all("title") if "svg" in e.parents]
    return sum("table" in e.parents for e in drawn), sorted(titles)


def test_the_page_is_sound_html_whose_links_all_lead_somewhere(conf):
    plan = finished(conf)
    found = read_page(page_of(conf, seeds=SEEDS))
    assert found.dead_links(plan.results / "mini") == []
    records = {e.attributes["href"] for e in found.all("a")}
    assert {f"../runs/{run_id}/result.json" for run_id in plan.runs} <= records


def test_the_page_needs_nothing_but_itself(conf):
    finished(conf)
    text = page_of(conf, seeds=SEEDS)
    found = read_page(text)
    assert not re.findall(r"https?:|//[a-z]|@import|url\(", text)
    loading = ("script", "link", "iframe", "object", "embed", "source", "video", "base")
    assert not [e for e in found.elements if e.name in loading]
    assert all(e.attributes["src"].startswith("data:") for e in found.all("img"))
    policy = found.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy[0].attributes["content"].startswith("default-src 'none'")


def test_written_anew_no_byte_changes_and_nothing_of_this_machine_is_inside(conf):
    plan = finished(conf)
    text = page_of(conf, seeds=SEEDS)
    assert page_of(conf, seeds=SEEDS) == text
    assert str(conf) not in text
    assert str(plan.results) not in text


def test_a_seed_is_a_dot_and_a_number_and_a_crash_is_a_cross_and_a_word(conf):
    plan = finished(conf)
    found = read_page(page_of(conf, seeds=SEEDS))
    assert len(seeds_in(found)) == 6
    held = [f"seed {seed}: {value}.0" for seed, value in ((0, 61), (0, 76), (1, 66))]
    after = ["seed 1: crash 81.0", "seed 2: 71.0", "seed 2: 86.0"]
    assert marks_in(found) == (6, held + after)
    crashed = plan.cells[1].run_ids[1]
    assert ("seed 1: crash 81.0", f"../runs/{crashed}/result.json") in seeds_in(found)
    assert [e.text for e in found.all("p", class_="crash")] == ["\u00d7 1 of 3 crashed"]
    assert [e.text for e in found.all("td", class_="crash")] == ["\u00d7 crash"]  # the paper's


@pytest.mark.parametrize("place", range(6))
def test_deleting_a_result_removes_its_dot_and_number_and_no_other(conf, place):
    plan = finished(conf)
    before = read_page(page_of(conf, seeds=SEEDS))
    row, seed = divmod(place, 3)
    gone = plan.cells[row].run_ids[seed]
    shutil.rmtree(run_directory(plan.results, gone))
    after = read_page(page_of(conf, seeds=SEEDS))
    lost = seeds_in(before) - seeds_in(after)
    assert [link for _, link in lost] == [f"../runs/{gone}/result.json"]
    assert seeds_in(after) < seeds_in(before)
    (many, titles), (fewer, left) = marks_in(before), marks_in(after)
    assert (many - fewer, len(titles) - len(left)) == (1, 1)
    assert set(titles) - set(left) == {label for label, _ in lost}
    assert f"seed {seed}: missing" in [e.text for e in after.all("span")]


def test_failed_and_missing_runs_have_no_mark_and_say_what_they_are(conf):
    plan = plan_of(conf, seeds=SEEDS)
    names = plan.cells[0].run_ids
    finish(plan, names[0], 70.0)
    write_error(run_directory(plan.results, names[1]), "disk full")
    found = read_page(page_of(conf, seeds=SEEDS))
    assert marks_in(found) == (1, ["seed 0: 70.0"])
    said = [e.text for e in found.all("li") if "td" in e.parents]
    assert said[:3] == ["70.0", "seed 1: failed", "seed 2: missing"]
    (section,) = found.all("section", id="table8")
    assert "disk full" in section.text
    assert "make table8 PROFILE=mini SEEDS=0,1,2" in section.text


def test_the_papers_value_is_a_tick_only_on_the_papers_data(conf):
    for profile, ticks in (("mini", 0), ("paper", 1)):
        plan = plan_of(conf, profile=profile)
        for run_id in plan.runs:
            finish(plan, run_id, 70.0)
        found = read_page(page_of(conf, profile=profile))
        drawn = [e for e in found.all("line", class_="paper") if "table" in e.parents]
        assert len(drawn) == ticks  # the second row is a crash in the paper


def test_what_a_table_says_cannot_break_the_page(conf):
    write_table(conf / "conf", title='A <script>alert("1")</script> & <b>more', source="X</title>")
    finished(conf)
    found = read_page(page_of(conf, seeds=SEEDS))
    assert not found.all("script")
    assert (
        'A <script>alert("1")</script> & <b>more. X</title>.'
        in found.all("p", class_="about")[0].text
    )


def test_the_head_says_what_was_trained_where_and_warns(conf):
    finished(conf)
    (head,) = read_page(page_of(conf, seeds=SEEDS)).all("header")
    assert "compare the pattern" in head.text
    assert "6 of 6 runs finished, 1 crashed" in head.text
    assert "3 per row (0, 1, 2)" in head.text
    assert "CPU of a test" in head.text


def test_the_contents_name_every_section_once(conf):
    finished(conf)
    found = read_page(page_of(conf, seeds=SEEDS))
    links = [e.attributes["href"][1:] for e in found.all("a") if "nav" in e.parents]
    sections = [e.attributes["id"] for e in found.all("section")]
    assert links == sections
    assert sections == ["claims", "table8", "figure1", "curves", "stability", "recipe", "guide"]


def test_the_papers_tables_come_before_others(conf):
    rows = [{"run": [f"stem={stem}"]} for stem in ("conv", "patchify")]
    write_table(conf / "conf", "ablation", blocks=[{"label": "own", "rows": rows}])
    names = ("ablation", "table8")
    for run_id in plan_of(conf, *names).runs:
        finish(plan_of(conf, *names), run_id, 70.0)
    found = read_page(page_of(conf, *names))
    sections = [e.attributes["id"] for e in found.all("section")]
    assert sections[:3] == ["claims", "table8", "ablation"]
    captions = [e.text for e in found.all("caption")]
    assert [caption.partition(":")[0] for caption in captions] == ["Table 8", "Ablation"]


def test_a_note_on_the_whole_table_stands_open_below_its_numbers(conf):
    write_table(conf / "conf", note="These rows crash by the rule alone.")
    finished(conf)
    found = read_page(page_of(conf, seeds=SEEDS))
    (note,) = [e for e in found.all("p") if e.text == "These rows crash by the rule alone."]
    assert "details" not in note.parents
    (section,) = found.all("section", id="table8")
    assert section.text.index("crashed") < section.text.index(note.text)


def test_what_is_not_made_yet_is_one_line_with_its_command(conf):
    found = read_page(page_of(conf))
    for name in ("claims", "figure1", "curves", "stability"):
        (section,) = found.all("section", id=name)
        assert f"make {name} PROFILE=mini" in section.text
    assert not found.all("figure")
    (table,) = found.all("section", id="table8")
    assert "make table8 PROFILE=mini" in table.text
    assert not [e for e in found.all("table") if "main" in e.parents and "details" not in e.parents]


def test_how_to_read_it_has_the_crash_rule(conf):
    finished(conf)
    (guide,) = read_page(page_of(conf, seeds=SEEDS)).all("section", id="guide")
    assert "A deit run counts as a crash as soon as a loss or, without a loss " in guide.text


def test_the_published_page_links_to_the_published_records(conf):
    plan = finished(conf)
    here = page_of(conf, seeds=SEEDS)
    publish(plan.results, "mini")
    links = links_of(plan, published=True)
    there = page(plan, links)
    assert there == here.replace('href="../runs/', 'href="runs/')
    shutil.rmtree(plan.results / "runs")
    found = read_page(there)
    assert found.dead_links(links.folder) == []
    assert len(seeds_in(found)) == 6


def test_a_run_without_a_record_beside_the_page_has_no_link(conf):
    plan = finished(conf)
    page_of(conf, seeds=SEEDS)
    publish(plan.results, "mini")
    links = links_of(plan, published=True)
    gone = plan.cells[0].run_ids[0]
    shutil.rmtree(links.folder / "runs" / gone)
    found = read_page(page(plan, links))
    assert found.dead_links(links.folder) == []
    assert gone in found.all("main")[0].text
