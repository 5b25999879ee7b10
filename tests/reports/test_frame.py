"""Every run on disk is one row, which says what an independent reading of its files says."""

from __future__ import annotations

import fcntl
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
import yaml

from scaledrelu.config.identity import run_id
from scaledrelu.errors import ConfigError
from scaledrelu.reports.collect import rows as run_rows
from scaledrelu.reports.frame import load_runs
from scaledrelu.runs.lock import LOCK
from tests.helpers.run_folders import CRASHED, leave, plan_in, run_of

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stems at two rates, three seeds each; of patchify at the higher rate two crash."""
    folder = tmp_path_factory.mktemp("results")
    for seed in SEEDS:
        for rate in (5e-4, 1e-3):
            tags = {"wandb__tags": ["table1", "table3"]} if rate == 5e-4 else {}
            leave(folder, run_of("conv", seed=seed, lr__base=rate, **tags), 90.0 + seed / 3)
            bad = rate == 1e-3 and seed > 0
            config = run_of("patchify", seed=seed, lr__base=rate)
            leave(folder, config, 30.0 + seed / 3, best=40.0, crash=CRASHED if bad else None)
    return folder


@pytest.fixture
def results(unchanged: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(unchanged, tmp_path, dirs_exist_ok=True)
    return tmp_path


def by_id(frame: pandas.DataFrame) -> dict[str, dict]:
    return {row["run_id"]: row for row in frame.to_dict("records")}


def same(one: object, other: object) -> bool:
    """Numbers and words alike; nothing is None in one place and NaN in another."""
    nothing = [value is None or value != value for value in (one, other)]
    return all(nothing) or one == other


def alike(row: dict, other: dict) -> bool:
    return row.keys() == other.keys() and all(same(row[key], other[key]) for key in row)


def test_a_row_says_what_its_files_say(unchanged: Path) -> None:
    frame = load_runs(unchanged)
    assert sorted(frame["run_id"]) == sorted(p.name for p in (unchanged / "runs").iterdir())
    for name, row in by_id(frame).items():
        told = json.loads((unchanged / "runs" / name / "result.json").read_text())
        config = yaml.safe_load((unchanged / "runs" / name / "config.yaml").read_text())
        assert {key: row[key] for key in told["metrics"]} == told["metrics"]
        assert (row["outcome"], row["seconds"]) == (told["outcome"], told["seconds"])
        crash = told["crash"] or {}
        assert same(row["crash_kind"], crash.get("kind"))
        assert same(row["crash_step"], crash.get("step"))
        assert (row["device"], row["commit"]) == ("a CPU", "0123abc")
        assert (row["method"], row["seed"]) == (config["method"], config["seed"])
        assert row["tags"] == ", ".join(config["wandb"]["tags"])
        assert row["stem.name"] == {"ViT_c": "conv", "ViT_p": "patchify"}[config["stem"]["label"]]
        for group in ("stem", "lr", "warmup", "optimizer", "batch", "profile"):
            for key, value in config[group].items():
                if isinstance(value, str | int | float | bool | None):
                    assert same(row[f"{group}.{key}"], value), key
        strides = ",".join(map(str, config["stem"]["strides"]))
        assert row["stem.strides"] == f"[{strides}]"


CHOICES: list[tuple[str, Callable[[pandas.DataFrame], pandas.Series]]] = [
    ("stem.label=ViT_c", lambda f: f["stem.label"] == "ViT_c"),
    ("stem.label=vit_c,ViT_p seed=0", lambda f: f["seed"] == 0),
    ("stem.label=*_p", lambda f: f["stem.label"] == "ViT_p"),
    ("lr.base=1e-3", lambda f: f["lr.base"] == 0.001),
    ("lr.base!=0.0010", lambda f: f["lr.base"] == 0.0005),
    ("'lr.base>=1e-3'", lambda f: f["lr.base"] >= 1e-3),
    ("'lr.base>5e-4' seed=1", lambda f: (f["lr.base"] > 5e-4) & (f["seed"] == 1)),
    ("'val/top1<91'", lambda f: f["val/top1"] < 91),
    ("'val/top1<=30.0' outcome=ok", lambda f: (f["val/top1"] <= 30) & (f["outcome"] == "ok")),
    ("outcome=crash", lambda f: f["outcome"] == "crash"),
    ("tags=table1", lambda f: f["tags"].str.contains("table1")),
    ("tags=table", lambda f: f["tags"] == "table"),
    ("method=deit,dino", lambda f: f["method"] == "deit"),
    ("crash_kind=null", lambda f: f["crash_kind"].isna()),
    ("optimizer.build.fused=true", lambda f: f["optimizer.build.fused"].astype(bool)),
    ("stem.strides=[2,1,1,1],[]", lambda f: f["stem.strides"].isin(["[2,1,1,1]", "[]"])),
    ("stem.norm=none", lambda f: f["stem.norm"] == "none"),
    ("stem.name=conv", lambda f: f["stem.label"] == "ViT_c"),
]


@pytest.mark.parametrize(("asked", "meant"), CHOICES, ids=[one for one, _ in CHOICES])
def test_filters_choose_what_they_say(unchanged: Path, asked: str, meant: Callable) -> None:
    everything = load_runs(unchanged)
    chosen = load_runs(unchanged, asked)
    assert list(chosen["run_id"]) == list(everything[meant(everything)]["run_id"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("stem.lable=ViT_c", "stem.lable=ViT_c: no run has a key or metric 'stem.lable'; did you"),
        ("val/tpo1=1", "did you mean 'val/top1'?"),
        (
            "stem=conv",
            "write one of its keys, e.g. stem.label, which is ViT_c (6), ViT_p (6)",
        ),
        ("augment=1", "augment is a group; write one of augment."),
        ("conv", "'conv': is not a filter; write key=value"),
        ("seed=", "'seed=': is not a filter"),
        ("lr.base>a", "> compares with one number"),
        ("lr.base>1,2", "> compares with one number"),
        ("results=x", "another results folder is --results FOLDER"),
    ],
)
def test_a_filter_that_cannot_be_is_one_line_with_the_nearest_name(
    unchanged: Path, asked: str, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_runs(unchanged, [asked])
    assert said in str(refused.value)


def test_a_folder_without_runs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no runs"):
        load_runs(tmp_path / "nowhere")


def test_deleting_a_run_makes_exactly_its_row_go_missing(results: Path) -> None:
    before = by_id(load_runs(results))
    gone = sorted(before)[3]
    for path in (results / "runs" / gone).iterdir():
        path.unlink()
    (results / "runs" / gone).rmdir()
    after = by_id(load_runs(results))
    assert before.keys() - after.keys() == {gone}
    assert all(alike(row, before[name]) for name, row in after.items())


def test_deleting_a_result_leaves_a_run_that_is_missing_and_has_no_metrics(results: Path) -> None:
    before = by_id(load_runs(results))
    gone = sorted(before)[3]
    (results / "runs" / gone / "result.json").unlink()
    after = by_id(load_runs(results))
    lost = after.pop(gone)
    assert (lost["outcome"], lost["stem.label"]) == ("missing", before[gone]["stem.label"])
    assert math.isnan(lost["val/top1"])
    assert math.isnan(lost["seconds"])
    assert all(alike(row, before[name]) for name, row in after.items())


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "half a result": (lambda f: (f / "result.json").write_text('{"metrics"'), "damaged"),
    "no text": (lambda f: (f / "result.json").write_bytes(b"\xff\x00"), "not text"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "another's config": (
        lambda f: (f / "config.json").write_text('{"seed": 9}'),
        "config.json is that of another run",
    ),
    "half a plan": (lambda f: (f / "config.yaml").write_text("stem: [1"), "config.yaml: damaged"),
    "a list for a plan": (lambda f: (f / "config.yaml").write_text("a: 1\n- 2\n"), "damaged"),
    "another's result": (lambda f: f.rename(f.with_name("deit-0123456789ab")), "another run"),
    "a folder in its place": (
        lambda f: ((f / "result.json").unlink(), (f / "result.json").mkdir()),
        "result.json: is a folder",
    ),
    "a foreign folder": (lambda f: (f.parent / "notes").mkdir(), "not the folder of a run"),
    "a foreign file": (lambda f: (f.parent / "notes").touch(), "not the folder of a run"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_costs_one_row_and_says_why(results: Path, what: str) -> None:
    before = by_id(load_runs(results))
    spoil, why = DAMAGE[what]
    spoil(results / "runs" / sorted(before)[0])
    after = by_id(load_runs(results))
    (bad,) = [row for row in after.values() if row["outcome"] == "damaged"]
    assert why in bad["reason"]
    assert math.isnan(bad["val/top1"])
    intact = after.keys() - {bad["run_id"]}
    assert len(intact) in (len(before) - 1, len(before))
    assert all(alike(after[name], before[name]) for name in intact)


def test_runs_without_a_result_say_where_they_are(tmp_path: Path) -> None:
    planned, failed, running = (run_of(seed=seed) for seed in SEEDS)
    plan_in(tmp_path, planned, planned_as="stem=patchify seed=0")
    (plan_in(tmp_path, failed) / "error.txt").write_text("out of memory\nTraceback")
    with (plan_in(tmp_path, running) / LOCK).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        rows = by_id(load_runs(tmp_path))
    found = {row["seed"]: (row["outcome"], row["reason"]) for row in rows.values()}
    assert found == {0: ("missing", ""), 1: ("failed", "out of memory"), 2: ("running", "")}
    assert {row["stem.label"] for row in rows.values()} == {"ViT_p"}


def test_what_was_trained_is_told_not_what_its_file_was_changed_to(results: Path) -> None:
    name = run_id(run_of("conv", seed=0, lr__base=1e-3))
    path = results / "runs" / name / "config.yaml"
    path.write_text(path.read_text().replace("base: 0.001", "base: 0.5"))
    assert by_id(load_runs(results))[name]["lr.base"] == 1e-3


def test_a_published_record_has_its_science_and_no_labels(tmp_path: Path) -> None:
    leave(tmp_path, run_of("conv", lr__base=1e-3), 90.0, slim=True)
    (row,) = by_id(load_runs(tmp_path)).values()
    assert (row["method"], row["lr.base"], row["stem.norm"]) == ("deit", 1e-3, "batch")
    assert row["optimizer.clip"] == "global", "dropped before hashing, known nevertheless"
    assert "stem.label" not in row
    assert row["tags"] is None


def test_what_runs_share_is_read_once(unchanged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    read = run_rows.from_yaml
    monkeypatch.setattr(run_rows, "from_yaml", lambda text: texts.append(text) or read(text))
    assert len(load_runs(unchanged)) == 4 * len(SEEDS)
    assert len(texts) == len(set(texts))
    assert len(texts) < 2 * len(yaml.safe_load("".join(dict.fromkeys(texts))))


def test_pandas_is_imported_by_one_module_and_only_when_it_is_asked() -> None:
    named = [
        path.name
        for path in (ROOT / "scaledrelu").rglob("*.py")
        if re.search(r"^ *(?:import|from) pandas", path.read_text(), re.MULTILINE)
    ]
    assert named == ["frame.py"]
    code = (
        "import sys; import scaledrelu.reports.frame, scaledrelu.reports.collect.main;"
        "print(sorted({'pandas', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
