"""The repository's own claims: all of the text, its numbers, and what mini's records say."""

import csv
import re

import pytest

from scaledrelu.config.milestones import load_milestones
from scaledrelu.config.places import CONF_DIR
from scaledrelu.reports.claims.decision import Verdict
from scaledrelu.reports.claims.records import read_claims
from scaledrelu.reports.claims.rows import Rows
from scaledrelu.reports.claims.spec import Relation, load_claims

ROOT = CONF_DIR.parent
PUBLISHED = ROOT / "results" / "published" / "mini"
TEXT = list(csv.DictReader((ROOT / "tests" / "paper" / "text_claims.csv").open(newline="")))
CLAIMS = load_claims(CONF_DIR)
BY_NAME = {claim.name: claim for claim in CLAIMS.claims}


@pytest.fixture(scope="module")
def judged():
    """Every claim as published; tests/reports/test_published.py holds that to the records."""
    return {one.name: one for one in read_claims(PUBLISHED / "claims.csv")}


def test_every_claim_of_the_text_is_there_and_every_table_is_discussed():
    assert [line["id"] for line in TEXT] == sorted(n for n in BY_NAME if re.match(r"C\d\d$", n))
    assert {f"table{n}" for n in range(1, 8)} <= set(CLAIMS.tables)


def test_numbers_of_the_text_are_those_of_the_cells():
    """Values and gains: the file names cells, and the text prints what stands in them."""
    rows, checked = Rows(CLAIMS, CONF_DIR), set()
    for line in TEXT:
        for check in BY_NAME[line["id"]].checks:
            if check.relation in (Relation.VALUE, Relation.GAIN):
                names = (*check.rows, *check.others)
                values = [rows.place(name).row.paper["top1"] for name in names]
                printed = values[0] - (values[1] if len(values) > 1 else 0)
                assert f"{printed:.1f}" == line["value"], line["id"]
                checked.add(line["id"])
    assert checked == {"C07", "C08", "C09", "C21", "C22", "C24", "C25"}
    milestones = {one.claim: one for one in load_milestones(CONF_DIR).items}
    for line in TEXT[:6]:
        one = milestones[line["id"]]
        assert (f"{one.paper:g}", line["metric"]) == (line["value"], f"top1 at epoch {one.epoch}")


def test_no_number_of_a_table_stands_in_the_file_again():
    rows = Rows(CLAIMS, CONF_DIR)
    for claim in CLAIMS.claims:
        for check in claim.checks:
            if check.relation is Relation.SETTING or check.relation is Relation.NO_RUN:
                continue
            for name in (*check.rows, *check.others):
                if name in CLAIMS.rows:
                    assert check.limit not in rows.place(name).row.paper.values()


def test_the_published_claims_are_those_of_the_file(judged):
    assert [(one.name, one.says) for one in judged.values()] == [
        (claim.name, claim.says) for claim in CLAIMS.claims
    ]


def test_every_row_that_has_a_name_is_used():
    used = {name for c in CLAIMS.claims for check in c.checks for name in check.rows + check.others}
    assert CLAIMS.rows.keys() - used == set()


def test_facts_of_the_set_up_hold_at_paper_scale(judged):
    settings = {name: one.verdict for name, one in judged.items() if one.is_setting}
    assert set(settings.values()) == {Verdict.SUPPORTED}
    wanted = "C10 C12 C13 C14 C15 C16 C17 C18 C19 C20 C27 C28 C29 C30"
    assert sorted(settings) == wanted.split()


def test_nothing_is_silent(judged):
    for one in judged.values():
        for part in one.parts:
            assert part.ours.interval is not None or part.ours.reason, one.name
            assert part.paper.interval is not None or part.paper.reason, one.name


def test_a_printed_difference_within_the_noise_of_one_run_is_undecided(judged):
    assert judged["T6.1"].papers_verdict is Verdict.UNDECIDED  # 81.9 against 81.6
    assert judged["C09"].papers_verdict is Verdict.SUPPORTED  # 81.9 against 79.8
    assert judged["C23"].papers_verdict is Verdict.CONTRADICTED  # below 0.5 expected, 1.8 printed


def test_a_decided_claim_is_never_against_the_seeds_alone(judged):
    """Images only widen what a table's rule over seeds says."""
    for one in judged.values():
        for part in one.parts:
            said = part.ours
            if said.tests and said.verdict.is_decided:
                up = sum(test.only_one > test.only_other for test in said.tests)
                assert (said.interval.size > 0) == (2 * up > len(said.tests)), one.name
