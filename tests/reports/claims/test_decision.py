"""What follows from intervals and counts, whatever they are of."""

import itertools

import pytest

from scaledrelu.reports.claims.decision import (
    OPPOSITE,
    Count,
    Interval,
    Verdict,
    all_crash,
    combine,
    is_above,
    is_as_printed,
    is_within,
    most_crash,
    none_crash,
    together,
    with_preconditions,
)
from scaledrelu.reports.statistics import wilson

SUPPORTED, CONTRADICTED, UNDECIDED = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.UNDECIDED
NOT_RUN, NOT_TESTABLE = Verdict.NOT_RUN, Verdict.NOT_TESTABLE
ORDERED = [CONTRADICTED, NOT_RUN, UNDECIDED, SUPPORTED, NOT_TESTABLE]


def test_a_claim_is_as_its_worst_part_that_can_be_tested():
    for parts in itertools.product(Verdict, repeat=3):
        assert combine(parts) is min(parts, key=ORDERED.index)


def test_only_what_is_granted_lets_a_claim_be_with_preconditions():
    for given, verdict in itertools.product(Verdict, repeat=2):
        found = with_preconditions([given], verdict)
        if given is SUPPORTED or verdict is NOT_TESTABLE:
            assert found is verdict
        else:
            assert found is (given if given in (UNDECIDED, NOT_RUN) else NOT_TESTABLE)
        assert with_preconditions([], verdict) is verdict
    assert with_preconditions([SUPPORTED, CONTRADICTED], SUPPORTED) is NOT_TESTABLE


def test_a_difference_of_percentages_ends_at_a_hundred():
    assert Interval.around(38.1, 64.7, bound=100) == Interval(38.1, 38.1 - 64.7, 100)
    assert Interval.around(-90, 30, bound=100) == Interval(-90, -100, -60)
    assert Interval.around(-90, 30) == Interval(-90, -120, -60)


def test_an_interval_decides_only_from_one_side_of_the_limit():
    found = Interval(2.0, 1.0, 3.0)
    assert [is_above(found, limit) for limit in (0.9, 1.0, 2.0, 3.0, 3.1)] == [
        SUPPORTED,
        *[UNDECIDED] * 3,
        CONTRADICTED,
    ]
    assert is_above(Interval(2.0, None, None), 0) is UNDECIDED


def test_the_opposite_claim_has_the_opposite_verdict():
    for low, high, limit in itertools.product((-2.0, -0.5, 0.5), (0.6, 2.0), (-1.0, 0, 1.0)):
        one, other = Interval(0, low, high), Interval(0, -high, -low)
        assert OPPOSITE[is_above(one, limit)] is is_above(other, -limit)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.4, 0.4, SUPPORTED),
        (-0.6, 0.4, UNDECIDED),
        (-2.0, 2.0, UNDECIDED),
        (0.6, 2.0, CONTRADICTED),
        (-2.0, -0.6, CONTRADICTED),
    ],
)
def test_about_equal_needs_the_whole_interval_within_the_limit(low, high, verdict):
    assert is_within(Interval(0, low, high), 0.5) is verdict


def test_a_printed_number_is_borne_out_where_the_interval_holds_it():
    assert is_as_printed(Interval(2.0, 1.0, 3.0), 2.9) is SUPPORTED
    assert is_as_printed(Interval(2.0, 1.0, 3.0), 3.1) is CONTRADICTED
    assert is_as_printed(Interval(2.0, None, None), 2.0) is UNDECIDED


@pytest.mark.parametrize("total", range(1, 9))
def test_a_crash_is_decided_where_wilsons_interval_leaves_out_a_half(total):
    for crashed in range(total + 1):
        low, high = wilson(crashed / total, total)
        expected = SUPPORTED if low > 0.5 else CONTRADICTED if high < 0.5 else UNDECIDED
        assert all_crash([Count(crashed, total)]) is expected
        assert none_crash([Count(total - crashed, total)]) is expected
        if expected.is_decided:  # never against the majority, which reports go by
            assert (expected is SUPPORTED) == (2 * crashed > total)


def test_three_seeds_never_decide_a_crash_and_four_alike_do():
    assert {all_crash([Count(k, 3)]) for k in range(4)} == {UNDECIDED}
    assert all_crash([Count(4, 4)]) is SUPPORTED
    assert all_crash([Count(0, 4)]) is CONTRADICTED


def test_rows_support_each_by_itself_and_contradict_together_too():
    assert all_crash([Count(3, 3), Count(3, 3)]) is UNDECIDED
    assert all_crash([Count(5, 5), Count(3, 5)]) is UNDECIDED
    assert all_crash([Count(0, 3), Count(0, 3)]) is CONTRADICTED  # on average not half of the runs
    assert none_crash([Count(0, 3), Count(0, 3)]) is UNDECIDED  # either row may be the one
    assert all_crash([Count(5, 5), Count(0, 5)]) is CONTRADICTED
    assert none_crash([Count(0, 5), Count(0, 5)]) is SUPPORTED


def test_most_cases_are_runs_of_all_rows_together():
    rows = [Count(5, 5), Count(5, 5), Count(0, 5), Count(5, 5)]
    assert together(rows) == Count(15, 20)
    assert most_crash(rows) is SUPPORTED
    assert most_crash([Count(1, 5), Count(1, 5)]) is UNDECIDED
    assert most_crash([Count(1, 5)] * 4) is CONTRADICTED


def test_runs_that_are_all_there_are_need_no_interval():
    assert all_crash([Count(1, 1, is_certain=True)]) is SUPPORTED
    assert most_crash([Count(k, 1, is_certain=True) for k in (1, 1, 0, 1)]) is SUPPORTED
