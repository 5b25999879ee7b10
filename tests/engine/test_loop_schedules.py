"""The loop writes scheduled weight decay into the groups that decay, and the task's scalars."""

import json
from dataclasses import replace

import torch
from loop_toys import TOTAL, build, go
from torch import nn

from scaledrelu.engine.hyper import set_lr, set_weight_decay
from scaledrelu.optim.cosine import CosineSchedule
from scaledrelu.optim.params import parameter_groups

DECAY = CosineSchedule(0.04, 0.4, TOTAL)


def test_only_the_group_that_decays_follows_the_schedule():
    optimizer = torch.optim.AdamW(parameter_groups(nn.Linear(3, 2), 0.0), lr=0.1)
    set_weight_decay(optimizer, DECAY, 5)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.0, DECAY.at(5)]
    set_weight_decay(optimizer, None, 6)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.0, DECAY.at(5)]
    set_lr(optimizer, 0.2)
    assert [g["lr"] for g in optimizer.param_groups] == [0.2, 0.2]


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
