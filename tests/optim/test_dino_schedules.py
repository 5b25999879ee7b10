"""DINO's rate and weight decay per step equal the recorded official ones."""

import json
import math
from pathlib import Path

import pytest
from timm.models.vision_transformer import VisionTransformer

from scaledrelu.errors import ConfigError
from scaledrelu.optim.params import parameter_groups
from scaledrelu.optim.schedule import CosineSchedule, LrSchedule
from tests.helpers.curves import curve_with, effective_lr

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "schedules_dino.json").read_text())
SPOTS = GOLDEN["published_run_spot_values"]
PUBLISHED = {
    "lr_flag": 5e-4,
    "total_batch": 512,
    "min_lr": 1e-6,
    "epochs": 100,
    "warmup_epochs": 10,
}


def spec(**changes):
    fields = {
        "epochs": 100,
        "cooldown_epochs": 0,
        "unit": "step",
        "delay_epochs": 0,
        "min_lr": 1e-6,
        "min_lr_fraction": None,
        "warmup_shape": "linear",
        "warmup_epochs": 10,
        "start_lr": 0.0,
        "start_lr_fraction": None,
        "peak_lr": 1e-3,
        "cosine": "after_warmup",
    }
    return curve_with(**(fields | changes))


def schedule_of(case, steps_per_epoch):
    peak = effective_lr(case["lr_flag"], total_batch=case["total_batch"], reference_batch=256)
    names = ("epochs", "min_lr", "warmup_epochs")
    curve = spec(peak_lr=peak, **{name: case[name] for name in names})
    return LrSchedule(curve, run_epochs=case["epochs"], steps_per_epoch=steps_per_epoch)


def equals(expected):
    return pytest.approx(expected, rel=1e-9, abs=1e-12 if expected == 0 else 0)


CASES = pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['epochs']}epochs")


@CASES
def test_rate_of_every_step_equals_the_recorded_official_one(case):
    schedule = schedule_of(case, case["steps_per_epoch"])
    assert schedule.total_steps == len(case["lr_per_step"])
    assert schedule.warmup_steps == case["warmup_epochs"] * case["steps_per_epoch"]
    for step, expected in enumerate(case["lr_per_step"]):
        assert schedule.at(step) == equals(expected)


@CASES
def test_weight_decay_of_every_step_equals_the_recorded_official_one(case):
    steps = len(case["wd_per_step"])
    decay = CosineSchedule(case["weight_decay"], case["weight_decay_end"], steps)
    for step, expected in enumerate(case["wd_per_step"]):
        assert decay.at(step) == equals(expected)


def test_published_run_is_met_at_its_ends_and_turns():
    schedule = schedule_of(PUBLISHED, 2502)
    decay = CosineSchedule(0.04, 0.4, schedule.total_steps)
    for step, lr, wd in zip(SPOTS["step"], SPOTS["lr"], SPOTS["wd"], strict=True):
        assert schedule.at(step) == equals(lr)
        assert decay.at(step) == equals(wd)


def test_peak_is_used_twice_and_the_floor_never():
    schedule = LrSchedule(spec(), run_epochs=100, steps_per_epoch=7)
    rates = [schedule.at(step) for step in range(700)]
    assert [step for step, rate in enumerate(rates) if rate == 1e-3] == [69, 70]
    assert 1e-6 < rates[-1] < 1.1e-6


def test_a_shorter_run_rounds_its_warmup_to_whole_steps():
    schedule = LrSchedule(spec(warmup_epochs=15), run_epochs=3, steps_per_epoch=9)  # 4.05 steps
    assert schedule.warmup_steps == 4
    assert [schedule.at(step) for step in range(5)] == pytest.approx(
        [0, 1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3]
    )
    middle = 4 + 23 // 2  # of the 23 steps of the cosine
    expected = 1e-6 + 0.5 * (1e-3 - 1e-6) * (1 + math.cos(math.pi * 11 / 23))
    assert schedule.at(middle) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("without", [{"warmup_shape": "none"}, {"warmup_epochs": 0}], ids=str)
def test_without_warmup_the_cosine_starts_at_once(without):
    schedule = LrSchedule(spec(**without), run_epochs=5, steps_per_epoch=4)
    assert schedule.warmup_steps == 0
    assert schedule.at(0) == 1e-3 > schedule.at(1)


def test_warmup_of_one_step_stands_at_the_start_as_in_the_official_code():
    schedule = LrSchedule(spec(warmup_epochs=5), run_epochs=5, steps_per_epoch=4)
    assert schedule.warmup_steps == 1
    assert [schedule.at(0), schedule.at(1)] == [0.0, 1e-3]


@pytest.mark.parametrize(
    "wrong", [{"unit": "epoch"}, {"delay_epochs": 1}, {"cooldown_epochs": 10}], ids=str
)
def test_what_after_warmup_cannot_be_combined_with_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"needs schedule.unit=step") as caught:
        spec(**wrong)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"schedule.cosine=half; allowed: whole, after_war"):
        spec(cosine="half")


@pytest.mark.parametrize("decay_tokens", [False, True])
def test_tokens_decay_where_asked_and_nothing_else_changes(decay_tokens):
    vit = VisionTransformer(img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=2)
    names = {id(p): name for name, p in vit.named_parameters()}
    groups = parameter_groups(vit, 0.04, decay_tokens=decay_tokens)
    exempt, decaying = ({names[id(p)] for p in group["params"]} for group in groups)
    tokens = {"pos_embed", "cls_token"}
    assert exempt & tokens == (set() if decay_tokens else tokens)
    flat = {name for name, p in vit.named_parameters() if p.ndim == 1}
    assert exempt - tokens == flat
    assert exempt | decaying == set(names.values())
    assert [group["decays"] for group in groups] == [False, True]
