"""Fabricated results come out as they were fabricated, by the way that a user goes."""

import math
import re
import shutil

import numpy as np
import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.reports.claims.decision import Verdict
from scaledrelu.reports.claims.readme import readme_section
from scaledrelu.reports.claims.records import csv_text, read_claims
from scaledrelu.reports.statistics import estimate, resolvable
from tests.helpers.claim_fakes import PRINTED, fill, judged, write_conf
from tests.helpers.table_fakes import finish, plan_of

SUPPORTED, CONTRADICTED, UNDECIDED = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.UNDECIDED
NOT_RUN, NOT_TESTABLE = Verdict.NOT_RUN, Verdict.NOT_TESTABLE
GOOD, BAD = (0.90, 0.91, 0.92, 0.90, 0.91), (0.50, 0.52, 0.51, 0.50, 0.53)
EVEN = (0.905, 0.90, 0.925, 0.91, 0.905)
BLOCK_WITH_UPSTREAM = "- label: block\n  upstream: [recipe=dino]"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Rows of which one is better, one worse, one the same and one crashed; one was never run."""
    folder = tmp_path_factory.mktemp("claims")
    write_conf(folder)
    fill(folder, "high", GOOD)
    fill(folder, "low", BAD)
    fill(folder, "even", EVEN, order=1)
    fill(folder, "dead", [0.1] * 5, crashed=5)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of them."""
    return shutil.copytree(made, tmp_path / "copy")


def test_claims_come_out_as_their_results_were_made(folder):
    found = judged(folder)
    assert {name: one.verdict for name, one in found.items()} == {
        "above": SUPPORTED,
        "below": CONTRADICTED,
        "near": UNDECIDED,
        "unrun": NOT_RUN,
        "crash": SUPPORTED,
        "trains": SUPPORTED,
        "both crash": CONTRADICTED,
        "gain": SUPPORTED,
        "size": NOT_TESTABLE,  # mini has other data
        "alike": SUPPORTED,
        "at most": SUPPORTED,
        "hardly": SUPPORTED,  # a little higher, and the claim leaves room
        "rate": SUPPORTED,
        "nobody": NOT_TESTABLE,
    }


def test_the_number_its_interval_and_what_they_rest_on_stand_beside_the_verdict(folder):
    said = judged(folder)["above"].parts[0].ours
    differences = [
        100 * (round(g * 360) - round(b * 360)) / 360 for g, b in zip(GOOD, BAD, strict=True)
    ]
    assert said.interval.size == pytest.approx(np.mean(differences))
    assert said.interval.low < said.interval.size < said.interval.high
    assert (said.seeds, said.images, len(said.runs)) == (5, 360, 10)
    assert [(test.only_one > 0, test.only_other) for test in said.tests] == [(True, 0)] * 5
    assert max(test.p for test in said.tests) < 1e-6
    crash = judged(folder)["crash"].parts[0].ours
    assert [(count.crashed, count.total) for count in crash.counts] == [(5, 5)]


def test_the_papers_own_numbers_are_judged_beside_ours(folder):
    found = {name: one.papers_verdict for name, one in judged(folder).items()}
    assert found["above"] is SUPPORTED  # 81.9 against 79.8
    assert found["below"] is CONTRADICTED
    assert found["near"] is UNDECIDED  # 81.9 against 81.6
    assert found["crash"] is found["size"] is found["gain"] is SUPPORTED
    assert found["both crash"] is CONTRADICTED
    assert found["rate"] is found["nobody"] is NOT_TESTABLE


@pytest.mark.parametrize(("sd", "verdict"), [(0.05, SUPPORTED), (0.15, UNDECIDED)])
def test_what_a_printed_difference_is_worth_is_one_named_number(tmp_path, sd, verdict):
    printed = PRINTED | {"seed_sd": {"val/top1": sd}}
    write_conf(tmp_path, printed=printed)  # 0.3 points; here without images, whose data are small
    said = judged(tmp_path)["near"].parts[0].paper
    assert said.verdict is verdict
    assert said.interval.high - said.interval.size == pytest.approx(1.959964 * 2**0.5 * sd)
    assert said.reason == "81.9 against 81.6"


