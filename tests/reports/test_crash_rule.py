"""The sentence of a report says what the judge does: the same limit, the same windows."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from scaledrelu.config.compose import compose
from scaledrelu.config.places import CONF_DIR
from scaledrelu.reports.crash_rule import chance_of, crash_sentence
from scaledrelu.reports.footnotes import footnotes
from scaledrelu.tables.composer import Composer

EXTRA = {
    "volo": ("model=volo_d1",),
    "linear_probe": ("init=run", "init.run=deit-0123456789ab"),
    "reid": ("data.num_classes=7",),
}
RECIPES = ("deit", "volo", "dino", "reid", "linear_probe")


def composed(recipe: str, *overrides: str) -> dict:
    return compose([f"recipe={recipe}", *EXTRA.get(recipe, ()), *overrides])


def test_the_sentence_of_mini_names_the_end_of_the_run_and_the_limit() -> None:
    assert crash_sentence(composed("deit")) == (
        "A deit run counts as a crash as soon as a loss or, without a loss scaler, a gradient is "
        "not finite, or if the mean training loss of the last 10 % of the run lies above 0.9 x "
        "ln 10 = 2.07 (ln 10 is the loss of a uniform guess)."
    )


def test_the_sentence_of_the_paper_profile_names_the_epochs_in_a_row() -> None:
    assert crash_sentence(composed("deit", "profile=paper")) == (
        "A deit run counts as a crash as soon as a loss or, without a loss scaler, a gradient is "
        "not finite, or if the mean training loss lies above 0.98 x ln 1000 = 6.77 for 5 epochs in "
        "a row from 10 epochs after warm-up on, which ends the run, or in the last one (ln 1000 is "
        "the loss of a uniform guess)."
    )


def test_a_probe_at_mini_is_judged_by_its_finite_loss_alone_and_says_so() -> None:
    assert crash_sentence(composed("linear_probe")) == (
        "A linear_probe run counts as a crash as soon as a loss or, without a loss scaler, a "
        "gradient is not finite; one that has learned nothing is not a crash here, since the limit "
        "of the mean training loss of the last epoch, 1000 x ln 10 = 2302.59, is above a uniform "
        "guess's ln 10."
    )


def test_a_number_of_classes_that_is_counted_is_called_c_until_it_is_known() -> None:
    config = compose(["recipe=reid"])
    assert "identity loss of the last 10 % of the run lies above 0.9 x ln C (" in crash_sentence(
        config
    )
    assert "0.9 x ln 32 = 3.12" in crash_sentence(config, num_classes=32)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_level_of_chance_is_the_one_that_the_task_computes(recipe: str) -> None:
    from scaledrelu.runs.build import build_task

    config = composed(recipe, "profile=smoke")
    chance = chance_of(config, None)
    task = build_task(config, config.data.num_classes)
    assert chance.value == pytest.approx(task.chance_loss, rel=1e-12)
    assert (chance.loss == "identity loss") == (task.judged == "loss/id")


@pytest.mark.parametrize(
    ("overrides", "windows", "beginning"),
    [
        ("stop: true", "10 % of the run", "60 % of the run"),
        ("stop: true, window: 0.05, judge_at: 0.5", "5 % of the run", "50 % of the run"),
        (
            "stop: true, judge: after_warmup, judge_at: 10, window: 3",
            "3/300 of the run",
            "10/300 of the run after warm-up",
        ),
    ],
)
def test_the_windows_of_the_sentence_are_those_of_the_judge(
    overrides: str, windows: str, beginning: str
) -> None:
    from scaledrelu.runs.optimisation import judge_rule

    config = composed("deit", f"divergence={{{overrides}, patience: 4}}")
    sentence = crash_sentence(config)
    assert f"for 4 windows of {windows} in a row from {beginning} on" in sentence
    total, warmup = 6000, 0 if "%" in windows else 300
    schedule = SimpleNamespace(
        total_steps=total, warmup_steps=warmup, steps_in=lambda epochs: epochs * total / 300
    )
    rule = judge_rule(config.divergence, SimpleNamespace(chance_loss=math.log(10)), schedule)
    assert (rule.patience, rule.stop) == (4, True)
    assert rule.window_steps == round(share(windows) * total)
    assert rule.first_end == warmup + round(share(beginning) * total)


@pytest.mark.parametrize("profile", ["mini", "small"])
@pytest.mark.parametrize("recipe", ["deit", "volo", "dino", "reid"])
def test_a_profile_that_judges_at_the_end_alone_says_so_below_its_tables(
    recipe: str, profile: str, tmp_path: Path
) -> None:
    overrides = [f"recipe={recipe}", *EXTRA.get(recipe, ()), f"profile={profile}"]
    composed = Composer(tmp_path)(overrides)
    assert composed.config.divergence.stop is False
    lines = [x for x in footnotes([(composed, overrides)], CONF_DIR) if "divergence.stop" in x]
    assert len(lines) == 1
    assert lines[0].startswith("deviation: a run is never stopped and judged at its end alone")


def share(words: str) -> float:
    number, unit = re.match(r"([\d.]+)( %|/300)", words).groups()
    return float(number) / (100 if unit == " %" else 300)
