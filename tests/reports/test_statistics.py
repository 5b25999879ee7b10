"""Numbers that other people worked out: textbooks, SciPy, Newcombe's paper."""

import random

import pytest

from scaledrelu.reports.statistics import (
    estimate,
    kendall_tau_b,
    paired,
    resolvable,
    t_quantile,
    telling_digits,
    wilson,
)


@pytest.mark.parametrize(("freedom", "printed"), [(1, 12.706), (2, 4.303), (4, 2.776), (30, 2.042)])
def test_quantiles_are_those_of_a_printed_t_table(freedom, printed):
    assert t_quantile(freedom) == pytest.approx(printed, abs=5e-4)


def test_the_interval_of_three_seeds_is_the_one_worked_out_by_hand():
    # mean 72.2222, deviations 23.6111, 17.2222, -40.8333: sd 35.5067; 4.302653 x sd / sqrt(3)
    found = estimate([95.83333333, 89.44444444, 31.38888889])
    assert found.mean == pytest.approx(72.2222, abs=1e-4)
    assert found.sd == pytest.approx(35.5067, abs=1e-4)
    assert found.half == pytest.approx(88.2041, abs=1e-3)


def test_one_value_has_no_interval_and_none_no_mean():
    assert (estimate([7.0]).mean, estimate([7.0]).half, estimate([7.0]).sd) == (7.0, None, None)
    assert estimate([]) is None


def test_differences_are_taken_within_a_seed_and_only_where_both_have_one():
    # 2, 4, 6 over seeds 0, 1, 2: mean 4, sd 2, half 4.302653 x 2 / sqrt(3)
    found = paired({0: 12.0, 1: 24.0, 2: 36.0, 3: 99.0}, {0: 10.0, 1: 20.0, 2: 30.0, 4: 0.0})
    assert (found.mean, found.sd, found.n) == (4.0, 2.0, 3)
    assert found.half == pytest.approx(4.9683, abs=1e-4)
    assert paired({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(
    ("pairs", "digits"),
    [
        ([], 1),
        ([(0.5357, 0.5)], 2),
        ([(3.0, 0.5), (0.00049, 0.0)], 4),
        ([(0.5, 0.5)], 1),  # alike for good
        ([(1e-9, 0.0)], 6),  # never more
    ],
)
def test_numbers_have_as_many_digits_as_tell_them_apart(pairs, digits):
    assert telling_digits(pairs, 1) == digits


def test_tau_b_is_that_of_scipy_with_and_without_ties():
    from scipy.stats import kendalltau

    draw = random.Random(0)
    for levels in (3, 5, 100):
        for n in (3, 6, 12):
            one = [draw.randrange(levels) for _ in range(n)]
            other = [draw.randrange(levels) for _ in range(n)]
            if len(set(one)) > 1 and len(set(other)) > 1:
                known = kendalltau(one, other, variant="b").statistic
                assert kendall_tau_b(one, other) == pytest.approx(known, abs=1e-12)


def test_tau_of_a_constant_is_zero():
    assert kendall_tau_b([5, 5, 5], [1, 2, 3]) == 0.0
    assert kendall_tau_b([1, 2, 3], [10, 20, 30]) == 1.0


def test_wilson_of_the_textbook():
    assert wilson(56 / 70, 70) == pytest.approx((0.6918, 0.8769), abs=5e-4)  # Newcombe 1998
    low, high = wilson(1.0, 360)
    assert high == pytest.approx(1.0)
    assert low == pytest.approx(0.9894, abs=1e-4)


def test_two_shares_are_told_apart_where_newcombes_interval_leaves_out_zero():
    # His example (f), 10/10 against 0/20, has the interval 0.6791 to 1.0000 for n = 10 and 20;
    # for one n the limit is difference - lower limit: 56/70 against 48/70, lower limit -0.0302.
    difference = (56 - 48) / 70
    from_wilson = ((0.8 - 0.691813) ** 2 + (0.782435 - 48 / 70) ** 2) ** 0.5
    assert resolvable(56 / 70, 48 / 70, 70) == pytest.approx(from_wilson, abs=1e-4)
    assert resolvable(56 / 70, 48 / 70, 70) > difference
    assert resolvable(0.5, 0.5, 360) == pytest.approx(0.0727, abs=2e-4)
    assert resolvable(0.3, 0.8, 50) == resolvable(0.8, 0.3, 50)
    assert resolvable(1.0, 1.0, 360) > 0
