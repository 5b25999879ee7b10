"""Tables of chosen runs: what a person types, what is printed, the numbers behind it."""

from __future__ import annotations

import csv
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy import stats

from scaledrelu.config import stem_options
from scaledrelu.reports.collect import plot as run_plot
from scaledrelu.reports.collect.groups import group_runs
from scaledrelu.reports.collect.rows import read_rows
from scaledrelu.reports.collect.table import telling_keys, varying_keys
from scripts import collect
from tests.helpers.configs import with_values
from tests.helpers.documents import conf_without_examples
from tests.helpers.options import of_the_paper
from tests.helpers.run_folders import CRASHED, leave, plan_in, run_of

RATES = (5e-4, 1e-3)
GOOD = {5e-4: (90.0, 93.0, 97.0), 1e-3: (80.0, 85.0, 60.0)}
BAD = {5e-4: (40.0, 46.0, 50.0), 1e-3: (30.0, 12.0, 10.0)}  # of the last three two crash


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for seed in range(3):
        for rate in RATES:
            leave(folder, run_of("conv", seed=seed, lr__base=rate), GOOD[rate][seed])
            crash = CRASHED if rate == 1e-3 and seed else None
            config = run_of("patchify", seed=seed, lr__base=rate)
            leave(folder, config, BAD[rate][seed], crash=crash)
    return folder


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """Call collect.py; returns its exit status, its lines, and what it complains of."""

    def call(*arguments: str, results: Path) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", ["collect.py", *arguments, "--results", str(results)])
        status = collect.main()
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err

    return call


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list:
    """The figures that are drawn; no file is written."""
    figures: list = []
    monkeypatch.setattr(run_plot, "save_picture", lambda figure, _: figures.append(figure) or [])
    return figures


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_table_of_runs_shows_what_varies_and_nothing_that_follows_from_it(
    shell: Callable, unchanged: Path
) -> None:
    status, (header, *lines, count, more), _ = shell(results=unchanged)
    assert status == 0
    shown = "run outcome val/top1 val/top1_best seconds stem.label lr.base seed"
    assert cells(header) == shown.split()
    assert len(lines) == 12
    first = ["ok", "90.00", "90.00", "2s", "ViT_c", "5e-4", "0"]
    assert cells(lines[0])[1:] == first
    assert cells(lines[-1])[1:5] == ["crash: collapsed at step 7", "10.00", "10.00", "2s"]
    assert count == "12 runs: 10 ok, 2 crash"
    assert more.endswith("more settings differ among them; --keys all shows them")


def test_a_stem_of_ones_own_is_no_patchify_stem(shell: Callable, tmp_path: Path) -> None:
    leave(tmp_path, run_of("patchify"), 50.0)
    leave(tmp_path, run_of("patchify", stem__build={"_target_": "my_stems.MyStem"}), 60.0)
    _, lines, _ = shell("--by", "stem.name", "--metric", "val/top1", results=tmp_path)
    assert {cells(line)[0] for line in lines[1:3]} == {"MyStem", "patchify"}


CURVED = {"_target_": "my_curves.Straight", "power": 2}


@pytest.mark.parametrize(
    ("key", "values", "texts"),
    [
        ("lr.curve", (None, CURVED), {"null", "Straight(power=2)"}),
        ("stem.norm", ("batch", {"_target_": "my_norms.Norm"}), {"batch", "Norm()"}),
        ("stem.tail", ((), ({"_target_": "my_norms.Norm"},)), {"[]", "[Norm()]"}),
        ("ema", (None, {"decay": 0.5}), {"null", "(decay=0.5)"}),
    ],
)
def test_a_key_that_holds_others_in_some_runs_tells_them_apart(
    shell: Callable, tmp_path: Path, key: str, values: tuple, texts: set[str]
) -> None:
    for value in values:
        leave(tmp_path, with_values(run_of("conv"), {key: value}), 50.0)
    _, lines, _ = shell("--by", key, "--metric", "val/top1", results=tmp_path)
    assert {cells(line)[0] for line in lines[1:3]} == texts
    _, (header, *_), _ = shell(results=tmp_path)
    assert cells(header)[5:] == ["stem.name" if key.startswith("stem.") else key]


