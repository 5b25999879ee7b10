import json
import math
from pathlib import Path

import pytest
import torch

from scaledrelu.errors import ConfigError
from scaledrelu.optim.schedule import LrSchedule
from tests.helpers.curves import curve_with, effective_lr, run_epochs, warmup_length

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "lr_deit.json").read_text())

# Recipes A.4, table of effective rates: (lr flag, warm-up) -> printed values by epoch.
PRINTED = {
    (1e-3, 5): "0:1e-6 1:1e-6 2:4.008e-4 3:8.006e-4 4:1.2004e-3 5:1.6002e-3 6:1.9986e-3 7:1.9980e-3"
    " 20:1.9804e-3 50:1.8719e-3 150:1.0154e-3 299:1.0218e-5",
    (5e-4, 5): "0:1e-6 1:1e-6 2:2.008e-4 3:4.006e-4 4:6.004e-4 5:8.002e-4 6:9.9932e-4 7:9.9902e-4"
    " 20:9.9023e-4 50:9.3625e-4 150:5.1018e-4 299:1.0109e-5",
    (1e-4, 5): "0:1e-6 1:1e-6 2:4.080e-5 3:8.060e-5 4:1.204e-4 5:1.602e-4 6:1.9987e-4 7:1.9981e-4"
    " 20:1.9813e-4 50:1.8777e-4 150:1.0599e-4 299:1.0021e-5",
    (1e-3, 20): "0:1e-6 1:1e-6 2:1.0095e-4 3:2.009e-4 4:3.0085e-4 5:4.008e-4 6:5.0075e-4"
    " 7:6.007e-4 20:1.9000e-3 21:1.9783e-3 50:1.8719e-3 150:1.0154e-3 299:1.0218e-5",
    (1e-3, 0): "0:2.0e-3 1:2.0e-3 2:1.9999e-3 3:1.9998e-3 4:1.9995e-3 5:1.9991e-3 6:1.9986e-3"
    " 7:1.9980e-3 20:1.9804e-3 50:1.8719e-3 150:1.0154e-3 299:1.0218e-5",
}


DEIT = {  # at lr flag 1e-3
    "epochs": 300,
    "cooldown_epochs": 0,
    "unit": "epoch",
    "delay_epochs": 1,
    "min_lr": 1e-5,
    "min_lr_fraction": None,
    "cosine": "whole",
    "warmup_shape": "linear",
    "warmup_epochs": 5,
    "start_lr": 1e-6,
    "start_lr_fraction": None,
    "peak_lr": 2e-3,
}


def spec(**changes):
    return curve_with(**(DEIT | changes))


def deit(lr_flag, warmup_epochs, epochs=300, steps_per_epoch=3):
    peak = effective_lr(lr_flag, total_batch=1024, reference_batch=512)
    curve = spec(peak_lr=peak, warmup_epochs=warmup_epochs, epochs=epochs)
    return LrSchedule(curve, run_epochs=epochs, steps_per_epoch=steps_per_epoch)


@pytest.mark.parametrize(
    "case",
    GOLDEN["cases"],
    ids=lambda c: f"{c['lr_flag']:g}-warmup{c['warmup_epochs']}-of{c['epochs']}",
)
def test_epoch_curve_equals_the_recorded_official_one(case):
    schedule = deit(case["lr_flag"], case["warmup_epochs"], case["epochs"])
    for epoch, expected in enumerate(case["lr_per_epoch"]):
        for step in (3 * epoch, 3 * epoch + 2):  # first and last step of the epoch
            assert schedule.at(step) == pytest.approx(expected, rel=1e-9)
    assert len(case["lr_per_epoch"]) * 3 == schedule.total_steps


@pytest.mark.parametrize("resumed_at", GOLDEN["resume"]["by_resume_epoch"])
def test_resumed_run_follows_the_uninterrupted_curve(resumed_at):
    # The official first resumed epoch is off by one (recipes A.4); a pure function cannot be.
    runs = GOLDEN["resume"]["by_resume_epoch"][resumed_at]
    schedule = deit(5e-4, 5, epochs=12)
    for epoch, expected in runs["full"]:
        assert schedule.at(epoch * 3) == pytest.approx(expected, rel=1e-9)
    assert runs["resumed"][0][1] != pytest.approx(schedule.at(int(resumed_at) * 3), rel=1e-6)
    assert runs["resumed"][1][1] == pytest.approx(schedule.at((int(resumed_at) + 1) * 3), rel=1e-9)


@pytest.mark.parametrize("row", PRINTED, ids=str)
def test_table_of_effective_rates_is_met_to_its_printed_digits(row):
    schedule = deit(*row, steps_per_epoch=1251)
    for entry in PRINTED[row].split():
        epoch, printed = entry.split(":")
        mantissa, exponent = printed.split("e")
        unit = 10.0 ** (int(exponent) - len(mantissa.partition(".")[2]))
        lr = schedule.at(int(epoch) * 1251)
        assert abs(lr - float(printed)) <= 0.5000001 * unit, (epoch, lr, printed)


