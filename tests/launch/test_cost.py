"""What a plan costs is said with its range, with what it rests on, and with what is unknown."""

from __future__ import annotations

from pathlib import Path

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.cost.hours import cost_of, ours
from scaledrelu.cost.records import FOLDER, read_records
from scaledrelu.launch.estimate import Estimate
from scaledrelu.launch.overview import cost_text, disk_bytes
from scaledrelu.runs.record import Saved
from tests.helpers.table_fakes import planned_run

PAPER = ["profile=paper"]
UNKNOWN = lambda run: Estimate(None, measured=False)  # noqa: E731


def planned(config, number, saved=None):
    return planned_run(config, f"deit-{number:012x}", saved=saved)


def test_a_plan_says_gpu_hours_wall_time_and_disk_and_on_what_they_rest():
    config = compose_unpinned([*PAPER, "stem=conv"])
    text = cost_text([planned(config, n) for n in range(4)], gpus=8, estimate=UNKNOWN)
    records = read_records()
    one = cost_of(config, ours(records), records).hours
    assert f"cost: {4 * one.likely:,.0f} ({4 * one.low:,.0f} to {4 * one.high:,.0f})" in text
    for said in (
        "on 8 GPUs",
        "GB",
        "4 of 4 runs: at speeds of an NVIDIA H200 and of 16 loader processes per GPU, 4 measured",
    ):
        assert said in text


def test_a_plan_says_how_many_loader_processes_each_gpu_is_given():
    def processes(*asked):
        runs = [
            planned(compose_unpinned([*PAPER, *overrides]), number)
            for number, overrides in enumerate(asked)
        ]
        line = cost_text(runs, gpus=8, estimate=UNKNOWN).splitlines()[-1]
        return line.partition("of an NVIDIA H200")[2].partition(", ")[0]

    assert processes(["launch.workers=4"]) == " and of 4 loader processes per GPU"
    assert processes(["launch.workers=1"]) == " and of 1 loader process per GPU"
    assert processes(["launch.workers=4"], []) == " and of 4 to 16 loader processes per GPU"
    assert processes(["data.in_memory=true", "data.decoder=pil"]) == ""


def test_a_run_with_a_checkpoint_costs_what_is_left_of_it():
    config = compose_unpinned([*PAPER, "stem=conv"])
    half = Saved(step=50, total_steps=100)
    whole, rest = (
        cost_text([planned(config, 1, saved)], gpus=1, estimate=UNKNOWN) for saved in (None, half)
    )
    hours = [float(text.split()[1].replace(",", "")) for text in (whole, rest)]
    assert abs(hours[0] - 2 * hours[1]) <= 1


def test_checkpoints_of_dino_hold_a_teacher_too():
    plain, dino = (compose_unpinned([*PAPER, *more]) for more in (["ema=null"], ["recipe=dino"]))
    assert disk_bytes(dino) > disk_bytes(plain) > 0


def test_measured_speed_goes_before_published_speed():
    config = compose_unpinned([*PAPER, "launch=ddp8"])
    text = cost_text(
        [planned(config, 1)], gpus=8, estimate=lambda _: Estimate(3600.0 * 10, measured=True)
    )
    assert text.startswith("cost: 80 GPU-hours, 10h 00m on 8 GPUs")
    assert "1 of 1 runs: measured here" in text


def test_images_that_nobody_counted_are_said_to_be_unknown(tmp_path: Path):
    known = compose_unpinned(PAPER)
    config = compose_unpinned([*PAPER, "data=imagefolder", f"data.root={tmp_path}"])
    text = cost_text([planned(known, 1), planned(config, 2)], gpus=1, estimate=UNKNOWN)
    assert "and 1 runs of unknown length" in text
    assert "on 1 GPU;" in text
    alone = cost_text([planned(config, 2)], gpus=1, estimate=UNKNOWN)
    assert "unknown, nobody has counted the images" in alone


def test_without_published_speeds_the_hours_are_unknown_and_the_plan_says_how_to_get_some(tmp_path):
    text = cost_text(
        [planned(compose_unpinned(PAPER), 1)], gpus=8, estimate=UNKNOWN, bench=tmp_path
    )
    assert text.startswith("cost: GPU-hours unknown, no speed of a GPU is published (make gpu")
    assert "GB" in text


def test_published_speeds_that_are_cut_off_are_said_and_hinder_no_plan(tmp_path: Path):
    for path in FOLDER.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:3000])
    runs = [planned(compose_unpinned(PAPER), n) for n in range(2)]
    text = cost_text(runs, gpus=8, estimate=UNKNOWN, bench=tmp_path)
    assert text.startswith(f"cost: GPU-hours unknown, {tmp_path}/cpu-")
    assert "measure again" in text
    measured = {runs[0].run_id: Estimate(3600.0, measured=True)}
    estimate = lambda run: measured.get(run.run_id, UNKNOWN(run))  # noqa: E731
    first, *others = cost_text(runs, gpus=8, estimate=estimate, bench=tmp_path).splitlines()
    assert "cost: 8 GPU-hours and 1 runs of unknown length" in first
    assert any("line 8: " in line and "measure again" in line for line in others)
