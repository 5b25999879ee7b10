"""The judge: non-finite at once and at its true step, collapsed by rule, otherwise silent."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from scaledrelu.engine.divergence import HISTORY, Judge, Kind
from scaledrelu.engine.windows import Rule
from scaledrelu.errors import CheckpointError

CPU = torch.device("cpu")
RULE = Rule(
    chance_loss=math.log(10), ratio=0.9, judge_step=60, window_steps=10, stop=False, patience=3,
    total_steps=105,
)  # fmt: skip
STOPS = replace(RULE, stop=True)


def feed(judge: Judge, losses: list[float], start: int = 0) -> None:
    for step, loss in enumerate(losses, start):
        value = torch.tensor(loss)
        judge.see_losses(step, value, torch.isfinite(value))
        judge.see_update(step, torch.tensor(1.0), 0.1)


def test_a_non_finite_loss_is_a_crash_at_its_true_step() -> None:
    judge = Judge(RULE, device=CPU, read_every=50)
    feed(judge, [1.0, 1.0, float("nan"), 1.0])
    verdict = judge.read(4)
    assert verdict is not None
    assert (verdict.kind, verdict.step) == (Kind.NON_FINITE, 2)
    assert judge.must_stop()


@pytest.mark.parametrize("later", [0, 3, HISTORY + 7])  # steps that the host reads it afterwards
@pytest.mark.parametrize(
    ("loss", "norm", "says"),
    [
        (math.nan, math.nan, "the loss was not finite at step 5"),
        (math.inf, 1.0, "the loss was not finite at step 5"),
        (3.67922, math.inf, "the gradient norm was inf at step 5, the judged loss 3.679"),
        (829399.75, math.nan, "the gradient norm was nan at step 5, the judged loss 8.294e+05"),
        # A part of the loss that is not judged, say.
        (1.5, 2.5, "a loss or gradient was not finite at step 5"),
    ],
)
def test_the_reason_is_the_value_that_was_not_finite(loss, norm, says, later) -> None:
    judge = Judge(RULE, device=CPU, read_every=50)
    feed(judge, [1.0] * 5)
    judge.see_losses(5, torch.tensor(loss), torch.tensor(False))
    judge.see_update(5, torch.tensor(norm), 0.1)
    feed(judge, [math.nan if step % 2 else 1.0 for step in range(later)], start=6)
    verdict = judge.read(6 + later)
    assert (verdict.kind, verdict.step, verdict.reason) == (Kind.NON_FINITE, 5, says)


def test_the_flag_is_sticky() -> None:
    judge = Judge(RULE, device=CPU, read_every=1)
    feed(judge, [float("inf")] + [0.5] * 30)
    assert bool(judge.flag)


def test_a_flat_loss_at_chance_is_collapsed_at_the_end_and_only_there() -> None:
    judge = Judge(RULE, device=CPU, read_every=1)
    feed(judge, [2.25] * 104)
    assert judge.read(104) is None
    feed(judge, [2.25], start=104)
    verdict = judge.read(105)
    assert (verdict.kind, verdict.step) == (Kind.COLLAPSED, 104)
    assert "mean training loss 2.250 over the last 10 steps above 2.072" in verdict.reason
    assert not judge.must_stop(), "the run is at its end and wants to be evaluated"


def test_dead_windows_in_a_row_stop_a_run_at_the_end_of_the_last_of_them() -> None:
    judge = Judge(STOPS, device=CPU, read_every=1)
    for step in range(80):
        assert judge.read(step) is None
        feed(judge, [2.3], start=step)
    verdict = judge.read(80)
    assert (verdict.kind, verdict.step) == (Kind.COLLAPSED, 79)
    assert "the last of 3 such windows in a row" in verdict.reason
    assert judge.must_stop()


def test_a_learning_run_is_not_collapsed() -> None:
    judge = Judge(STOPS, device=CPU, read_every=1)
    feed(judge, [2.3] * 50 + [2.0] * 55)
    assert judge.read(105) is None
    assert judge.finding.dead_windows == 0


def test_only_the_window_counts() -> None:
    judge = Judge(RULE, device=CPU, read_every=1)
    feed(judge, [1.0] * 95 + [2.3] * 10)
    assert judge.read(105) is not None, "the last ten steps are at chance, whatever the alignment"


def test_the_means_are_those_of_the_windows() -> None:
    judge = Judge(RULE, device=CPU, read_every=1)
    losses = [0.001 * step**2 for step in range(105)]
    feed(judge, losses)
    judge.read(105)
    windows = [losses[end - 10 : end] for end in (60, 70, 80, 90, 100, 105)]
    assert judge.means == pytest.approx([sum(part) / 10 for part in windows], rel=1e-6)


@pytest.mark.parametrize("rule", [RULE, STOPS])
@pytest.mark.parametrize("cut", [1, 55, 60, 63, 75, 101, 104, 105])
def test_a_judge_resumed_anywhere_gives_the_same_verdict_bit_by_bit(rule: Rule, cut: int) -> None:
    losses = [2.2 + 0.001 * (step * 7 % 13) for step in range(105)]
    whole, first, second = (Judge(rule, device=CPU, read_every=1) for _ in range(3))
    feed(whole, losses)
    feed(first, losses[:cut])
    first.read(cut)
    second.load_state_dict(first.state_dict())
    feed(second, losses[cut:], start=cut)
    assert second.read(105) == whole.read(105)
    assert second.means == whole.means
    assert second.last_observations() == whole.last_observations()


def test_the_state_of_a_judge_with_another_rule_is_refused_in_one_line() -> None:
    old = {"flag": torch.tensor(False), "first": torch.tensor(-1), "window": torch.tensor(0.0)}
    longer = Judge(replace(RULE, window_steps=20), device=CPU, read_every=1).state_dict()
    for state in (old, longer):
        with pytest.raises(CheckpointError, match="under another crash rule") as caught:
            Judge(RULE, device=CPU, read_every=1).load_state_dict(state)
        assert "\n" not in str(caught.value)


def test_a_gpu_is_read_rarely_and_wherever_a_window_ends() -> None:
    judge = Judge(RULE, device=torch.device("meta"), read_every=50)
    due = [step for step in range(1, 106) if judge.due(step)]
    assert due == [50, 60, 70, 80, 90, 100, 105]


def test_taking_in_a_loss_never_waits_for_the_device() -> None:
    """A tensor of the meta device has no value: reading one is an error."""
    judge = Judge(RULE, device=torch.device("meta"), read_every=50)
    loss = torch.zeros((), device="meta")
    for step in range(105):
        judge.see_losses(step, loss, loss == 0)
        judge.see_update(step, loss, 0.1)
    with pytest.raises(RuntimeError, match="meta"):
        judge.read(105)


def test_the_last_observations_are_the_last_and_in_order() -> None:
    judge = Judge(RULE, device=CPU, read_every=1)
    feed(judge, [float(i) for i in range(HISTORY + 7)])
    steps = [row["step"] for row in judge.last_observations()]
    assert steps == list(range(7, HISTORY + 7))