def test_peak_is_scaled_and_start_and_floor_are_not():
    schedule = deit(1e-3, 5)
    rates = [schedule.at(3 * epoch) for epoch in range(300)]
    assert rates[0] == 1e-6
    assert 1.9e-3 < max(rates) <= 2e-3
    assert 1e-5 < rates[-1] < 1.1e-5


@pytest.mark.parametrize("delay", [0, 1, 2])
def test_delay_shifts_the_curve_by_whole_epochs(delay):
    plain = LrSchedule(spec(delay_epochs=0), run_epochs=300, steps_per_epoch=2)
    delayed = LrSchedule(spec(delay_epochs=delay), run_epochs=300, steps_per_epoch=2)
    for epoch in (0, 1, 2, 5, 6, 7, 100, 299):
        assert delayed.at(2 * epoch) == plain.at(2 * max(0, epoch - delay))


@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize("without", [{"warmup_shape": "none"}, {"warmup_epochs": 0}], ids=str)
def test_no_warmup_starts_at_the_peak(unit, without):
    schedule = LrSchedule(spec(unit=unit, **without), run_epochs=300, steps_per_epoch=7)
    assert schedule.at(0) == 2e-3
    assert schedule.warmup_steps == 0
    assert max(schedule.at(s) for s in range(0, schedule.total_steps, 5)) == 2e-3


def test_cooldown_is_trained_at_the_floor():
    for unit in ("epoch", "step"):
        curve = spec(epochs=10, cooldown_epochs=5, unit=unit, delay_epochs=0, warmup_epochs=2)
        full = LrSchedule(curve, run_epochs=15, steps_per_epoch=4)
        assert [full.at(s) for s in range(40, 60)] == [1e-5] * 20
        assert full.at(39) > 1e-5
        halved = LrSchedule(curve, run_epochs=5, steps_per_epoch=6)  # a third of the epochs
        assert halved.at(24) == 1e-5
        assert halved.at(17) > 1e-5


def test_step_unit_walks_the_whole_curve_in_fewer_steps():
    curve = spec(unit="step", delay_epochs=0, min_lr=None, min_lr_fraction=0.01, warmup_epochs=20)
    schedule = LrSchedule(curve, run_epochs=16, steps_per_epoch=22)
    assert schedule.total_steps == 352
    assert schedule.at(0) == 1e-6
    assert schedule.at(176) == pytest.approx((2e-3 + 2e-5) / 2)  # the middle of the cosine
    for step in (24, 100, 351):
        angle = math.pi * step / 352
        expected = 2e-5 + 0.5 * (2e-3 - 2e-5) * (1 + math.cos(angle))
        assert schedule.at(step) == pytest.approx(expected, rel=1e-12)
    assert schedule.at(23) == pytest.approx(1e-6 + (23 * 300 / 352) / 20 * (2e-3 - 1e-6))
    assert schedule.warmup_steps == 24  # 20 of 300 epochs = 23.5 of 352 steps