def test_claims_read_the_papers_numbers_from_the_tables(tmp_path):
    conf = write_conf(tmp_path)
    table = conf / "table" / "table8.yaml"
    table.write_text(table.read_text().replace("79.8", "81.8"))
    part = judged(tmp_path)["gain"].parts[0]
    assert part.paper.interval.size == pytest.approx(0.1)
    assert part.paper.verdict is UNDECIDED
    assert "0.1 points" in part.text


def test_one_seed_decides_nothing(tmp_path):
    write_conf(tmp_path)
    for row, share in (("high", 0.9), ("low", 0.1), ("dead", 0.1)):
        fill(tmp_path, row, [share], crashed=row == "dead")
    found = judged(tmp_path, seeds="0")
    assert {found[name].verdict for name in ("above", "below", "crash", "trains")} == {UNDECIDED}
    assert found["above"].parts[0].ours.interval.size > 50
    assert found["above"].parts[0].ours.tests[0].p < 0.05  # these two runs do differ


def test_deleting_one_result_takes_a_seed_from_its_claims_and_nothing_from_others(folder):
    before = judged(folder)
    run = before["crash"].parts[0].ours.runs[0]
    (folder / "results" / "runs" / run / "result.json").unlink()
    after = judged(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"crash", "both crash"}
    assert after["crash"].parts[0].ours.counts[0].total == 4
    for other in before["crash"].parts[0].ours.runs[1:]:
        (folder / "results" / "runs" / other / "result.json").unlink()
    empty = judged(folder)
    assert {name for name in before if before[name] != empty[name]} == changed
    assert empty["crash"].verdict is NOT_RUN


def test_writing_again_changes_no_byte_and_what_is_written_can_be_read_back(folder):
    found = judged(folder)
    path = folder / "results" / "mini" / "claims.csv"
    first = {one: one.read_bytes() for one in path.parent.iterdir()}
    judged(folder)
    assert first == {one: one.read_bytes() for one in path.parent.iterdir()}
    assert sorted(one.name for one in first) == ["claims.csv", "claims.md"]
    again = read_claims(path)
    assert [(o.name, o.verdict, o.papers_verdict, o.can_be_decided) for o in again] == [
        (o.name, o.verdict, o.papers_verdict, o.can_be_decided) for o in found.values()
    ]
    assert csv_text(again) == path.read_text()


def test_the_page_says_how_many_can_be_decided_and_what_trains_the_rest(folder):
    judged(folder)
    text = (folder / "results" / "mini" / "claims.md").read_text()
    # of 14: no fact of the set-up, nothing that mini cannot test
    assert (
        "Of 11 claims that runs of this profile can decide, 9 are decided: 7 supported, 2 "
        "contradicted; 1 undecided, 1 not run." in text
    )
    assert f"make table8 PROFILE=mini SEEDS=table ARGS=results={folder / 'results'}" in text
    assert "| above | It says above. | supported | high above low: +39." in text
    assert "5 seeds, 360 images, McNemar 5 up, 0 down" in text
    assert "81.9 against 81.6 is within the noise of one run" in text
    assert "[Table 8](table8.md), rows 1-2" in text


def test_without_images_a_difference_rests_on_seeds_and_on_what_so_many_images_resolve(folder):
    for run in (folder / "results" / "runs").iterdir():
        (run / "evidence.npz").unlink(missing_ok=True)
    said = judged(folder)["near"].parts[0].ours
    values = [[100 * round(x * 360) / 360 for x in shares] for shares in (GOOD, EVEN)]
    seeds = estimate([a - b for a, b in zip(*values, strict=True)])
    images = 100 * resolvable(*(np.mean(row) / 100 for row in values), 360)  # Newcombe
    assert (said.tests, said.images) == ((), 360)
    assert said.interval.high - said.interval.size == pytest.approx(math.hypot(seeds.half, images))


