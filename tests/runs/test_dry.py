"""The paper profile composes and starts: one training and one evaluation step at full size."""

from __future__ import annotations

import pytest

from scaledrelu.config.compose import compose
from scaledrelu.runs.dry import dry_step
from tests.helpers.configs import with_values

SMALL = ("profile=paper", "batch.total=2", "batch.group=2", "launch=local", "launch.device=cpu")


def test_a_deit_row_with_sam_takes_its_steps_at_paper_size() -> None:
    config = compose([*SMALL, "precision=fp32", "stem=conv", "optimizer=sam", "lr.base=1e-3"])
    report = dry_step(config, num_classes=1000)
    assert report.parameters == 23_412_136
    assert report.logits == (2, 1000)
    assert report.loss == pytest.approx(6.9, abs=1.0)
    assert report.grad_norm > 0


def test_an_fp16_step_of_2021_runs_at_paper_size() -> None:
    config = compose([*SMALL, "precision=fp16_2021", "stem=patchify", "model.depth=3"])
    report = dry_step(config, num_classes=1000)
    assert report.loss == pytest.approx(6.9, abs=1.0)


def test_a_volo_row_takes_its_steps_at_paper_size_with_label_maps() -> None:
    config = compose([*SMALL, "recipe=volo", "model=volo_d1", "stem=conv", "precision=fp32"])
    report = dry_step(config, num_classes=1000)
    assert report.parameters == 26_632_040  # timm volo_d1_224
    assert report.logits == (2, 1000)
    assert report.loss == pytest.approx(1.5 * 6.9, abs=1.5)  # the tokens' loss counts half
    assert report.grad_norm > 0


def test_the_paper_profile_has_the_papers_rates() -> None:
    config = compose(["profile=paper", "precision=fp32", "stem=patchify", "lr.base=1e-3"])
    small = with_values(config, {"batch.group": 2})
    from scaledrelu.runs.optimisation import build_schedule

    schedule = build_schedule(small, 1251)
    assert schedule.curve.peak_lr == 2e-3
    assert schedule.total_steps == 375_300
    assert schedule.at(0) == 1e-6
    assert schedule.at(2 * 1251) == pytest.approx(4.008e-4)
