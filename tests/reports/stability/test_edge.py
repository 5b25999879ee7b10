"""Edge and sensitivity of a line of rates, on fabricated results, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from scaledrelu.reports.stability.edge import (
    HALF,
    NONE,
    edge_of,
    sensitivity,
    sensitivity_of,
)
from scaledrelu.reports.stability.lines import read_lines
from scaledrelu.reports.stability.page import edge_text
from tests.helpers.table_fakes import finish, plan_of, write_grid

RATES = (5e-4, 1e-3, 2e-3, 4e-3)
LN10 = math.log(10)


def line_of(tmp_path, crashes, *, losses=None, seeds=(0, 1), kind="collapsed"):
    """Finish the runs of one line: crashes[i] of the seeds crash at rate i; None = unfinished."""
    grid = {"stems": ["patchify"], "multiples": [0.5, 1, 2, 4]}
    write_grid(tmp_path / "conf", **grid)
    plan = plan_of(tmp_path, "rates", seeds=seeds)
    for i, cell in enumerate(plan.cells):
        for j, name in enumerate(cell.run_ids):
            if crashes[i] is None:
                continue
            more = {"val/loss": losses[i][j]} if losses is not None else None
            finish(plan, name, crash=kind if j < crashes[i] else None, more=more)
    plan = plan_of(tmp_path, "rates", seeds=seeds)
    return read_lines(plan, plan.tables[0])[0]


@pytest.mark.parametrize(
    ("crashes", "strict", "half", "text"),
    [
        ((0, 0, 1, 2), 1e-3, 2e-3, "1e-3 (next: 2e-3)"),
        ((0, 0, 0, 0), 4e-3, 4e-3, "4e-3 or more: the largest rate holds"),
        ((2, 2, 2, 2), None, None, "below the smallest rate"),
        ((0, 2, 0, 2), 2e-3, 2e-3, "2e-3 (next: 4e-3); smaller rates do not hold: 1e-3"),
        ((0, 0, None, 2), 1e-3, 1e-3, "1e-3 (next: 4e-3); unfinished: 2e-3"),
        (
            (0, 0, 0, None),
            2e-3,
            2e-3,
            "2e-3 or more: the largest rate holds; unfinished: 4e-3",
        ),
    ],
)
def test_the_edge_is_the_largest_rate_that_holds_and_says_what_limits_it(
    tmp_path, crashes, strict, half, text
) -> None:
    line = line_of(tmp_path, crashes)
    assert tuple(line.cells) == RATES
    assert edge_of(line, allowed=NONE).rate == strict
    assert edge_of(line, allowed=HALF).rate == half
    assert edge_text(edge_of(line, allowed=NONE)) == text


def test_a_line_without_a_finished_run_has_no_edge(tmp_path) -> None:
    line = line_of(tmp_path, (None,) * 4)
    assert edge_of(line, allowed=NONE) is None
    assert sensitivity_of(line) is None


def test_sensitivity_is_the_mean_of_capped_losses_minus_the_best() -> None:
    # (0.2 + 0.5 + 2.3 + 2.3) / 4 - 0.2
    assert sensitivity((0.2, 0.5, 7.0, math.inf), 2.3) == pytest.approx(1.125)
    assert sensitivity([0.7] * 4, 2.3) == pytest.approx(0)


def test_every_seed_has_its_own_sensitivity_and_the_mean_a_t_interval(tmp_path) -> None:
    rng = np.random.default_rng(0)
    losses = rng.uniform(0.1, 3, size=(4, 3))
    found = sensitivity_of(line_of(tmp_path, (0, 0, 1, 2), losses=losses, seeds=(0, 1, 2)))
    expected = np.minimum(losses, LN10).mean(axis=0) - losses.min(axis=0)
    assert list(found.by_seed.values()) == pytest.approx(expected)
    assert list(found.best.values()) == pytest.approx(losses.min(axis=0))
    low, high = stats.t.interval(0.95, 2, expected.mean(), stats.sem(expected))
    assert found.estimate.mean == pytest.approx(expected.mean())
    assert found.estimate.half == pytest.approx((high - low) / 2)


def test_a_loss_that_was_not_finite_counts_as_a_guess_whatever_was_evaluated_before(
    tmp_path,
) -> None:
    losses = [[0.1], [0.2], [0.3], [0.05]]  # the last run had 0.05 before it was lost
    found = sensitivity_of(
        line_of(tmp_path, (0, 0, 0, 1), losses=losses, seeds=(0,), kind="non_finite")
    )
    assert found.by_seed[0] == pytest.approx((0.1 + 0.2 + 0.3 + LN10) / 4 - 0.1)


def test_a_seed_without_every_rate_has_no_sensitivity(tmp_path) -> None:
    losses = [[0.1, 0.2]] * 4
    line = line_of(tmp_path, (0, 0, None, 0), losses=losses)
    assert sensitivity_of(line) is None


def test_a_line_that_learns_nowhere_is_not_called_insensitive(tmp_path) -> None:
    found = sensitivity_of(line_of(tmp_path, (1,) * 4, losses=[[2.4]] * 4, seeds=(0,)))
    assert found.by_seed == {}
    assert found.untrained == (0,)
    assert found.estimate is None
