"""A finite run is dead at its end, or for some windows in a row where that ends it; nothing else.

Losses are given per epoch of ten steps at 10 classes: chance is 2.303, a window is an epoch.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from scaledrelu.engine.windows import Rule, Stretch, judge_windows

CHANCE, ALIVE = 2.30, 0.7
EPOCHS = 100
STOPS = Rule(
    chance_loss=math.log(10), ratio=0.98, judge_step=150, window_steps=10, stop=True, patience=5,
    total_steps=10 * EPOCHS,
)  # fmt: skip
GOES_ON = replace(STOPS, stop=False)


def means(losses: Sequence[float], rule: Rule) -> list[float]:
    """Mean losses of the windows, from the losses of all steps: written down once more."""
    ends = [*range(rule.judge_step or rule.window_steps, rule.total_steps + 1, rule.window_steps)]
    ends = ends if ends and ends[-1] == rule.total_steps else [*ends, rule.total_steps]
    parts = [losses[max(0, end - rule.window_steps) : end] for end in ends]
    return [sum(part) / len(part) for part in parts]


def epochs(*parts: tuple[int, float]) -> list[float]:
    """Losses of all steps: ``(epochs, loss)``, one after the other."""
    return [loss for count, loss in parts for _ in range(10 * count)]


LATE_DEATH = epochs((20, ALIVE), (40, CHANCE), (40, ALIVE))  # at chance from epoch 20 to 60


def test_a_run_that_sits_at_chance_in_the_middle_is_stopped_by_patience() -> None:
    finding = judge_windows(means(LATE_DEATH, STOPS), STOPS)
    assert STOPS.end_of(finding.collapsed) == 250, "the fifth dead epoch is number 24"
    assert finding.in_a_row == 5


def test_the_same_run_is_no_crash_where_only_the_end_counts() -> None:
    finding = judge_windows(means(LATE_DEATH, GOES_ON), GOES_ON)
    assert finding.collapsed is None
    assert finding.stretches == (Stretch(200, 599, windows=40, left=True),)


@pytest.mark.parametrize("rule", [STOPS, GOES_ON])
def test_a_run_that_is_dead_at_its_end_has_crashed_however_shortly(rule: Rule) -> None:
    finding = judge_windows(means(epochs((99, ALIVE), (1, CHANCE)), rule), rule)
    assert rule.end_of(finding.collapsed) == rule.total_steps
    assert finding.stretches == (Stretch(990, 999, windows=1, left=False),)


@pytest.mark.parametrize("rule", [STOPS, GOES_ON])
@pytest.mark.parametrize(
    "losses",
    [
        epochs((14, CHANCE), (86, ALIVE)),  # dead before anybody looks
        epochs((30, ALIVE), (4, CHANCE), (66, ALIVE)),  # a dip shorter than the patience
        epochs(*[(1, CHANCE), (1, ALIVE)] * 50),  # alternating
        epochs(*[(4, CHANCE), (1, ALIVE)] * 20),
        epochs((100, 0.97 * math.log(10))),  # hovers below the limit
        epochs((99, 2.0), (1, 2.2)),
    ],
)
def test_dips_and_hovering_below_the_limit_are_no_crash(losses: list[float], rule: Rule) -> None:
    assert judge_windows(means(losses, rule), rule).collapsed is None


def test_a_loss_that_hovers_above_the_limit_is_a_crash_at_the_fifth_window() -> None:
    finding = judge_windows(means(epochs((100, 0.985 * math.log(10))), STOPS), STOPS)
    assert STOPS.end_of(finding.collapsed) == 150 + 4 * 10


def test_single_steps_above_the_limit_count_by_their_mean() -> None:
    noisy = [ALIVE if step % 10 else 9.0 for step in range(1000)]
    assert judge_windows(means(noisy, STOPS), STOPS).dead_windows == 0
    assert judge_windows(means([x + 0.8 for x in noisy], STOPS), STOPS).collapsed is not None


def test_two_stretches_are_two_and_only_the_left_ones_are_called_left() -> None:
    losses = epochs((30, ALIVE), (3, CHANCE), (60, ALIVE), (7, CHANCE))
    finding = judge_windows(means(losses, GOES_ON), GOES_ON)
    assert finding.stretches == (Stretch(300, 329, 3, left=True), Stretch(930, 999, 7, left=False))
    assert finding.dead_windows == 10


def test_a_run_that_learns_slowly_at_mini_is_judged_at_its_end() -> None:
    """Losses as in mini runs of patchify at 1e-3: 2.2 at 60 % of the schedule, 1.75 at the end."""
    rule = Rule(math.log(10), 0.9, math.ceil(0.6 * 352), 35, False, 5, 352)
    losses = [
        2.31 - 0.18 * (s / 211) if s < 211 else 2.13 - 0.4 * (s - 211) / 141 for s in range(352)
    ]
    finding = judge_windows(means(losses, rule), rule)
    assert finding.collapsed is None
    assert [stretch.left for stretch in finding.stretches] == [True]


def test_a_run_shorter_than_the_judge_point_has_one_window_at_its_end() -> None:
    for total in (1, 7, 100, 150):
        rule = replace(STOPS, total_steps=total, judge_step=min(150, total))
        assert [rule.ends_window(step) for step in range(1, total + 1)].count(True) == 1
        assert rule.ends_window(total)
        assert judge_windows([CHANCE], rule).collapsed == 0
        assert judge_windows([ALIVE], rule).collapsed is None


@pytest.mark.parametrize("seed", range(30))
def test_windows_and_their_judgement_are_what_a_second_reading_of_the_rule_finds(seed: int) -> None:
    draw = random.Random(seed)
    total = draw.randint(1, 120)
    rule = Rule(
        1.0, 0.5, draw.randint(0, total), draw.randint(1, 30), draw.random() < 0.5, 3, total
    )
    losses = [draw.choice((0.1, 0.9)) for _ in range(total)]
    found = means(losses, rule)
    assert rule.num_windows == len(found)
    assert [s for s in range(1, total + 1) if rule.ends_window(s)] == [
        rule.end_of(i) for i in range(len(found))
    ]
    for i, mean in enumerate(found):
        part = losses[rule.start_of(i) : rule.end_of(i)]
        assert sum(part) / len(part) == mean
    dead = [mean > 0.5 for mean in found]
    crashed = dead[-1] or (rule.stop and any(all(dead[i : i + 3]) for i in range(len(dead) - 2)))
    finding = judge_windows(found, rule)
    assert (finding.collapsed is not None) == crashed
    assert finding.dead_windows == sum(dead)