def test_rows_that_start_from_a_crashed_run_crash_and_nothing_more_is_to_be_trained(tmp_path):
    conf = write_conf(tmp_path, checks={"x": {"crashes": "dead"}}, rows={})
    table = conf / "table" / "table8.yaml"
    table.write_text(table.read_text().replace("- label: block", BLOCK_WITH_UPSTREAM))
    plan = plan_of(tmp_path, seeds=range(5))
    for run in plan.runs.values():
        if run.upstream is None:
            finish(plan, run.run_id, 12.0, crash="collapsed")
    assert judged(tmp_path)["x"].verdict is SUPPORTED
    text = (tmp_path / "results" / "mini" / "claims.md").read_text()
    assert "make table8" not in text
    assert "dead crashes: 5 of 5 did; 100 % [57, 100]" in text


@pytest.mark.parametrize("damage", ["torn", "other epoch", "pickle"])
def test_images_that_cannot_be_those_of_the_value_are_left_out(folder, damage):
    run = judged(folder)["above"].parts[0].ours.runs[0]
    path = folder / "results" / "runs" / run / "evidence.npz"
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "other epoch":
        np.savez(path, **{"val.correct": np.zeros(360, bool)})
    else:
        np.savez(path, **{"val.correct": np.array([{}] * 360)})
    said = judged(folder)["above"].parts[0].ours
    assert said.tests == ()
    assert said.verdict is SUPPORTED


def test_on_the_papers_data_sizes_count_too(tmp_path):
    write_conf(tmp_path)
    fill(tmp_path, "high", (0.815, 0.818, 0.820, 0.822, 0.825), profile="paper")
    fill(tmp_path, "low", (0.600, 0.602, 0.604, 0.600, 0.604), profile="paper")
    found = judged(tmp_path, profile="paper")
    assert found["above"].verdict is SUPPORTED
    assert found["gain"].verdict is CONTRADICTED  # 21 points, where 2.1 are printed
    assert found["size"].verdict is SUPPORTED


@pytest.mark.parametrize(
    ("high", "verdict"), [((5, 9, 15), SUPPORTED), ((15, 15, 1), CONTRADICTED)]
)
def test_who_is_ahead_at_an_epoch_is_read_from_the_log(tmp_path, high, verdict):
    write_conf(tmp_path, checks={"x": {"ahead": "M1", "of": "M2"}, "y": {"reaches": "M1"}})
    fill(tmp_path, "high", GOOD, log=high)
    fill(tmp_path, "low", GOOD, log=(5, 9, 10))
    found = judged(tmp_path)
    assert found["x"].verdict is verdict
    assert found["x"].parts[0].ours.interval.size == pytest.approx(high[2] - 10)
    assert found["x"].papers_verdict is SUPPORTED  # 20 against 10
    assert found["y"].verdict is NOT_TESTABLE


def test_an_epoch_that_the_profile_does_not_evaluate_near_is_not_testable(tmp_path):
    write_conf(tmp_path, checks={"x": {"ahead": "M1", "of": "M2"}})
    found = judged(tmp_path, overrides="evaluation.every_epochs=10")["x"]
    assert found.verdict is NOT_TESTABLE
    assert "no evaluation lies near it" in found.parts[0].ours.reason


def test_a_log_that_does_not_go_so_far_is_no_value(tmp_path):
    write_conf(tmp_path, checks={"x": {"ahead": "M1", "of": "M2"}})
    assert judged(tmp_path)["x"].verdict is NOT_RUN
    for row in ("high", "low"):
        fill(tmp_path, row, GOOD, log=(5, 9))
    found = judged(tmp_path)["x"]
    assert (found.verdict, found.can_be_decided) == (NOT_RUN, True)
    assert "goes back to that epoch" in found.parts[0].ours.reason


def test_a_value_at_an_epoch_counts_on_the_papers_data(tmp_path):
    write_conf(tmp_path, checks={"x": {"reaches": "M1"}})
    fill(tmp_path, "high", GOOD, log=(1, 2, 19.8), profile="paper")
    assert judged(tmp_path, profile="paper")["x"].verdict is SUPPORTED
    fill(tmp_path, "high", GOOD, log=(1, 2, 12.0), profile="paper")
    assert judged(tmp_path, profile="paper")["x"].verdict is CONTRADICTED


