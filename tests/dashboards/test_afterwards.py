"""Finished runs and tables reach W&B afterwards, once each, with what the tables say of them."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scaledrelu.config.identity import canonical, run_id
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig
from scaledrelu.dashboards import afterwards
from scaledrelu.dashboards.afterwards import (
    Copy,
    Printers,
    copies_of_folder,
    copies_of_tables,
    send_all,
    typed_rows,
)
from scaledrelu.engine.mirror_files import MARK, SENT, Rows, read_mark, record_of, summary_of
from scaledrelu.engine.wandb_afterwards import is_known
from scaledrelu.errors import ConfigError, RunError, TableError
from scaledrelu.runs.mirrored import Sender, told_of
from scaledrelu.runs.planned import PlanWriter
from scaledrelu.runs.record import run_directory, write_result
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.tables.composer import Composer
from scripts import mirror
from tests.helpers.configs import composed
from tests.helpers.fake_wandb import KEY, FakeWandb
from tests.helpers.permissions import closed
from tests.helpers.table_fakes import plan_of, write_table

ROW = ("recipe=deit", "model=vit_small", "stem=conv", "lr.base=1e-3", "optimizer=adamw")


class NoTables:
    """Tables that print none of the runs."""

    def of(self, *_: object) -> None:
        return None


def finished(results: Path, config: RunConfig, *, crash: bool = False) -> Path:
    """Leave what a run leaves: its configuration, rows, times and result."""
    folder = run_directory(results, run_id(config))
    folder.mkdir(parents=True)
    PlanWriter().write(config, folder)
    seen = {"val/top1": 90.0, "similarity/signed_00": 0.25, "similarity/signed_01": 0.75}
    rows = [{"step": 10, "epoch": 0, "train/loss": 2.0}, {"step": 10, "epoch": 0, **seen}]
    rows.append({"step": 20, "epoch": 1, "train/loss": "nan"})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = Result(
        run_id=run_id(config),
        outcome=Outcome.CRASH if crash else Outcome.OK,
        metrics={"val/top1": 90.0, "val/top1_best": 91.0},
        crash={"kind": "non_finite", "step": 20, "epoch": 1} if crash else None,
    )
    write_result(folder, result, canonical(config))
    return folder


def test_runs_and_a_table_are_sent_once_and_nothing_changes_the_second_time(
    server: FakeWandb, tmp_path: Path
) -> None:
    config = composed(*ROW)
    folders = [finished(tmp_path, replace(config, seed=seed), crash=seed == 1) for seed in (0, 1)]
    table = a_table(tmp_path)
    said: list[str] = []
    copies = [*copies_of_folder(tmp_path, NoTables(), say=print), table]
    with Sender("online", log=tmp_path / "mirror.log") as sender:
        first = send_all(copies, sender, said.append)
        kept = kept_by(server)
        second = send_all(copies, sender, said.append)
    assert (first.sent, first.known, first.failed) == (3, 0, 0), said
    assert (second.sent, second.known, second.failed) == (0, 3, 0), said
    assert kept_by(server) == kept
    runs_share_their_group(server, config)
    table_and_files_arrived(server)
    assert read_mark(folders[0] / "wandb" / SENT)["last_step"] == 20
    places = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in places if KEY.encode() in path.read_bytes()] == []
    assert said[2].startswith("[3/3] table8-mini table8 mini: sent 2 rows  ")
    assert " ETA 0s" in said[2]


def a_table(base: Path) -> Copy:
    """A table with its curves, as reports write them: both have a CSV of the table's name."""
    write_table(base / "conf")
    results = base / "results"
    (results / "mini" / "curves").mkdir(parents=True)
    (results / "mini" / "table8.csv").write_text("row,top1,note\n1,90.5,\n2,,crash\n")
    (results / "mini" / "table8.md").write_text("# Table 8\n")
    picture = Path(__file__).parents[2] / "results/published/mini/pictures/people.png"
    (results / "mini" / "curves" / "table8.png").write_bytes(picture.read_bytes())
    (results / "mini" / "curves" / "table8.csv").write_text("run_id,epoch\ndeit-0,1\n")
    (copy,) = copies_of_tables(plan_of(base))
    return copy


def kept_by(server: FakeWandb) -> dict[str, Any]:
    runs = {name: (run.rows, run.summary, run.exits, run.told) for name, run in server.runs.items()}
    return json.loads(json.dumps([runs, len(server.artifacts), sorted(server.files)]))