@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize(("epochs", "per_epoch", "delay"), [(300, 3, 1), (30, 11, 0), (7, 5, 2)])
def test_warmup_steps_counts_the_updates_before_the_cosine(unit, epochs, per_epoch, delay):
    curve = spec(unit=unit, delay_epochs=delay, warmup_epochs=40, start_lr=0.0, peak_lr=40.0)
    schedule = LrSchedule(curve, run_epochs=epochs, steps_per_epoch=per_epoch)
    finished = [step if unit == "step" else step // per_epoch * per_epoch for step in range(300)]
    positions = [max(0, step * 300 / (epochs * per_epoch) - delay) for step in finished]
    on_the_line = [position < 40 for position in positions[: schedule.total_steps]]
    assert schedule.warmup_steps == sum(on_the_line)
    last, first = schedule.warmup_steps - 1, schedule.warmup_steps
    assert schedule.at(last) == pytest.approx(positions[last])  # slope 1: rate = position
    assert schedule.at(first) == curve.value(positions[first]) < 40.0


def test_warmup_longer_than_the_run_counts_every_step():
    schedule = deit(5e-4, 10, epochs=8)
    assert schedule.warmup_steps == schedule.total_steps == 24


def test_paper_epoch_measures_the_way_whatever_the_unit():
    for unit in ("epoch", "step"):
        schedule = LrSchedule(spec(unit=unit), run_epochs=16, steps_per_epoch=22)
        assert schedule.paper_epoch(0) == 0
        assert schedule.paper_epoch(352) == 300
        assert schedule.paper_epoch(176) == 150
        assert schedule.steps_in(150) == 176
        assert [schedule.epoch_of(s) for s in (0, 21, 22, 351)] == [0, 0, 1, 15]


def test_rate_is_a_pure_function_of_the_step():
    schedule = deit(1e-3, 5)
    forwards = [schedule.at(s) for s in range(900)]
    assert [schedule.at(s) for s in reversed(range(900))] == forwards[::-1]


@pytest.mark.parametrize(
    ("base", "reference", "scale", "expected"),
    [
        (1e-4, 512, 1, 2e-4),
        (5e-4, 512, 1, 1e-3),
        (1e-3, 512, 1, 2e-3),
        (1e-3, 512, 4, 8e-3),
        (5e-4, 256, 1, 2e-3),
        (1.6e-3, None, 1, 1.6e-3),
    ],
)
def test_effective_lr_follows_the_scripts(base, reference, scale, expected):
    found = effective_lr(base, total_batch=1024, reference_batch=reference, lr_scale=scale)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("profile", "expected"),
    [("mini", [8e-4, 4e-3, 8e-3]), ("paper", [2e-4, 1e-3, 2e-3])],
)
def test_composed_profiles_reach_their_rates(profile, expected):
    from scaledrelu.config.compose import compose
    from scaledrelu.runs.optimisation import build_schedule

    for base, rate in zip((1e-4, 5e-4, 1e-3), expected, strict=True):
        config = compose([f"profile={profile}", f"lr.base={base}", "warmup.epochs=20"])
        schedule = build_schedule(config, steps_per_epoch=22)
        assert schedule.curve.peak_lr == pytest.approx(rate, rel=1e-12)
        assert max(map(schedule.at, range(schedule.total_steps))) == pytest.approx(rate, rel=0.05)
        assert schedule.total_steps == {"mini": 352, "paper": 6600}[profile]
        assert schedule.curve.rise_epochs == {"mini": 80, "paper": 20}[profile]
        assert schedule.curve.floor_lr == pytest.approx(rate / 100 if profile == "mini" else 1e-5)


@pytest.mark.parametrize(
    ("epochs", "scale", "expected"),
    [(300, 1.0, 300), (300, 16 / 300, 16), (310, 0.1, 31), (1, 0.1, 1)],
)
def test_run_epochs_is_at_least_one(epochs, scale, expected):
    assert run_epochs(epochs, scale) == expected


def test_zero_warmup_stays_zero_at_every_scale():
    assert [warmup_length(e, 4.0) for e in (0, 5, 20)] == [0, 20, 80]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"unit": "steps"}, "schedule.unit=steps; did you mean 'step'"),
        ({"warmup_shape": "cosine"}, "warmup.shape=cosine.*allowed: linear, none"),
        ({"epochs": 0}, "schedule.epochs=0: must lie in"),
        ({"warmup_epochs": -1}, "warmup.epochs=-1: must be at least 0"),
        ({"delay_epochs": -2}, "schedule.delay_epochs=-2: must lie in .-1,"),
        ({"min_lr": None}, "exactly one of min_lr and"),
        ({"min_lr_fraction": 0.01}, "exactly one of min_lr and"),
        ({"min_lr": -1e-5}, "schedule.min_lr=-1e-05"),
        ({"start_lr": None}, "warmup: set exactly one of start_lr and start_lr_fraction"),
        ({"start_lr_fraction": 0.01}, "warmup: set exactly one of start_lr and"),
        ({"start_lr": None, "start_lr_fraction": -0.1}, "warmup.start_lr_fraction=-0.1"),
    ],
    ids=str,
)
def test_impossible_schedule_is_refused_in_one_line(wrong, says):
    with pytest.raises(ConfigError, match=says) as caught:
        spec(**wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: run_epochs(300, 0.0),
        lambda: warmup_length(-5, 1.0),
        lambda: warmup_length(5, 0.0),
        lambda: effective_lr(-1e-3, total_batch=1024, reference_batch=512),
        lambda: effective_lr(1e-3, total_batch=0, reference_batch=512),
        lambda: effective_lr(1e-3, total_batch=1024, reference_batch=0),
        lambda: effective_lr(1e-3, total_batch=1024, reference_batch=512, lr_scale=0),
    ],
)
def test_impossible_scales_are_refused(call):
    with pytest.raises(ConfigError):
        call()


def test_volo_runs_its_310_epochs_at_the_official_rates_without_a_delay() -> None:
    from scaledrelu.config.compose import compose
    from scaledrelu.runs.optimisation import build_schedule

    config = compose(["recipe=volo", "model=volo_d1", "profile=paper", "launch=local"])
    schedule = build_schedule(config, 1251)
    assert schedule.run_epochs == 310
    rates = {epoch: schedule.at(epoch * 1251) for epoch in (0, 1, 19, 20, 300, 309)}
    printed = {0: 1e-6, 1: 8.095e-5, 19: 1.520e-3, 20: 1.583e-3, 300: 1e-5, 309: 1e-5}
    assert rates == pytest.approx(printed, rel=5e-4)  # recipes B.3, to its printed digits
    assert schedule.at(1251 - 1) == rates[0]


