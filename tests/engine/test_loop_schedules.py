"""The loop writes scheduled weight decay into the groups that decay, and the task's scalars."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from scaledrelu.optim.params import parameter_groups, set_lr, set_weight_decay
from scaledrelu.optim.schedule import CosineSchedule, LrSchedule
from tests.helpers.curves import curve_with
from tests.helpers.loop_toys import TOTAL, build, go

DECAY = CosineSchedule(0.04, 0.4, TOTAL)


def test_only_the_group_that_decays_follows_the_schedule():
    optimizer = torch.optim.AdamW(parameter_groups(nn.Linear(3, 2), 0.0), lr=0.1)
    set_weight_decay(optimizer, DECAY, 5)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.0, DECAY.at(5)]
    set_weight_decay(optimizer, None, 6)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.0, DECAY.at(5)]


def test_a_factor_goes_into_the_curve_of_its_group():
    curve = curve_with(
        epochs=10, cooldown_epochs=0, unit="epoch", delay_epochs=0, min_lr=0.01, cosine="whole",
        min_lr_fraction=None, warmup_shape="linear", warmup_epochs=4, start_lr=0.1,
        start_lr_fraction=None, peak_lr=0.5,
    )  # fmt: skip
    schedule = LrSchedule(curve, run_epochs=10, steps_per_epoch=1)
    groups = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    groups[1]["peak_factor"] = 2.0
    optimizer = torch.optim.SGD(groups, lr=1.0)
    assert set_lr(optimizer, schedule, 2) == pytest.approx(0.3)  # half of the way from 0.1
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.3, 0.55])


def watched(folder, stop_after=None, **changes):
    """Train with every step's weight decay noted."""
    run, seen = replace(build(), **changes), []
    run.optimizer.param_groups[0]["decays"] = True
    step = run.optimizer.step
    run.optimizer.step = lambda *a, **k: (
        seen.append(run.optimizer.param_groups[0]["weight_decay"]),
        step(*a, **k),
    )[1]
    go(run, folder, stop_after)
    return seen


def test_every_step_decays_by_its_own_value_also_after_a_resume(tmp_path):
    expected = [DECAY.at(step) for step in range(TOTAL)]
    assert watched(tmp_path / "whole", weight_decay=DECAY) == expected
    first = watched(tmp_path / "cut", stop_after=5, weight_decay=DECAY)
    second = watched(tmp_path / "cut", weight_decay=DECAY)
    assert 0 < len(first) < TOTAL
    assert first + second == expected
    assert watched(tmp_path / "plain") == [0.05] * TOTAL


def test_scalars_of_the_task_are_written_with_the_loss(tmp_path):
    go(build(), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    written = [row for row in rows if "train/loss" in row]
    assert len(written) == TOTAL // 3
    assert all(0 <= row["train/accuracy"] <= 1 for row in written)


def test_the_judge_reads_the_part_of_the_loss_that_the_task_names(tmp_path):
    run = build()
    run.task.judged = "accuracy"
    ending = go(run, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    last = run.judge.last_observations()[-1]["loss"]
    assert last == next(r["train/accuracy"] for r in rows[::-1] if "train/accuracy" in r)
    assert ending.verdict is None or ending.verdict.step == run.judge.rule.judge_step