def test_keys_are_what_is_asked_for(shell: Callable, unchanged: Path) -> None:
    _, (header, *_), _ = shell("--keys", "seed,stem.norm", results=unchanged)
    assert cells(header)[5:] == ["seed", "stem.norm"]
    _, (header, *_), _ = shell("--keys", "all", "--metric", "val/loss", results=unchanged)
    assert cells(header)[2:4] == ["val/loss", "seconds"]
    assert {"stem.norm", "stem.act", "stem.strides"} <= set(cells(header))


def test_a_setting_that_no_label_decides_is_shown(tmp_path: Path) -> None:
    leave(tmp_path, run_of("conv", seed=0), 90.0)
    leave(tmp_path, run_of("conv", seed=0, stem__hidden=32), 80.0)
    leave(tmp_path, run_of("patchify", seed=0, warmup__epochs=10.0, launch__threads=2), 80.0)
    rows = read_rows(tmp_path)
    varying = varying_keys(rows)
    assert "launch.threads" not in varying, "where a run happens is not what it is"
    assert telling_keys(rows, varying)[:2] == ["stem.label", "warmup.epochs"]
    assert "stem.hidden" in telling_keys(rows, varying)
    assert "stem.act" not in telling_keys(rows, varying)
    assert "stem.name" not in telling_keys(rows, varying), "its label says as much"


@pytest.mark.parametrize("slim", [False, True])
def test_stems_that_share_a_label_are_told_apart_by_their_names(
    shell: Callable, tmp_path: Path, slim: bool
) -> None:
    stems = [option for option in of_the_paper("stem") if option.startswith("conv")]
    for place, stem in enumerate(stems):
        for seed in (0, 1):
            leave(tmp_path, run_of(stem, seed=seed), 50.0 + place, slim=slim)
    _, (_, *lines, _, over), _ = shell("--by", "stem.name", results=tmp_path)
    assert [cells(line)[:2] for line in lines] == [[stem, "2"] for stem in stems]
    means = [cells(line)[-1].split()[0] for line in lines]
    assert means == [f"{50 + place}.00" for place in range(len(stems))]
    assert over == "settings that vary inside the groups: seed"
    _, (header, *_), _ = shell(results=tmp_path)
    labels = [] if slim else ["stem.label"]
    assert cells(header)[5:] == [*labels, "stem.name", "seed"], "norm and act follow from it"
    _, (*_, over), _ = shell("--by", "method", results=tmp_path)
    assert "stem.name" in over
    _, lines, _ = shell("stem.name=conv_*", "--by", "stem.name", results=tmp_path)
    assert len(lines) == len(stems) - 1 + 3


