"""One damaged record costs its own cells: plan and other rows stand, and nothing is lost."""

import csv
import io
import json
import logging
import os
import re
import shutil

import pytest

from scaledrelu.launch.estimate import Estimator
from scaledrelu.launch.executor import Files, Job
from scaledrelu.launch.jobs import make_ready
from scaledrelu.launch.local import LocalExecutor
from scaledrelu.launch.overview import plan_text
from scaledrelu.launch.status import status_lines
from scaledrelu.launch.sweep import runs_to_train
from scaledrelu.reports.collect.rows import read_rows
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.tables import table_report
from scaledrelu.reports.publish import publish
from scaledrelu.reports.report import write_reports
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.record import Status, read_result
from scaledrelu.tables.composer import Composer
from tests.helpers.permissions import closed
from tests.helpers.table_fakes import finish, plan_of, write_table

CHAIN = {
    "label": "two stages",
    "run": ["recipe=probe"],
    "upstream": ["recipe=dino"],
    "rows": [
        {"run": ["stem=patchify", "lr.base=1"], "paper": {"top1": 1}},
        {"run": ["stem=conv", "lr.base=1"], "paper": {"top1": 2}},
    ],
}


def as_json(name, change):
    """Harm that changes one JSON file of a record."""

    def harm(folder):
        raw = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(change(raw)))

    return harm