def runs_share_their_group(server: FakeWandb, config: RunConfig) -> None:
    one, other = (server.runs[run_id(replace(config, seed=seed))] for seed in (0, 1))
    assert [run.told["displayName"] for run in (one, other)] == [
        "conv lr 1e-3 adamw wm5 s0", "conv lr 1e-3 adamw wm5 s1"
    ]  # fmt: skip
    assert one.told["groupName"] == other.told["groupName"]
    assert one.config["stem"].items() >= {"label": "ViT_c", "name": "conv"}.items()
    assert one.config["lr"]["base"] == 1e-3
    assert one.config["seed"] == 0
    assert (one.summary["outcome"], one.summary["crashed"]) == ("ok", 0.0)
    assert (other.summary["crash/kind"], other.summary["crash/step"]) == ("non_finite", 20)
    assert [row["global_step"] for row in other.rows] == [10, 20]
    assert other.rows[0]["similarity/signed_mean"] == 0.5


def table_and_files_arrived(server: FakeWandb) -> None:
    run = server.runs["table8-mini"]
    assert run.told["jobType"] == "table"
    assert run.summary["table8"]["nrows"] == 2
    assert run.summary["table8_curves"]["_type"] == "image-file"
    sent = json.loads(server.files["/upload/table8.table.json"])
    assert sent["columns"] == ["row", "top1", "note"]
    assert sent["data"] == [[1, 90.5, ""], [2, None, "crash"]]
    assert server.files["/upload/table8.csv"] == b"row,top1,note\n1,90.5,\n2,,crash\n"
    assert server.files["/upload/curves/table8.csv"] == b"run_id,epoch\ndeit-0,1\n"
    names = {name for name in server.files if name.endswith((".csv", ".md", ".png"))}
    assert names >= {"/upload/table8.md", "/upload/curves/table8.png"}
    made = {one["artifactCollectionName"] for one in server.artifacts}
    assert "table8-mini" in made


def test_an_offline_copy_waits_once_and_gives_way_to_a_newer_one(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    folder = finished(tmp_path, composed(*ROW))
    (copy,) = copies_of_folder(tmp_path, NoTables(), say=print)
    with Sender("offline", log=tmp_path / "mirror.log") as sender:
        assert sender.send(copy.told, folder)["sent"] == 2
        assert sender.send(copy.told, folder) == {"known": True}
        (waiting,) = folder.glob("wandb/offline-run-*")
        time.sleep(1.1)  # W&B names copies by the second
        renamed = {**copy.told, "name": "another"}
        assert sender.send(renamed, folder)["sent"] == 2
        (newer,) = folder.glob("wandb/offline-run-*")
    assert newer != waiting
    # What the server had already, by an online copy, is not copied again.
    (folder / "wandb" / SENT).write_text((newer / MARK).read_text())
    shutil.rmtree(newer)
    assert is_known({**renamed, "mode": "offline"}, folder, record_of(renamed, folder))


def test_what_tables_say_is_composed_once_for_all_commands(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(afterwards, "table_names", lambda _: ["table1"])
    config = composed(*ROW)
    first = Printers(CONF_DIR, tmp_path).of(config, None)
    monkeypatch.setattr(Composer, "_compose", lambda *_: pytest.fail("composed anew"))
    assert first == Printers(CONF_DIR, tmp_path).of(config, None)
    assert first.tables == ("table1",)


def test_what_tables_say_is_found_for_any_seed(tmp_path: Path, monkeypatch) -> None:
    """Table 1, ViT_c row 2: its tags and the paper's value; a rate of one's own has neither."""
    asked = {"table1/top1": 81.9, "table2/top1": 81.9}
    key = afterwards.row_key(composed(*ROW))
    known = {key: afterwards.Printed(("table1", "table2"), asked)}
    monkeypatch.setattr(Printers, "_of_profile", lambda self, _: known)
    finished(tmp_path, replace(composed(*ROW), seed=7))
    (copy,) = copies_of_folder(tmp_path, Printers(tmp_path, tmp_path), say=print)
    assert copy.told["tags"] == ["table1", "table2", "mini"]
    assert copy.told["paper"] == asked
    summary = summary_of(copy.folder, copy.told["paper"])
    assert summary.items() >= {"paper/table1/top1": 81.9, "paper/outcome": "ok"}.items()


def test_a_plan_says_what_its_tables_print(tmp_path: Path) -> None:
    write_table(tmp_path / "conf")
    plan = plan_of(tmp_path)
    printed = afterwards.printed_of(plan)
    patchify, conv = plan.runs
    assert printed[patchify].tables == ("table8",)
    assert printed[patchify].paper == {"table8/top1": 79.8}
    config = afterwards.with_printed(plan.runs[conv].config, printed[conv])
    assert config.wandb.paper == ("table8/top1=crash",)
    assert run_id(config) == conv, "captions are no science"
    assert told_of(config)["paper"] == {"table8/top1": "crash"}


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["tables=[table7]", "profile=mini", "--mode", "offline", "results=here"], []),
        (["--run", "deit-0", "results=here", "--mode", "offline", "profile=mini"], ["deit-0"]),
    ],
)
def test_settings_and_options_may_stand_in_any_order(typed, found) -> None:
    options = mirror.parse(typed)
    assert (options.mode, options.run) == ("offline", found)
    assert (options.settings.results, options.settings.profile) == (Path("here"), "mini")


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (0, []),
        (1, ["1 run has no config.yaml: send it with tables=[...]"]),
        (3, ["3 runs have no config.yaml: send them with tables=[...]"]),
    ],
)
def test_runs_that_all_leaves_out_are_counted(tmp_path, monkeypatch, count, says) -> None:
    monkeypatch.setattr(mirror, "Printers", lambda *_: NoTables())
    for seed in range(count):
        (finished(tmp_path, replace(composed(*ROW), seed=seed)) / "config.yaml").unlink()
    said: list[str] = []
    monkeypatch.setattr(mirror, "say", said.append)
    options = mirror.parse(["--all", "--mode", "offline", f"results={tmp_path}"])
    assert mirror.main(options) == 0
    assert said == [*says, "sent 0, there already 0, failed 0"]