def test_a_stem_of_ones_own_is_found_by_the_name_of_its_file(
    shell: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = conf_without_examples(tmp_path)
    (conf / "stem" / "mine.yaml").write_text("defaults: [conv, _self_]\nact: scaled_relu\n")
    monkeypatch.setattr(stem_options, "CONF_DIR", conf)
    for seed, changes in enumerate([{}, {"stem__act": "scaled_relu"}]):
        leave(tmp_path, run_of("conv", seed=seed, **changes), 50.0)
    _, (_, line, _), _ = shell("stem.name=mine,patchify", "--keys", "seed", results=tmp_path)
    assert cells(line)[-1] == "1"


def test_means_and_intervals_are_those_of_scipy(unchanged: Path) -> None:
    groups = group_runs(read_rows(unchanged), ["stem.label", "lr.base"], "val/top1")
    assert [group.values for group in groups] == [
        ("ViT_c", 5e-4), ("ViT_c", 1e-3), ("ViT_p", 5e-4), ("ViT_p", 1e-3),
    ]  # fmt: skip
    for group, values in zip(groups, (*GOOD.values(), *BAD.values()), strict=True):
        low, high = stats.t.interval(0.95, 2, loc=statistics.fmean(values), scale=stats.sem(values))
        found = group.mean(group.judged)
        assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert groups[-1].mean(groups[-1].held).mean == BAD[1e-3][0]
    assert groups[-1].num_crashed == 2


def test_groups_are_printed_with_runs_crashes_means_and_what_they_average(
    shell: Callable, unchanged: Path
) -> None:
    by = ("--by", "stem.label,lr.base", "--metric", "val/top1")
    status, (header, *lines, told, over), _ = shell(*by, results=unchanged)
    assert status == 0
    assert cells(header) == [
        "stem.label", "lr.base", "runs", "crashed", "val/top1", "without crashed",
    ]  # fmt: skip
    assert cells(lines[0]) == ["ViT_c", "5e-4", "3", "0", "93.33 +/- 8.72", "93.33 +/- 8.72"]
    assert cells(lines[3]) == ["ViT_p", "1e-3", "3", "2", "17.33 +/- 27.36", "30.00"]
    assert told.startswith("12 runs: 10 ok, 2 crash; val/top1: mean and half of its 95 % t")
    assert over == "settings that vary inside the groups: seed"


def test_a_pivot_puts_the_last_key_across(shell: Callable, unchanged: Path) -> None:
    _, (header, *lines), _ = shell("--by", "stem.label,lr.base", "--pivot", results=unchanged)
    assert cells(header) == ["stem.label", "lr.base 5e-4", "lr.base 1e-3"]
    assert cells(lines[0])[1] == "93.33 +/- 8.72 (3 runs)"
    assert cells(lines[1])[2] == "17.33 +/- 27.36 (3 runs, 2 crashed)"


def test_runs_without_a_number_are_counted_and_in_no_mean(shell: Callable, tmp_path: Path) -> None:
    leave(tmp_path, run_of(seed=0), 40.0, best=45.0)
    leave(tmp_path, run_of(seed=1), None, crash={"kind": "non_finite", "step": 1})
    leave(tmp_path, run_of(seed=2), float("nan"))
    (plan_in(tmp_path, run_of(seed=3)) / "error.txt").write_text("out of memory")
    plan_in(tmp_path, run_of(seed=4))
    _, (header, line, *_), _ = shell("--by", "stem.label", results=tmp_path)
    assert cells(header)[1:] == ["runs", "crashed", "val/top1", "without crashed", "besides"]
    assert cells(line)[1:] == [
        "3", "1", "40.00", "40.00", "1 failed, 1 missing, 2 without a value",
    ]  # fmt: skip
    _, (_, pivot, *_), _ = shell("--by", "stem.label,lr.base", "--pivot", results=tmp_path)
    assert cells(pivot)[1] == ("40.00 (3 runs, 1 crashed, 1 failed, 1 missing, 2 without a value)")


def test_deleting_a_run_changes_exactly_its_group(tmp_path: Path, shell: Callable) -> None:
    folders = [leave(tmp_path, run_of(s, seed=i), 50.0 + i) for s in ("conv", "patchify")
               for i in range(3)]  # fmt: skip
    by = ("--by", "stem.label")
    _, before, _ = shell(*by, results=tmp_path)
    (folders[0] / "result.json").unlink()
    _, after, _ = shell(*by, results=tmp_path)
    assert cells(before[1]) == ["ViT_c", "3", "0", "51.00 +/- 2.48"]
    assert cells(after[1]) == ["ViT_c", "2", "0", "51.50 +/- 6.35", "1 missing"]
    assert cells(after[2])[:-1] == cells(before[2])


def test_files_hold_the_unrounded_numbers(shell: Callable, unchanged: Path, tmp_path: Path) -> None:
    places = {kind: tmp_path / f"table.{kind}" for kind in ("csv", "markdown")}
    asked = [word for kind, path in places.items() for word in (f"--{kind}", str(path))]
    shell("stem.label=ViT_c", *asked, results=unchanged)
    with places["csv"].open() as stream:
        lines = list(csv.DictReader(stream))
    rows = [row for row in read_rows(unchanged) if row["stem.label"] == "ViT_c"]
    found = {line["run_id"]: float(line["val/top1"]) for line in lines}
    assert found == {row["run_id"]: row["val/top1"] for row in rows}
    assert {line["lr.base"] for line in lines} == {"0.0005", "0.001"}
    assert places["markdown"].read_text().startswith("| run ")
    shell("--by", "stem.label,lr.base", "--pivot", *asked, results=unchanged)
    with places["csv"].open() as stream:
        last = list(csv.DictReader(stream))[-1]
    assert float(last["mean"]) == statistics.fmean(BAD[1e-3])
    assert (last["n"], last["n_crash"], last["mean_held"]) == ("3", "2", "30.0")
    assert len(last["run_ids"].split()) == 3


def test_a_picture_is_a_function_of_the_runs_alone(
    shell: Callable, unchanged: Path, tmp_path: Path
) -> None:
    by = ("--by", "lr.base,stem.label")
    _, said, _ = shell(*by, "--plot", str(tmp_path / "one.png"), results=unchanged)
    assert f"wrote {tmp_path / 'one.png'}" in said
    shell(*by, "--plot", str(tmp_path / "two"), results=unchanged)
    shell(*by, "seed!=2", "--plot", str(tmp_path / "less"), results=unchanged)
    for kind in ("png", "svg"):
        whole, again, less = (
            (tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two", "less")
        )
        assert whole == again
        assert whole != less
    text = (tmp_path / "one.svg").read_text()
    assert "lr.base (log scale)" in text
    assert "crashed, at the value it ended with" in text
    assert "ViT_c" in text


def test_every_run_is_a_dot_or_a_cross_in_a_picture(
    shell: Callable, unchanged: Path, drawn: list
) -> None:
    shell("--by", "lr.base,stem.label", "--plot", "x", results=unchanged)
    marks = [line for line in drawn[0].axes[0].lines if line.get_linestyle() == "None"]
    crosses = [y for line in marks for y in line.get_ydata() if line.get_marker() == "x"]
    dots = [y for line in marks for y in line.get_ydata() if line.get_fillstyle() == "full"]
    ended = sorted(BAD[1e-3][1:])
    assert sorted(crosses) == ended
    held = sorted([*GOOD[5e-4], *GOOD[1e-3], *BAD[5e-4], BAD[1e-3][0]])
    assert sorted(dots) == sorted([*held, *ended]), "a cross is filled, too"


def test_a_crash_without_a_value_is_no_zero_in_a_picture(
    shell: Callable, tmp_path: Path, drawn: list
) -> None:
    for seed in range(3):
        crash = {"kind": "non_finite", "step": 1} if seed else None
        leave(tmp_path, run_of(seed=seed), None if crash else 40.0, crash=crash)
    shell("--by", "stem.label", "--plot", "x", results=tmp_path)
    lines = drawn[0].axes[0].lines
    assert [0.0 for line in lines if line.get_clip_on() for y in line.get_ydata() if y == 0] == []
    assert len([line for line in lines if not line.get_clip_on()]) == 1, "below the axis"
    told = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert "crashed without a value" in told
    assert "crashed, at the value it ended with" not in told


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("stem.label=nope", "no run matches stem.label=nope; stem.label is ViT_c (6), ViT_p (6)"),
        ("tags=table10", "no run matches tags=table10; tags is no tag (12)"),
        ("outcome=failed", "no run matches outcome=failed; outcome is ok (10), crash (2)"),
        (
            "outcome=crash stem.label=ViT_c",
            "no run matches all of these filters; runs that match each alone: outcome=crash: 2, "
            "stem.label=ViT_c: 6",
        ),
    ],
)
def test_where_nothing_matches_it_says_what_there_is(
    shell: Callable, unchanged: Path, typed: str, said: str
) -> None:
    status, lines, _ = shell(*typed.split(), results=unchanged)
    assert (status, lines) == (1, [said])


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("stem.lable=x", "did you mean 'stem.label'?"),
        ("--by stem.lable", "did you mean 'stem.label'?"),
        ("--keys sead", "did you mean 'seed'?"),
        ("--metric val/tpo1", "did you mean 'val/top1'?"),
        ("--by seed --metric val/top1,val/loss", "averages one metric"),
        ("--by seed --pivot", "--pivot: needs two keys"),
        ("--plot x", "--plot: needs --by"),
        ("--by seed --keys seed", "it cannot be given with --by"),
        ("--multirun nowhere", "not the folder of a multirun"),
        ("--csv scripts/collect.py/x", "scripts/collect.py/x: cannot be written"),
        ("--by seed --plot scripts/collect.py/x", "x: cannot be written"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(
    shell: Callable, unchanged: Path, typed: str, said: str
) -> None:
    status, _, err = shell(*typed.split(), results=unchanged)
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_no_runs_at_all_are_said_in_one_line(shell: Callable, tmp_path: Path) -> None:
    status, _, err = shell(results=tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    (tmp_path / "runs").mkdir()
    status, lines, _ = shell(results=tmp_path)
    assert status == 1
    assert "no runs yet" in lines[0]


def test_a_terminal_gets_the_columns_that_fit(unchanged: Path) -> None:
    said: list[str] = []
    asked = collect.parse(["--results", str(unchanged)])
    collect.collect(asked, said.append, width=100)
    assert max(map(len, said[0].splitlines()[:13])) <= 100
    assert "no room for: seed" in said[0]


def test_the_help_shows_commands_and_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        collect.parse(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert "--by stem.label,lr.base --metric val/top1 --pivot" in text
    assert "1 no run matches; 2 wrong input" in text
