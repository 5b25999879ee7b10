"""The judge: non-finite at once and at its true step, collapsed by rule, otherwise silent."""

from __future__ import annotations

import math

import torch

from scaledrelu.engine.divergence import HISTORY, Judge, Kind, Rule

CPU = torch.device("cpu")
RULE = Rule(chance_loss=math.log(10), ratio=0.9, judge_step=60, window_steps=10, stop=False)


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


def test_the_flag_is_sticky() -> None:
    judge = Judge(RULE, device=CPU, read_every=1)
    feed(judge, [float("inf")] + [0.5] * 30)
    assert bool(judge.flag)


def test_a_flat_loss_at_chance_is_collapsed_and_goes_on_where_the_rule_says_so() -> None:
    judge = Judge(RULE, device=CPU, read_every=1)
    feed(judge, [2.25] * 59)
    assert judge.read(59) is None, "judged only at its step"
    feed(judge, [2.25], start=59)
    verdict = judge.read(60)
    assert verdict is not None
    assert verdict.kind == Kind.COLLAPSED
    assert not judge.must_stop()


def test_a_learning_run_is_not_collapsed() -> None:
    judge = Judge(RULE, device=CPU, read_every=1)
    feed(judge, [2.3] * 50 + [2.0] * 10)
    assert judge.read(60) is None


def test_only_the_window_counts() -> None:
    judge = Judge(RULE, device=CPU, read_every=1)
    feed(judge, [1.0] * 50 + [2.3] * 10)
    verdict = judge.read(60)
    assert verdict is not None, "the ten steps before the judgement are at chance"


def test_the_paper_scale_rule_stops_a_collapsed_run() -> None:
    judge = Judge(
        Rule(chance_loss=math.log(10), ratio=0.98, judge_step=5, window_steps=5, stop=True),
        device=CPU, read_every=1,
    )  # fmt: skip
    feed(judge, [2.3] * 5)
    judge.read(5)
    assert judge.must_stop()


def test_a_resumed_judge_gives_the_same_verdict() -> None:
    whole, first, second = (Judge(RULE, device=CPU, read_every=1) for _ in range(3))
    losses = [2.2] * 60
    feed(whole, losses)
    feed(first, losses[:55])
    second.load_state_dict(first.state_dict())
    feed(second, losses[55:], start=55)
    assert second.read(60) == whole.read(60)
    assert second.last_observations() == whole.last_observations()


def test_a_gpu_is_read_rarely_and_at_the_judgement() -> None:
    judge = Judge(RULE, device=torch.device("meta"), read_every=50)
    assert [step for step in range(1, 121) if judge.due(step)] == [50, 60, 100]


def test_the_last_observations_are_the_last_and_in_order() -> None:
    judge = Judge(RULE, device=CPU, read_every=1)
    feed(judge, [float(i) for i in range(HISTORY + 7)])
    steps = [row["step"] for row in judge.last_observations()]
    assert steps == list(range(7, HISTORY + 7))