@pytest.mark.parametrize(
    ("names", "says"),
    [(["deit-000000000000"], "has no result"), (["lost"], "has no config.yaml")],
)
def test_a_run_that_cannot_be_sent_is_named_in_one_line(tmp_path, names, says) -> None:
    config = composed(*ROW)
    folder = finished(tmp_path, config)
    (folder / "config.yaml").unlink()
    if names == ["lost"]:
        names = [folder.name]
    with pytest.raises(ConfigError, match=says):
        copies_of_folder(tmp_path, NoTables(), names, say=print)
    assert copies_of_folder(tmp_path, NoTables(), say=print) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [("deit-000000000000", "has no result in"), ("../x", "becomes a folder name")],
)
def test_a_run_that_is_asked_for_is_looked_at_before_the_key(
    tmp_path, monkeypatch, name, says
) -> None:
    """Whoever mistypes an id would else be sent to ``wandb login`` first."""

    def refuse(**_: object) -> None:
        raise RunError("W&B: no key")

    monkeypatch.setattr(mirror, "check_online", refuse)
    monkeypatch.setattr(mirror, "Printers", lambda *_: NoTables())
    with pytest.raises(ConfigError, match=says):
        mirror.main(mirror.parse(["--run", name, f"results={tmp_path}"]))
    known = finished(tmp_path, composed(*ROW)).name
    with pytest.raises(RunError, match="no key"):
        mirror.main(mirror.parse(["--run", known, f"results={tmp_path}"]))


def test_results_that_cannot_be_written_are_one_line_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mirror, "Printers", lambda *_: NoTables())
    finished(tmp_path, composed(*ROW))
    refused = pytest.raises(RunError, match=r"wandb: cannot be written \(Permission denied\)")
    with closed(tmp_path, 0o555), refused as caught:
        mirror.main(mirror.parse(["--all", "--mode", "offline", f"results={tmp_path}"]))
    assert len(caught.value.lines) == 1
    assert capfd.readouterr() == ("", "")


def test_a_table_that_was_never_written_is_asked_for(tmp_path: Path) -> None:
    write_table(tmp_path / "conf")
    with pytest.raises(TableError, match="make report PROFILE=mini"):
        copies_of_tables(plan_of(tmp_path))


class Away:
    """A server that is away: every run fails."""

    def __init__(self) -> None:
        self.asked = 0

    def send(self, *_: object) -> dict[str, str]:
        self.asked += 1
        return {"trouble": "no answer within 90 s"}


def test_a_server_that_is_away_is_given_up_after_a_few_runs(tmp_path: Path) -> None:
    said: list[str] = []
    copies = [Copy(f"deit-{n}", tmp_path, {"name": "conv"}) for n in range(9)]
    away = Away()
    counts = send_all(copies, away, said.append)
    assert (counts.failed, len(counts.left), away.asked) == (3, 6, 3)
    assert all("failed: no answer within 90 s" in line and "\n" not in line for line in said)


def test_columns_of_a_table_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b,c\n1,x,\n,2,\n")
    assert typed_rows(path) == (["a", "b", "c"], [[1.0, "x", None], [None, "2", None]])


def test_rows_that_are_being_written_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "a/b": "nan"}\n{"step": 2, "ep')
    ((step, row),) = Rows(tmp_path).upto()
    assert step == 1
    assert row["a/b"] != row["a/b"]
