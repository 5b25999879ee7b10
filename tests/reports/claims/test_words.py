"""How numbers of claims are written."""

import pytest

from scaledrelu.reports.claims.decision import Interval, Verdict
from scaledrelu.reports.claims.findings import COSINE, PERCENT, POINTS, Said
from scaledrelu.reports.claims.words import number_text


@pytest.mark.parametrize(
    ("found", "unit", "turns_at", "text"),
    [
        (Interval(-0.0003, -0.0004, -0.0002), COSINE, 0.0, "-0.0003 in cosine [-0.0004, -0.0002]"),
        (Interval(0.111, 0.06, 0.164), COSINE, 0.0, "+0.11 in cosine [+0.06, +0.16]"),
        (Interval(-0.08, -0.7, 0.5357), POINTS, 0.5, "-0.08 points [-0.70, +0.54]"),
        (Interval(-0.08, -0.7, 0.5), POINTS, 0.5, "-0.1 points [-0.7, +0.5]"),  # it is the limit
        (Interval(63.8, 62.1, 65.5), PERCENT, 63.8, "63.8 % [62.1, 65.5]"),
        (Interval(64.8, 63.84, 65.8), PERCENT, 63.8, "64.80 % [63.84, 65.80]"),
        (Interval(1.26, None, None), POINTS, 0.0, "+1.3 points"),
    ],
)
def test_a_number_has_as_many_digits_as_show_on_which_side_of_the_limit_it_ends(
    found, unit, turns_at, text
):
    said = Said(Verdict.UNDECIDED, interval=found, unit=unit, turns_at=(turns_at,))
    assert number_text(said) == text
