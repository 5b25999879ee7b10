"""Claims are judged again by other limits for crashes, from the losses that records hold."""

import re

import pytest

from scaledrelu.reports.claims.cautions import limits_sentence
from scaledrelu.reports.claims.decision import Verdict
from scaledrelu.reports.claims.limits import at_limit, changed, limits_of
from scaledrelu.reports.claims.records import read_claims
from tests.helpers.claim_fakes import fill, judged, write_conf

SUPPORTED, CONTRADICTED, UNDECIDED = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.UNDECIDED
LOSSES = (0.93, 0.92, 0.91, 0.88, 0.87)  # of a uniform guess's; three lie above 0.9
SHARES = [0.1] * 5


def crashes(folder, **more):
    """Judge a claim that a row crashes, and one that another does not."""
    write_conf(folder, checks={"x": {"crashes": "dead"}, "y": {"holds": "high"}})
    fill(folder, "dead", SHARES, **{"crashed": 3, "losses": LOSSES, **more})
    fill(folder, "high", SHARES, losses=[0.2] * 5)
    return judged(folder)


def counts(found):
    (part,) = found["x"].parts
    return {ratio: count.crashed for ratio, (count,) in part.ours.counts_at.items()}


def test_runs_are_counted_by_every_limit_and_claims_judged_by_the_same_rule(tmp_path):
    found = crashes(tmp_path)
    assert limits_of(found.values()) == [0.9, 0.85, 0.95]  # its own first
    assert counts(found) == {0.9: 3, 0.85: 5, 0.95: 0}
    assert [at_limit(found["x"], ratio).verdict for ratio in (0.85, 0.9, 0.95)] == [
        SUPPORTED,
        UNDECIDED,
        CONTRADICTED,
    ]
    assert at_limit(found["x"], 0.9) == found["x"]
    assert [one.name for one, _ in changed(found.values(), 0.95)] == ["x"]


def test_the_page_lists_crashed_runs_and_changed_verdicts_and_the_readme_counts_them(tmp_path):
    crashes(tmp_path)
    text = (tmp_path / "results" / "mini" / "claims.md").read_text()
    section = text.partition("## What depends on the crash limit")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| 0.")]
    assert rows == [
        "| 0.85 | 5 of 10 | 1 verdict: undecided -> supported: x |",
        "| 0.9 (here) | 3 of 10 | none |",
        "| 0.95 | 0 of 10 | 1 verdict: undecided -> contradicted: x |",
    ]
    again = read_claims(tmp_path / "results" / "mini" / "claims.csv")
    assert limits_sentence(again) == (
        "The crash limit is 0.9 times the loss of a uniform guess; with 0.85 or 0.95 times, "
        "1 or 1 verdicts would change."
    )


@pytest.mark.parametrize("losses", [(), LOSSES])
def test_a_loss_that_was_not_finite_is_a_crash_by_any_limit(tmp_path, losses):
    found = crashes(tmp_path, kind="non_finite", losses=losses)
    assert counts(found) == {0.9: 3, 0.85: 5 if losses else 3, 0.95: 3}


def test_a_run_that_was_stopped_early_counts_by_its_loss_at_that_point(tmp_path):
    found = crashes(tmp_path, losses=(0.97, 0.97, 0.92, 0.5, 0.5))
    assert counts(found) == {0.9: 3, 0.85: 3, 0.95: 2}


def test_runs_with_a_limit_of_their_own_keep_it(tmp_path):
    conf = write_conf(tmp_path, checks={"x": {"crashes": "dead"}})
    table = conf / "table" / "table8.yaml"
    text = re.sub(r"( *- )lr.base=2e-3\n", r"\g<0>\1divergence.ratio=0.89\n", table.read_text())
    table.write_text(text)
    assert text.count("divergence.ratio") == 2  # of dead and of open
    fill(tmp_path, "dead", SHARES, crashed=3, losses=LOSSES)
    assert set(counts(judged(tmp_path)).values()) == {3}


def test_where_nothing_has_run_there_is_nothing_to_judge_again(tmp_path):
    write_conf(tmp_path)
    found = judged(tmp_path)
    assert limits_of(found.values()) == []
    assert limits_sentence(list(found.values())) == ""
    page = (tmp_path / "results" / "mini" / "claims.md").read_text()
    assert "What depends on the crash limit" not in page
