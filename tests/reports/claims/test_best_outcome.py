"""A claim that no outcome could support with these seeds and images is known as such."""

import numpy as np
import pytest

from scaledrelu.reports.claims.best_outcome import can_be_supported
from scaledrelu.reports.claims.decision import Count, Interval, Verdict
from scaledrelu.reports.claims.findings import POINTS, Said
from scaledrelu.reports.claims.per_image import McNemar
from scaledrelu.reports.claims.spec import Check, Relation
from tests.helpers.claim_fakes import fill, judged, write_conf

SUPPORTED = Verdict.SUPPORTED
LIMITS = {Relation.ABOUT: 0.5, Relation.NOT_HIGHER: 0.5}
MARK = "no outcome with these seeds and images could support it"


@pytest.mark.parametrize("relation", [Relation.CRASHES, Relation.HOLDS])
@pytest.mark.parametrize("total", range(1, 9))
def test_a_row_needs_four_runs_to_be_shown_to_crash_or_to_hold(relation, total):
    said = Said(Verdict.UNDECIDED, counts=(Count(1, 8), Count(0, total)))
    assert can_be_supported(Check(relation), said) == (total >= 4)


def test_most_of_several_rows_crash_together_where_each_has_few_runs():
    said = Said(Verdict.UNDECIDED, counts=(Count(0, 3), Count(0, 3)))
    assert can_be_supported(Check(Relation.MOSTLY_CRASH), said)
    assert not can_be_supported(Check(Relation.CRASHES), said)


@pytest.mark.parametrize("images", [360, 551, 600, 3000])
def test_about_equal_is_beyond_few_images_however_equal_rows_are(images):
    """The two added images alone are worth 0.77 points of 360."""
    tests = (McNemar(0, 0, 0, 1.0),)
    found = Said(Verdict.UNDECIDED, Interval(9, 8, 10), POINTS, 16, images, tests)
    check = Check(Relation.ABOUT, limit=0.5)
    half = 100 * 1.959964 * np.std([*[0] * images, 1, -1]) / np.sqrt(images + 2)
    assert can_be_supported(check, found) == (half < 0.5)


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("relation", [Relation.HIGHER, Relation.AHEAD, Relation.NOT_HIGHER])
@pytest.mark.parametrize("images", [None, 120])
def test_a_difference_needs_two_seeds(relation, seeds, images):
    found = Said(Verdict.UNDECIDED, Interval(9, 8, 10), POINTS, seeds, images)
    assert can_be_supported(Check(relation, limit=LIMITS.get(relation, 0)), found) == (seeds > 1)


def test_what_has_no_number_yet_may_come_out_either_way():
    assert can_be_supported(Check(Relation.HIGHER), Said(Verdict.NOT_RUN))
    assert can_be_supported(Check(Relation.CRASHES), Said(Verdict.NOT_RUN))


def test_claims_that_no_outcome_could_support_are_counted_and_marked(tmp_path):
    about = {"about": "high", "as": "even", "within": 0.5}
    checks = {"equal": about, "alike": about | {"within": 5.0}, "crash": {"crashes": "dead"}}
    write_conf(tmp_path, checks=checks)
    fill(tmp_path, "high", [0.9] * 5)
    fill(tmp_path, "even", [0.9] * 5)  # not one image differs
    fill(tmp_path, "dead", [0.1] * 3, crashed=3)
    found = judged(tmp_path)
    assert {name: (one.verdict, one.can_be_supported) for name, one in found.items()} == {
        "equal": (Verdict.UNDECIDED, False),
        "alike": (SUPPORTED, True),
        "crash": (Verdict.UNDECIDED, False),
    }
    text = (tmp_path / "results" / "mini" / "claims.md").read_text()
    assert (
        "No outcome with these seeds and images could support 2 of the 3: they can only be "
        "contradicted or stay undecided." in text
    )
    marked = [line.split(" | ")[0] for line in text.splitlines() if f"{MARK} |" in line]
    assert marked == ["| equal", "| crash"]
