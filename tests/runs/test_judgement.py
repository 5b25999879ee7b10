"""A stretch at chance that a run leaves again is a remark in its result, in epochs."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from scaledrelu.engine.divergence import Judge
from scaledrelu.engine.windows import Rule
from scaledrelu.runs.judgement import describe_judgement
from scaledrelu.runs.result import Outcome, Result

PER_EPOCH = 10
RULE = Rule(2.0, 0.9, 150, 10, stop=False, patience=5, total_steps=1000)


def judged(*parts: tuple[int, float], rule: Rule = RULE) -> dict:
    """Description of a run with the losses ``(epochs, loss)``."""
    judge = Judge(rule, device=torch.device("cpu"), read_every=1)
    losses = [loss for epochs, loss in parts for _ in range(PER_EPOCH * epochs)]
    for step, loss in enumerate(losses):
        judge.see_losses(step, torch.tensor(loss), torch.tensor(True))
        judge.read(step + 1)
    loader = SimpleNamespace(steps_per_epoch=PER_EPOCH)
    return describe_judgement(SimpleNamespace(judge=judge, loader=loader))


def test_a_stretch_that_was_left_is_told_with_its_epochs() -> None:
    found = judged((20, 0.5), (40, 1.9), (40, 0.5))
    assert found["dead_stretches"] == [
        {
            "first_step": 200,
            "last_step": 599,
            "first_epoch": 20,
            "last_epoch": 59,
            "windows": 40,
            "left": True,
        }
    ]
    assert found["remark"].startswith(
        "mean training loss above 0.9 x 2.000 = 1.800 in epochs 20 to 60, and below it afterwards"
    )
    assert (found["dead_windows"], found["windows"], found["last_mean"]) == (40, 86, 0.5)


def test_a_run_that_never_was_dead_or_still_is_has_no_remark() -> None:
    assert judged((100, 0.5))["remark"] is None
    assert judged((60, 0.5), (40, 1.9))["remark"] is None
    assert judged((60, 0.5), (40, 1.9))["last_mean"] > 1.8


def test_a_run_that_ended_before_its_first_window_has_no_mean() -> None:
    found = judged((3, 0.5))
    assert (found["last_mean"], found["windows"], found["dead_stretches"]) == (None, 0, [])


def test_a_judgement_comes_back_from_a_result_and_older_results_have_none() -> None:
    result = Result("deit-1", Outcome.OK, {}, judgement=judged((100, 0.5)), data={"train": 1})
    assert Result.from_json(result.to_json()) == result
    older = Result.from_json(
        '{"run_id": "deit-1", "outcome": "ok", "metrics": {}, "crash": null, "provenance": {}, '
        '"seconds": 1}'
    )
    assert (older.judgement, older.data) == (None, {})