def test_an_epoch_inside_our_warm_up_but_behind_the_papers_is_not_testable(tmp_path):
    conf = write_conf(tmp_path, checks={"x": {"ahead": "M1", "of": "M2"}})
    curves = conf / "figure" / "curves.yaml"
    curves.write_text(curves.read_text().replace("epoch: 3", "epoch: 8"))  # warm-up: 5 of them
    for row, last in (("high", 15), ("low", 10)):
        fill(tmp_path, row, GOOD, log=(*range(7), last))
    assert judged(tmp_path)["x"].verdict is SUPPORTED
    found = judged(tmp_path, overrides="profile.warmup_scale=2")["x"]
    assert found.verdict is NOT_TESTABLE
    assert found.parts[0].ours.reason == (
        "epoch 8 of the paper is epoch 8 here, inside our warm-up of 10 epochs; the paper's ends "
        "with epoch 5"
    )
    curves.write_text(curves.read_text().replace("epoch: 8", "epoch: 5"))  # both inside
    assert judged(tmp_path, overrides="profile.warmup_scale=2")["x"].verdict is NOT_RUN


@pytest.mark.parametrize(
    ("epoch", "warmup", "read"), [(3, 2, 2), (5, 4, 4), (7, 6, 6)], ids=["1.5", "2.5", "3.5"]
)
def test_between_two_evaluations_the_earlier_is_read_and_asked_whether_it_is_in_the_warm_up(
    tmp_path, epoch, warmup, read
):
    conf = write_conf(tmp_path, checks={"x": {"ahead": "M1", "of": "M2"}})
    curves = conf / "figure" / "curves.yaml"
    curves.write_text(curves.read_text().replace("epoch: 3", f"epoch: {epoch}"))
    ours = f"evaluation.every_epochs=2,warmup.epochs={warmup},profile.warmup_scale="
    scale = (read + 1) / warmup  # a warm-up that ends between the two
    found = judged(tmp_path, overrides=f"{ours}{scale}")["x"]
    assert found.verdict is NOT_TESTABLE
    assert f"is epoch {read} here, inside our warm-up of" in found.parts[0].ours.reason
    assert judged(tmp_path, overrides=f"{ours}0.5")["x"].verdict is NOT_RUN


@pytest.mark.parametrize(
    ("conv", "verdict"), [(0.3, SUPPORTED), (0.7, CONTRADICTED), (None, NOT_RUN)]
)
def test_what_the_text_says_of_figure_1_is_judged_by_the_similarity_of_tokens(
    tmp_path, conv, verdict
):
    write_conf(tmp_path, checks={"x": {"figure1": "lower_layers"}})
    fill(tmp_path, "low", GOOD, alike=0.5)
    fill(tmp_path, "high", [0.9, 0.8, 0.9, 0.9, 0.9], alike=conv)
    found = judged(tmp_path)["x"]
    assert (found.verdict, len(found.parts)) == (verdict, 1)
    if conv:
        assert found.parts[0].ours.interval.size == pytest.approx(conv - 0.5)


@pytest.mark.parametrize(
    ("conv", "verdict"), [(0.3, SUPPORTED), (0.7, CONTRADICTED), (None, NOT_RUN)]
)
def test_any_two_rows_can_be_asked_whose_lower_layers_are_less_alike(tmp_path, conv, verdict):
    write_conf(tmp_path, checks={"x": {"less_alike": "even", "than": "high"}})
    fill(tmp_path, "high", GOOD, alike=0.5)
    fill(tmp_path, "even", [0.9, 0.8, 0.9, 0.9, 0.9], alike=conv)
    found = judged(tmp_path)["x"]
    assert (found.verdict, found.papers_verdict) == (verdict, NOT_TESTABLE)
    if conv:
        said = found.parts[0].ours
        assert said.interval.size == pytest.approx(conv - 0.5)
        assert (said.unit, said.seeds, len(said.runs)) == ("cosine", 5, 10)