def as_bytes(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def as_folder(name):
    def harm(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return harm


def as_link(name, target):
    def harm(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return harm


def as_pipe(name):
    def harm(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return harm


def field(**changes):
    return as_json("result.json", lambda raw: raw | changes)


HARM = {
    "binary result": (as_bytes("result.json", bytes(range(256))), "result.json: damaged"),
    "empty result": (as_bytes("result.json", b""), "result.json: damaged"),
    "torn result": (as_bytes("result.json", b'{"run_id": "de'), "result.json: damaged"),
    "NaN literal": (as_bytes("result.json", b'{"metrics": {"a": NaN}}'), "NaN is not JSON"),
    "deep result": (as_bytes("result.json", b"[" * 100_000), "result.json: damaged"),
    "list": (as_bytes("result.json", b"[]"), "a list, not a dict"),
    "null": (as_bytes("result.json", b"null"), "a NoneType, not a dict"),
    "metrics a list": (field(metrics=[1, 2]), "metrics is a list"),
    "metric a string": (field(metrics={"val/top1": "90"}), "val/top1 is a str, not a number"),
    "metric true": (field(metrics={"val/top1": True}), "val/top1 is a bool, not a number"),
    "metric a huge number": (field(metrics={"val/top1": 10**400}), "result.json: damaged"),
    "seconds null": (field(seconds=None), "seconds is a NoneType"),
    "seconds nan": (field(seconds="nan"), "seconds is nan"),
    "metric out of reach": (field(metrics={"val/top1": 500.0}), "val/top1 is 500, not in [0, 100]"),
    "device a list": (field(provenance={"device": ["x"]}), "device is a list, not a str"),
    "commit a number": (field(provenance={"commit": 5}), "commit is a int, not a str"),
    "sizes in words": (field(data={"val": "many"}), "val of data is 'many'"),
    "sizes below zero": (field(data={"val": -1}), "val of data is -1"),
    "provenance null": (field(provenance=None), "provenance is a NoneType"),
    "unknown outcome": (field(outcome="fine"), "'fine' is not a valid Outcome"),
    "crash without details": (field(outcome="crash"), "result.json: damaged"),
    "crash a string": (field(outcome="crash", crash="boom"), "crash is a str"),
    "another run's result": (field(run_id="deit-000000000000"), "the result of deit-0000000000"),
    "result a folder": (
        as_folder("result.json"),
        "result.json: is a folder, but must be a regular file",
    ),
    "result a dead link": (as_link("result.json", "unmounted"), "is a broken link"),
    "result links to itself": (as_link("result.json", "result.json"), "is a broken link"),
    "result a pipe": (as_pipe("result.json"), "result.json: "),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "binary config": (as_bytes("config.json", b"\xff\xfe\x00"), "config.json: damaged (not text)"),
    "empty config": (as_bytes("config.json", b""), "config.json: damaged"),
    "config a list": (as_bytes("config.json", b"[1]"), "config.json: damaged (it is a list"),
    "config a folder": (as_folder("config.json"), "config.json: is a folder"),
    "another config": (
        as_json("config.json", lambda raw: raw | {"lr": {"base": 99}}),
        "holds the result of another configuration",
    ),
    "error a folder": (as_folder("error.txt"), "error.txt: is a folder"),
    "checkpoint a folder": (as_folder("last.pt"), "last.pt: is a folder"),
    "lock a link": (
        as_link("run.lock", "/etc/hosts"),
        "run.lock: is a link, but a run writes to it",
    ),
    "log a link": (
        as_link("rank0.log", "/etc/hosts"),
        "rank0.log: is a link, but a run writes to it",
    ),
}


@pytest.fixture
def conf(tmp_path):
    write_table(tmp_path / "conf")
    return tmp_path


@pytest.fixture
def finished(conf):
    """A plan of two rows that have both finished; the first record is what a test harms."""
    plan = plan_of(conf)
    for name, value in zip(plan.runs, (80.0, 70.0), strict=True):
        finish(plan, name, value, seconds=30.0)
    return plan


def folder_of(plan, name):
    return plan.results / "runs" / name


def in_short(plan):
    """Return what the page says of the only table in short."""
    return table_report(plan, plan.tables[0]).in_short


@pytest.mark.parametrize("case", HARM)
def test_a_damaged_record_costs_its_own_cells_only(finished, conf, case):
    harm, said = HARM[case]
    hurt, whole = finished.runs
    harm(folder_of(finished, hurt))
    before = sorted(os.walk(folder_of(finished, hurt)))
    plan = plan_of(conf)
    assert (plan.runs[hurt].status, plan.runs[whole].status) == (Status.DAMAGED, Status.OK)
    assert said in plan.runs[hurt].reason
    assert "\n" not in plan.runs[hurt].reason
    assert not re.search("[Dd]elete", plan.runs[hurt].reason)
    assert str(conf) not in plan.runs[hurt].reason, "a report does not tell where results lie"
    todo = runs_to_train(plan, "failed")
    text = plan_text(plan, todo, n_jobs=1, estimate=Estimator(plan.results, plan.runs))
    assert f"-> {hurt}  damaged: " in text
    assert "1 ok, 1 damaged" in text
    assert todo == [], "only redo touches a record that may be good"
    table, markdown = write_reports(plan)
    lines = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [line["status"] for line in lines] == ["failed", "ok"]
    assert [line["n_failed"] for line in lines] == ["1", "0"]
    (row,) = [line for line in markdown.read_text().splitlines() if line.startswith("| 1 |")]
    assert "| 1 damaged |" in row
    assert "1 of 2 runs finished, 0 crashed, 1 damaged" in in_short(plan)
    assert lines[1]["mean_all"] == "70.0000"
    assert said in markdown.read_text()
    assert "tries again" not in markdown.read_text()
    assert sorted(os.walk(folder_of(finished, hurt))) == before


@pytest.mark.parametrize("shut", ["", "result.json", "config.json"])
def test_a_record_that_may_not_be_read_costs_its_own_cells_only(finished, conf, shut):
    hurt, whole = finished.runs
    with closed(folder_of(finished, hurt) / shut):
        plan = plan_of(conf)
        (row,) = [row for row in read_rows(plan.results) if row["run_id"] == hurt]
        reports = [path.read_text() for path in write_reports(plan)]
        (line,) = [line for line in status_lines(plan) if hurt in line]
        address = Links(plan.results / "mini", plan.results, frozenset()).target(hurt)
    said = "cannot be read (Permission denied); give read permission"
    said = f"{shut}: {said}" if shut else said
    assert (plan.runs[hurt].status, plan.runs[whole].status) == (Status.DAMAGED, Status.OK)
    assert plan.runs[hurt].reason == said
    assert line.endswith(f"damaged: {said}")
    assert row["outcome"] == "damaged"
    assert row["reason"].endswith(said)
    assert all(said in text for text in reports)
    assert runs_to_train(plan, "failed") == []
    assert (address is None) == (shut == "")


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
@pytest.mark.parametrize("shut", ["runs", "."])
def test_runs_that_may_not_be_read_are_not_taken_for_missing(finished, conf, shut, mode):
    place = finished.results / shut
    if shut == "." and mode == 0o100:  # what lies in it can be read, though not listed
        return
    said = re.escape(f"{place}: cannot be read (Permission denied); give read permission")
    for read in (lambda: plan_of(conf), lambda: read_rows(finished.results)):
        with closed(place, mode), pytest.raises(RecordError, match=f"^{said}$"):
            read()


@pytest.mark.parametrize("case", ["binary result", "no config", "another config"])
def test_redo_puts_a_damaged_record_aside_whole(finished, conf, case):
    hurt = next(iter(finished.runs))
    folder = folder_of(finished, hurt)
    HARM[case][0](folder)
    (folder / "last.pt").write_text("weights")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    (plan_of(conf).results / "runs" / ".redone" / f"{hurt}-r2").mkdir(parents=True)  # r1 is gone
    plan = plan_of(conf)
    (run,) = runs_to_train(plan, hurt)
    place = Files(plan.results)
    replaces = place.mark(hurt)
    for _ in range(2):  # the second time it is no longer there
        make_ready(run, place, run.config, replaces=replaces)
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
    aside = folder.parent / ".redone" / f"{hurt}-r3"
    kept = {path.name: path.read_bytes() for path in aside.iterdir()}
    assert kept.pop("run.lock") == kept.pop("ranks.lock") == b""
    assert kept == files
    assert f"redo={hurt}" in run.reason or "move it away" in run.reason


def test_nothing_starts_from_a_damaged_record_and_the_others_go_on(tmp_path):
    write_table(tmp_path / "conf", blocks=[CHAIN])
    plan = plan_of(tmp_path)
    parents = [run.run_id for run in plan.runs.values() if run.upstream is None]
    for name in parents:
        finish(plan, name)
    as_bytes("result.json", b"\xff")(folder_of(plan, parents[0]))
    plan = plan_of(tmp_path)
    executor = LocalExecutor(Files(plan.results), [{}], preload=(), admit=lambda *_: False)
    hurt, whole = runs_to_train(plan, "failed")
    for run in (hurt, whole):
        after = (run.upstream,)
        executor.submit([Job(run.run_id, work=len, prepare=lambda: None, after=after)])
    left = {event.name: event.reason for event in executor.poll(0)}
    left |= {event.name: event.reason for event in executor.poll(0)}
    assert left == {
        hurt.run_id: f"it needs {parents[0]}, which is damaged",
        whole.run_id: "",
    }


def test_a_record_of_odd_values_costs_an_estimate_not_the_plan(finished):
    whole = list(finished.runs)[1]
    for odd in ([], {}, {"task": {"_target_": ["a"]}}, {"model": 3}):
        (folder_of(finished, whole) / "config.json").write_text(json.dumps(odd))
        Estimator(finished.results, {})


def test_a_damaged_record_is_not_published_and_the_others_are(finished, conf, caplog):
    hurt, whole = finished.runs
    as_bytes("result.json", b"[]")(folder_of(finished, hurt))
    write_reports(plan_of(conf))
    publish(finished.results, "mini")
    published = finished.results / "published" / "mini" / "runs"
    assert [path.name for path in published.iterdir()] == [whole]
    assert "not published" in caplog.text
    assert read_result(published / whole).metrics["val/top1"] == 70.0


def test_an_unreadable_report_is_written_again(finished, conf):
    (table, text) = write_reports(plan_of(conf))
    good = table.read_bytes(), text.read_bytes()
    for path in (table, text):
        path.write_bytes(b"\xff\x00")
    write_reports(plan_of(conf))
    assert (table.read_bytes(), text.read_bytes()) == good


def test_a_damaged_cache_of_configs_is_composed_again(tmp_path):
    composer = Composer(tmp_path)
    good = composer(["profile=mini"])
    composer.save()
    data = composer._path.read_bytes()
    assert Composer(tmp_path)._stored
    for damaged in (
        b"",
        b"[]",
        b"null",
        bytes(range(256)),
        data[:-5],
        data.replace(b'"depth": 6', b'"depth": 7'),
    ):
        assert damaged != data
        composer._path.write_bytes(damaged)
        assert Composer(tmp_path)._stored == {}
    again = Composer(tmp_path)
    assert again(["profile=mini"]) == good
    again.save()
    assert composer._path.read_bytes() == data


def test_a_cache_that_cannot_be_written_costs_time_and_no_word(tmp_path, caplog):
    composer = Composer(tmp_path)
    composer(["profile=mini"])
    shutil.rmtree(tmp_path / ".cache", ignore_errors=True)
    (tmp_path / ".cache").write_text("a file")
    with caplog.at_level(logging.INFO):
        composer.save()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "composed configs not cached" in caplog.text
