"""Published rows are read for what they are about, and a new measurement is seen."""

from __future__ import annotations

import csv

import pytest

from scaledrelu.cost.records import DEIT, FOLDER, read_records
from scaledrelu.cost.speed import loader_rate, step_rate
from scaledrelu.errors import DataError
from tests.helpers.speeds import paper

H200 = FOLDER / "nvidia-h200.csv"


@pytest.fixture
def rows():
    return list(csv.DictReader(H200.open(newline="")))


def published(rows, folder):
    with (folder / H200.name).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return read_records(folder)


def the(rows, **fields):
    (found,) = [r for r in rows if all(r[name] == value for name, value in fields.items())]
    return found


CORE = "images_per_s_per_core"
STEP = {
    "kind": "step", "profile": "paper", "recipe": "deit", "stem": "conv", "optimizer": "adamw",
    "precision": "fp16_2021", "batch": "128", "layout": "channels_last", "compiled": "false",
}  # fmt: skip


def test_rates_are_those_of_the_published_rows(rows):
    records = read_records()
    assert records.card == "NVIDIA H200"
    config = paper("stem=conv", "launch.compile=false")
    own, theirs = (step_rate(config, s) for s in (records.ours, records.official))
    ours = [r for r in rows if STEP.items() <= r.items() and r["peer"] == "same switches"]
    assert own.likely in [float(row["images_per_s"]) for row in ours]
    peer = the(rows, **STEP, peer="timm defaults")
    assert theirs.likely == float(peer["plain_images_per_s"])
    name = f"reference, {records.processes} loader processes to the GPU, 200 real JPEGs"
    together = float(the(rows, name=name)["images_per_s"])
    assert loader_rate("reference", records.processes, records).likely == together
    assert DEIT in records.alone


def test_a_new_measurement_is_seen(rows, tmp_path):
    before = published(rows, tmp_path)
    for row in rows:
        if row["kind"] == "step":
            row["images_per_s"] = str(2 * float(row["images_per_s"]))
    after = published(rows, tmp_path)
    slow, fast = (step_rate(paper("stem=conv"), one.ours).likely for one in (before, after))
    assert fast == 2 * slow


def test_scripts_as_they_come_are_not_compiled_whatever_they_were_timed_beside(rows, tmp_path):
    before = published(rows, tmp_path).official
    for row in rows:
        if row["peer"] == "timm defaults":
            row["compiled"] = "true"
    assert published(rows, tmp_path).official == before


def test_rows_of_other_sizes_layouts_and_failures_do_not_count(rows, tmp_path):
    other = [
        {**row, field: value}
        for row in rows
        if row["kind"] == "step"
        for field, value in (("profile", "small"), ("layout", "contiguous"), ("problem", "failed"))
    ]
    assert published(other, tmp_path) is None


def test_without_files_there_are_no_records(tmp_path):
    assert read_records(tmp_path) is None


def loader_row(rows, path, peer, *, rate, plain, ratio):
    row = {**rows[0], "kind": "loader", "name": f"{path}, one process, 200 real JPEGs"}
    return row | {
        "peer": peer,
        "images_per_s_per_core": str(rate),
        "plain_images_per_s": str(plain),
        "ratio": str(ratio),
    }


def test_a_path_measured_elsewhere_is_as_fast_beside_deits_script_as_there(rows, tmp_path):
    """A machine may be slower from one row to the next: only what was timed in turns counts."""
    other = [
        loader_row(rows, "new", DEIT, rate=20, plain=10, ratio=2.5),
        loader_row(rows, "crops", "a script", rate=90, plain=4, ratio=7.0),
        loader_row(rows, "views", "beside", rate=90, plain=4, ratio=2.0),
        loader_row(rows, "beside", DEIT, rate=9, plain=10, ratio=0.7),
    ]
    with (tmp_path / "cpu.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(other)
    alone = published(rows, tmp_path).alone
    assert alone["new"] == pytest.approx(2.5 * alone[DEIT])
    assert alone["a script"] == pytest.approx(0.4 * alone[DEIT])
    assert alone["crops"] == pytest.approx(7.0 * 0.4 * alone[DEIT])
    assert alone["beside"] == pytest.approx(0.7 * alone[DEIT])
    assert alone["views"] == pytest.approx(2.0 * 0.7 * alone[DEIT])
    assert alone["device"] == float(the(rows, name="device, one process, 200 real JPEGs")[CORE])


@pytest.mark.parametrize("size", [300, 480, 900, 1300, 2000, 3000, 5000])
def test_a_file_that_is_cut_off_is_refused(size, tmp_path):
    (tmp_path / H200.name).write_bytes(H200.read_bytes()[:size])
    with pytest.raises(DataError, match=rf"{H200.name}, line \d+: .*; restore it from a copy"):
        read_records(tmp_path)


def test_steps_without_what_they_are_compared_with_are_refused(rows, tmp_path):
    steps = [row for row in rows if row["kind"] == "step"]
    with pytest.raises(DataError, match=r"no row of loader processes, .*--only loader --images"):
        published(steps, tmp_path)
    ours = [row for row in rows if row["peer"] != "timm defaults"]
    with pytest.raises(DataError, match=r"no row of steps beside timm's defaults \(--only step\)"):
        published(ours, tmp_path)


def test_official_steps_of_two_models_are_two_steps(rows, tmp_path):
    peer = the(rows, **STEP, peer="timm defaults")
    found = published([*rows, peer | {"model": "Another"}], tmp_path).official
    assert len(found) == len(published(rows, tmp_path).official) + 1


def test_of_two_rows_about_an_official_step_the_faster_counts_in_whatever_order(rows, tmp_path):
    peer = the(rows, **STEP, peer="timm defaults")
    slow = peer | {"plain_images_per_s": str(0.5 * float(peer["plain_images_per_s"]))}
    for order in ([*rows, slow], [slow, *rows]):
        found = published(order, tmp_path).official
        step = next(one for one in found if one.stem == "conv" and one.recipe == "deit")
        assert step.rate == float(peer["plain_images_per_s"])
        assert step.spread[0] == pytest.approx(
            0.5 * float(slow["ratio_min"]) / float(slow["ratio"])
        )