GIVEN = {"id": "x", "section": "A section", "says": "It says x.", "headline": True}
GIVEN |= {"given": [{"crashes": "dead"}], "checks": [{"higher": "low", "than": "high"}]}


@pytest.mark.parametrize(
    ("crashed", "verdict", "met"),
    [
        (5, CONTRADICTED, SUPPORTED),
        (3, UNDECIDED, UNDECIDED),
        (0, NOT_TESTABLE, CONTRADICTED),
        (None, NOT_RUN, NOT_RUN),
    ],
)
def test_a_claim_is_not_with_preconditions_where_its_precondition_is_not_met(
    tmp_path, crashed, verdict, met
):
    write_conf(tmp_path, claims=[GIVEN])
    fill(tmp_path, "high", GOOD)
    fill(tmp_path, "low", BAD)
    if crashed is not None:
        fill(tmp_path, "dead", [0.1] * 5, crashed=crashed)
    found = judged(tmp_path)["x"]
    assert found.verdict is verdict
    assert [(part.is_given, part.ours.verdict) for part in found.parts] == [
        (True, met),
        (False, CONTRADICTED),
    ]
    assert found.can_be_decided == (verdict is not NOT_TESTABLE)
    folder = tmp_path / "results" / "mini"
    text = (folder / "claims.md").read_text()
    assert f"| **It says x.** | {verdict} | precondition: dead crashes: " in text
    assert f"({met})<br>low above high: -39." in text
    assert [one.verdict for one in read_claims(folder / "claims.csv")] == [verdict]
    row = readme_section([found], "mini").partition("| It says x. | ")[2].partition(" |")[0]
    counted = "" if crashed is None else f": {crashed} of 5 runs crash"
    unmet = f"{verdict} (precondition {met}{counted})"
    assert row.startswith("contradicted: -39." if met is SUPPORTED else unmet)


def test_the_papers_own_numbers_have_to_meet_a_precondition_too(tmp_path):
    unmet = GIVEN | {"id": "y", "given": [{"crashes": "high"}]}  # the paper prints 81.9
    write_conf(tmp_path, claims=[GIVEN, unmet])
    found = judged(tmp_path)
    assert found["x"].papers_verdict is CONTRADICTED
    assert found["y"].papers_verdict is NOT_TESTABLE
    text = (tmp_path / "results" / "mini" / "claims.md").read_text()
    assert "contradicted: precondition: 1 of 1 printed as a crash<br>" in text


def test_an_interval_in_points_ends_at_a_hundred(tmp_path):
    write_conf(tmp_path)
    fill(tmp_path, "high", (1.0, 1.0, 0.1))
    fill(tmp_path, "low", (0.1, 0.1, 1.0))
    found = judged(tmp_path)
    assert found["above"].parts[0].ours.interval.high == 100
    assert found["below"].parts[0].ours.interval.low == -100


def test_a_table_that_a_profile_does_not_have_is_not_testable_and_says_so(folder):
    table = folder / "conf" / "table" / "table8.yaml"
    table.write_text(table.read_text() + "only_at: [paper]\n")
    found = judged(folder)
    assert {one.verdict for name, one in found.items() if name != "rate"} == {NOT_TESTABLE}
    assert found["above"].parts[0].ours.reason == "Table 8 is not part of profile mini"
    assert found["rate"].verdict is SUPPORTED  # a fact at paper scale
    assert found["above"].papers_verdict is SUPPORTED


def test_the_page_says_why_alike_counts_may_have_opposite_verdicts(folder):
    judged(folder)
    text = (folder / "results" / "mini" / "claims.md").read_text().partition("## How to read")[2]
    assert "0 of 3 and 0 of 3 contradict that both crash, and leave undecided that neither" in text
    assert "only the sign of a difference is judged" in text


def test_every_column_of_the_csv_is_explained(folder):
    judged(folder)
    header = (folder / "results" / "mini" / "claims.csv").read_text().splitlines()[0]
    text = (CONF_DIR.parent / "docs" / "reports.md").read_text()
    explained = set(re.findall(r"`(\w+)`", text.partition("## Columns of claims.csv")[2]))
    assert set(header.split(",")) <= explained
