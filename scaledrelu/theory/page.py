"""Writes the page on theory and its pictures from what its sections measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaledrelu.files import write_atomic
from scaledrelu.tables.plan import Plan
from scaledrelu.text import Say, markdown_table
from scaledrelu.theory import (
    balance,
    balance_page,
    penalty,
    penalty_page,
    similarity,
    similarity_page,
    similarity_picture,
    trained,
    trained_page,
)
from scaledrelu.theory.finding import Section
from scaledrelu.theory.networks import around_last_relu, load_networks
from scaledrelu.theory.plan import PROFILE, TheoryRun, named, theory_runs

PAGE, PICTURES = "theory.md", "pictures"
LOOKED_AT = ("exempt", "tail_exempt")  # runs whose networks are measured


def write_page(plan: Plan, *, docs: Path, published: Path, say: Say) -> list[Path]:
    """Measure everything and write ``theory.md`` and its pictures.

    Args:
        plan: the page's own runs, see ``theory/plan.py``.
        docs: folder of the page.
        published: folder with published results, one folder per profile below it.
        say: prints one line.
    """
    runs, pictures = theory_runs(plan), docs / PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    say("1 of 4: rescaling of networks")
    networks = [one for run in named(runs, *LOOKED_AT) for one in load_networks(run)]
    penalties = penalty.measure(networks)
    files = penalty_page.draw(penalties, pictures)
    say("2 of 4: weight decay")
    decay = balance_page.Decay(
        tuple(balance.measure(runs)), balance.papers_decay_done(plan.conf_dir), balance.flow()
    )
    files += balance_page.draw(decay, pictures)
    say("3 of 4: token matrices")
    similarities = similarity.measure()
    files += similarity_picture.draw(similarities, pictures)
    say("4 of 4: trained networks")
    learned = trained.measure(published / PROFILE)
    around = list(filter(None, map(around_last_relu, networks)))
    files += trained_page.draw(learned, around, pictures)
    sections = [
        penalty_page.section(penalties),
        balance_page.section(decay),
        similarity_page.section(similarities),
        trained_page.section(learned, around),
    ]
    write_atomic(docs / PAGE, page_text(sections, runs))
    return [docs / PAGE, *files]


def page_text(sections: Sequence[Section], runs: Sequence[TheoryRun]) -> str:
    """Return the whole page.

    Args:
        sections: all of them, in order.
        runs: the page's own runs.
    """
    rows = [
        (one.claim, f"**{one.verdict}**", one.number, one.where)
        for section in sections
        for one in section.findings
    ]
    blocks = [
        *_opening(),
        *(block for section in sections for block in section.blocks),
        "## Right, wrong and missing",
        markdown_table(("the argument", "verdict", "number", "measured on"), rows),
        *_runs(runs),
    ]
    return "\n\n".join(blocks) + "\n"


def _opening() -> list[str]:
    return [
        "# The paper's theory in numbers",
        "Written by `make theory`; do not edit. Theorem 1 says that a scaled ReLU regularises the "
        "attention weights behind it. Theorem 2 and Eq. 6 say that it makes tokens less alike. "
        "This page computes every step that can be computed; the [last "
        "table](#right-wrong-and-missing) gives the verdicts. The runs are at mini: they show what "
        "these formulas do in a network that trains, not what they do in DeiT-S on ImageNet.",
    ]


def _runs(runs: Sequence[TheoryRun]) -> list[str]:
    rows = []
    for one in runs:
        outcome = str(one.run.status)
        rows.append((f"`{one.name}`", str(one.seed), f"`{one.run.run_id}`", outcome, _top1(one)))
    return [
        "## Runs",
        "`conf/theory.yaml` names these runs. `make theory` leaves them in `results/runs/`, one "
        "folder per id. Their records are not published.",
        markdown_table(("name", "seed", "run", "outcome", "top-1"), rows),
    ]


def _top1(one: TheoryRun) -> str:
    result = one.run.result
    return f"{result.metrics['val/top1']:.1f}" if result and "val/top1" in result.metrics else "-"
