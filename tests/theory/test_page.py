"""The page says what the numbers say: verdicts follow them, and what is not there is not run."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scaledrelu.config.places import CONF_DIR
from scaledrelu.reports.drawing import drawing
from scaledrelu.reports.statistics import Estimate
from scaledrelu.theory import (
    balance,
    balance_page,
    page,
    penalty,
    penalty_page,
    similarity,
    similarity_page,
    similarity_picture,
    trained,
    trained_page,
)
from scaledrelu.theory.finding import Finding, Section, Verdict, of_share, size, span
from scaledrelu.theory.networks import AroundReLU, Network
from scaledrelu.theory.records import Norms

ROOT = CONF_DIR.parent
PUBLISHED, PAGE = ROOT / "results/published/mini", ROOT / "docs/theory.md"
NOTHING = trained.Trained({}, (), ())


@pytest.fixture(scope="module")
def penalties():
    return penalty.measure([])


@pytest.fixture(scope="module")
def similarities():
    return similarity.measure(sizes=((196, 384),), seeds=(0,), widths=(48,))


def test_every_column_of_the_map_of_eq_6_has_its_shift(similarities):
    with drawing(4, 4) as (figure, ax):
        similarity_picture._draw_map(ax, similarities)
        shown = [float(text.get_text()) for text in ax.get_xticklabels()]
        assert shown == list(similarity.SHIFTS)
        assert figure.axes[1].get_ylabel() == "right side of Eq. 6"


def verdicts(section: Section) -> dict[str, Verdict]:
    return {finding.claim: finding.verdict for finding in section.findings}


def test_verdicts_of_theorem_1_follow_its_numbers(penalties):
    found = verdicts(penalty_page.section(penalties))
    l1 = "Theorem 1: the penalty is an l1 norm of the attention weights"
    definition = "... for the definition `beta * max(x + alpha, 0)`"
    assert (found[l1], found[definition]) == (Verdict.WRONG, Verdict.WRONG)
    assert Verdict.NOT_RUN in found.values()  # no network was there
    entrywise = tuple(replace(c, entries_C=c.found_C) for c in penalties.compared)
    other = replace(penalties, compared=entrywise, of_definition=(1e-15,))
    found = verdicts(penalty_page.section(other))
    assert (found[l1], found[definition]) == (Verdict.RIGHT, Verdict.RIGHT)


def test_verdicts_of_theorem_2_follow_its_numbers(similarities):
    claim = "A scaled ReLU makes the cosine smaller, under the theorem's premise"
    bounds = "Eq. 6 bounds the mean absolute cosine of any token matrix"
    found = verdicts(similarity_page.section(similarities))
    assert (found[claim], found[bounds]) == (Verdict.WRONG, Verdict.WRONG)
    alike = [
        replace(d, cosine=replace(d.cosine, absolute=0.9), bound=0.95) if d.shift is None else d
        for d in similarities.draws
    ]
    found = verdicts(similarity_page.section(replace(similarities, draws=tuple(alike))))
    assert (found[claim], found[bounds]) == (Verdict.RIGHT, Verdict.RIGHT)


def test_the_closed_form_lies_beside_the_draw_in_the_text(similarities):
    lines = "\n".join(similarity_page.section(similarities).blocks).splitlines()
    (row,) = [line for line in lines if line.startswith("| 0 | 0.3")]
    drawn, closed = (float(cell) for cell in row.strip("| ").split(" | ")[1:3])
    assert drawn == pytest.approx(closed, rel=0.02)
    assert closed == pytest.approx(1 / np.pi, abs=0.001)


def test_balance_is_a_log_ratio_of_zero_over_all_channels():
    found = Norms(np.array([[1.0, 2, 4]]), np.array([[10.0, 20, 40]]))
    assert (found.first, found.last, found.spread) == pytest.approx((1, 1, 0))
    assert found.correlation == pytest.approx(1)


def test_gradient_descent_balances_at_the_predicted_rate():
    flow = balance.flow()
    assert flow.predicted == pytest.approx(np.exp(-1))
    assert flow.measured == pytest.approx((flow.predicted, flow.predicted), rel=0.01)


def test_a_page_without_runs_says_so_and_draws_nothing_wrong(tmp_path, penalties, similarities):
    decay = balance_page.Decay((), 9.3, balance.flow())
    sections = [
        penalty_page.section(penalties),
        balance_page.section(decay),
        similarity_page.section(similarities),
        trained_page.section(NOTHING, ()),
    ]
    text = page.page_text(sections, [])
    assert "No run is trained" in text
    assert text.count("**not run**") >= 4
    files = balance_page.draw(decay, tmp_path) + trained_page.draw(NOTHING, (), tmp_path)
    bytes_before = [path.read_bytes() for path in files]
    trained_page.draw(NOTHING, (), tmp_path)
    assert [path.read_bytes() for path in files] == bytes_before
    assert page.page_text(sections, []) == text


def around(before: float, after: float, before_signed: float) -> AroundReLU:
    network = Network("exempt", 0, "trained", torch.nn.Identity(), torch.zeros(1))
    return AroundReLU(network, before, after, before_signed, after, 64, 16)


def learned(*differences: float, ratios=(-0.1, 0.1), correlations=(0.5,)) -> trained.Trained:
    compared = [
        trained.Difference("with", "without", "a setting", 0, Estimate(mean, 0.1, 0.1, 3), 0)
        for mean in differences
    ]
    shifts = trained.Shifts("a family", 3, np.array(ratios), -0.5, correlations)
    return trained.Trained({}, tuple(compared), (shifts,))


@pytest.mark.parametrize(
    ("differences", "after", "verdict"),
    [
        ((-0.3, -0.2), 0.1, "right"),
        ((0.3, 0.2), 0.9, "wrong"),
        ((0.3, -0.2), None, "undecided"),
        ((0.05, 0.09), None, "not run"),  # none is decided
    ],
)
def test_verdicts_of_trained_networks_follow_their_numbers(differences, after, verdict):
    seen = [around(0.5, value, -0.1) for value in ([after] if after else [0.1, 0.9])]
    section = trained_page.section(learned(*differences), seen)
    found = verdicts(section)
    assert found["Stems with a ReLU give less similar tokens"] == verdict
    real = found["A scaled ReLU makes real tokens less alike"]
    assert real == (verdict if after else Verdict.UNDECIDED)
    assert f"signed cosine rises in {len(seen)} of {len(seen)}" in "\n".join(section.blocks)


def test_shifts_are_counted_against_what_is_needed():
    (line,) = [
        finding.number
        for finding in trained_page.section(learned(ratios=(-0.6, -0.1, 0.1, 0.2)), ()).findings
        if finding.claim.startswith("Unsaid")
    ]
    assert line.startswith("50 % of 4 learned shifts are negative, the lowest is -0.60")
    assert line.endswith("1 channels have that")


def balanced(name: str, *, decays_all: bool, end: float, is_there: bool = True) -> balance.Balance:
    scale = np.array([[1.0, 1.01, 1.02]] * 2)
    reader = 10.0 ** np.array([[0, 0, 0], [end, end + 0.1, end + 0.2]])
    run = SimpleNamespace(name=name, seed=0, is_there=is_there)
    return balance.Balance(run, decays_all, 1.4, 0.9, {"projection": Norms(scale, reader)})


@pytest.mark.parametrize(("exempt", "answer"), [(-1.0, "1.4 yes"), (0.3, "1.4 no")])
def test_the_page_says_whether_exempting_alpha_and_beta_shows(exempt, answer):
    runs = (
        balanced("exempt", decays_all=False, end=exempt),
        balanced("all", decays_all=True, end=0.2),
        balanced("all", decays_all=True, end=0.4),
    )
    section = balance_page.section(balance_page.Decay(runs, 9.3, balance.flow()))
    assert answer in "\n".join(section.blocks)
    assert "1.4 | exempt | 0.9 | 1 | 0" in "\n".join(section.blocks)


def test_what_is_not_published_is_left_out(tmp_path):
    assert trained.measure(tmp_path) == NOTHING


def test_the_page_says_what_is_published():
    """Not its own networks, which are trained for it: `make theory` writes both."""
    found = trained.measure(PUBLISHED)
    assert len(found.differences) > 20
    text = PAGE.read_text()
    for block in trained_page.section(found, ()).blocks:
        assert block in text, "run make theory"


@pytest.mark.parametrize(
    ("holds", "total", "verdict"),
    [(0, 0, "not run"), (0, 3, "wrong"), (3, 3, "right"), (2, 3, "undecided")],
)
def test_a_verdict_needs_all_or_none(holds, total, verdict):
    assert of_share(holds, total) == verdict


def test_numbers_are_written_short():
    assert [size(x) for x in (0.0, 3e-16, 0.04071, 27.13)] == [
        "0",
        "less than 1e-12",
        "0.0407",
        "27.1",
    ]
    assert span([1.0001, 1.0002]) == "1"
    assert span([0.1, 0.3]) == "0.1 to 0.3"


def test_the_last_table_has_every_finding():
    finding = Finding("a claim", Verdict.MISSING, "`|w|` is 1", "a draw")
    text = page.page_text([Section(("a line",), (finding,))], [])
    assert r"| a claim | **missing** | `\|w\|` is 1 | a draw |" in text