# Recipes D.2: peak rate -> rates of epochs counted from 1, as printed.
PRINTED_REID = {
    1.6e-3: "1:3.33e-4 2:6.50e-4 3:9.66e-4 4:1.28e-3 5:1.593e-3 60:8.02e-4 120:3.2e-6",
    5e-2: "1:1.04e-2 2:2.03e-2 3:3.02e-2 4:4.01e-2 5:4.98e-2 60:2.5e-2 120:1.0e-4",
}
REID = {
    "epochs": 120,
    "delay_epochs": -1,
    "min_lr": None,
    "min_lr_fraction": 0.002,
    "start_lr": None,
    "start_lr_fraction": 0.01,
}


def reid(peak, **changes):
    curve = spec(**(REID | {"peak_lr": peak} | changes))
    return LrSchedule(curve, run_epochs=120, steps_per_epoch=4)


@pytest.mark.parametrize("peak", PRINTED_REID)
def test_reid_meets_the_printed_rates_counting_its_epochs_from_one(peak):
    schedule = reid(peak)
    for entry in PRINTED_REID[peak].split():
        epoch, printed = entry.split(":")
        mantissa, exponent = printed.split("e")
        unit = 10.0 ** (int(exponent) - len(mantissa.partition(".")[2]))
        for step in (4 * int(epoch) - 4, 4 * int(epoch) - 1):  # first and last of the epoch
            lr = schedule.at(step)
            assert abs(lr - float(printed)) <= 0.5000001 * unit, (epoch, lr, printed)
    assert schedule.total_steps == 480


@pytest.mark.parametrize("warmup", [5, 20])
@pytest.mark.parametrize("peak", PRINTED_REID)
def test_rates_of_biases_follow_a_scheduler_whose_start_and_floor_are_scalars(peak, warmup):
    from timm.scheduler import CosineLRScheduler

    weight, bias = (torch.zeros(1, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [weight]}, {"params": [bias], "lr": 2 * peak}], lr=peak)
    official = CosineLRScheduler(
        optimizer, t_initial=120, lr_min=0.002 * peak, warmup_lr_init=0.01 * peak, warmup_t=warmup
    )
    ours = reid(peak, warmup_epochs=warmup)
    for epoch in range(1, 121):
        official.step(epoch)
        for group, factor in zip(optimizer.param_groups, (1.0, 2.0), strict=True):
            rate = ours.at(4 * epoch - 2, peak_factor=factor)
            assert rate == pytest.approx(group["lr"], rel=1e-12), (epoch, factor)


def test_biases_get_not_quite_twice_the_rate_in_epoch_1_and_the_same_at_the_end():
    schedule = reid(1.6e-3)
    assert schedule.at(0) == pytest.approx(3.328e-4, rel=1e-12)
    assert schedule.at(0, peak_factor=2.0) == pytest.approx(6.528e-4, rel=1e-12)
    assert schedule.at(479) == schedule.at(479, peak_factor=2.0) == pytest.approx(3.2e-6)
    middle = schedule.at(240, peak_factor=2.0) / schedule.at(240)
    assert 1.99 < middle < 2


def test_a_factor_moves_the_peak_of_a_cosine_after_the_warmup_too():
    curve = spec(
        unit="step", delay_epochs=0, cosine="after_warmup", start_lr=None, start_lr_fraction=0.01
    )
    schedule = LrSchedule(curve, run_epochs=300, steps_per_epoch=3)
    assert schedule.at(0) == schedule.at(0, peak_factor=2.0) == 0.01 * 2e-3
    peaks = [schedule.at(15, peak_factor=factor) for factor in (1.0, 2.0)]
    assert peaks == [2e-3, 4e-3]


@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize(("epochs", "per_epoch"), [(120, 4), (12, 7)])
@pytest.mark.parametrize("warmup", [0.5, 5, 20])
def test_warmup_steps_are_fewer_where_the_curve_starts_an_epoch_ahead(
    unit, epochs, per_epoch, warmup
):
    curve = spec(**(REID | {"unit": unit, "warmup_epochs": warmup}))
    schedule = LrSchedule(curve, run_epochs=epochs, steps_per_epoch=per_epoch)
    finished = [s if unit == "step" else s // per_epoch * per_epoch for s in range(480)]
    places = [1 + s * 120 / schedule.total_steps for s in finished[: schedule.total_steps]]
    assert schedule.warmup_steps == sum(place < warmup for place in places)
