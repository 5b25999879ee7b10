"""The claims of the paper on one page: in words, verdict, number, the paper's, the cells."""

from __future__ import annotations

from collections.abc import Sequence

from scaledrelu.reports.cells import read_cell
from scaledrelu.reports.claims.cautions import cautions_text, limits_section
from scaledrelu.reports.claims.decision import LARGELY, Verdict
from scaledrelu.reports.claims.findings import Judged
from scaledrelu.reports.claims.limits import counts_of_runs, ratios_of
from scaledrelu.reports.claims.spec import WHERE, Claims, PrintedNoise
from scaledrelu.reports.claims.words import (
    PRECONDITION,
    SMALL_P,
    UNSUPPORTABLE,
    cells_text,
    found_text,
    papers_text,
)
from scaledrelu.reports.command import how_to_train
from scaledrelu.reports.markdown import made_on
from scaledrelu.runs.record import Status
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.text import markdown_table, plural

HEADERS = ("no.", "claim", "here", "found here", "by the paper's own numbers")
COUNTED = tuple(Verdict)


def claims_page(judged: Sequence[Judged], claims: Claims, plan: Plan) -> str:
    """Return the page.

    Args:
        judged: the claims, in the order of the paper.
        claims: what ``conf/claims.yaml`` says.
        plan: the tables that they are about, and Figure 1.
    """
    notes = plan.cells[0].composed.config.profile.notes if plan.cells else ()
    values = [read_cell(plan, cell) for cell in plan.cells]
    blocks = [
        f"# What the paper claims, {plan.profile} profile",
        *(f"> {note}" for note in notes),
        made_on(plan.runs.values()),
        head_text(judged),
        *_sections(judged, [table.name for table in plan.tables]),
        limits_section(judged, counts_of_runs(values, ratios_of(plan, claims.crash_limits))),
        _not_run(plan),
        _how_to_read(judged, claims.printed),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def head_text(judged: Sequence[Judged]) -> str:
    """Return how many claims have which verdict, in a sentence and by what they rest on."""
    return f"{counts_text(judged)}\n\n{_summary(judged)}"


def counts_text(judged: Sequence[Judged]) -> str:
    """Return how many claims a profile can decide, how many it does, and how many only one way."""
    able = [one for one in judged if one.can_be_decided]
    one_way = sum(not one.can_be_supported for one in able)
    never = (
        f" No outcome with these seeds and images could support {one_way} of the {len(able)}: "
        "they can only be contradicted or stay undecided."
    )
    return f"{decided_text(judged)}{never if one_way else ''}"


def decided_text(judged: Sequence[Judged]) -> str:
    """Return how many claims a profile can decide, and how it decides them."""
    able = [one for one in judged if one.can_be_decided]
    decided = [one for one in able if one.verdict.is_decided]
    return (
        f"Of {plural(len(able), 'claim')} that runs of this profile can decide, {len(decided)} "
        f"{'is' if len(decided) == 1 else 'are'} decided: "
        f"{_count(able, Verdict.SUPPORTED)} supported, "
        f"{_count(able, Verdict.CONTRADICTED)} contradicted; "
        f"{_count(able, Verdict.UNDECIDED)} undecided, {_count(able, Verdict.NOT_RUN)} not run."
    )


def _count(judged: Sequence[Judged], verdict: Verdict) -> int:
    return sum(one.verdict is verdict for one in judged)


def _summary(judged: Sequence[Judged]) -> str:
    """Count the verdicts by what they rest on."""
    runs = [one for one in judged if not one.is_setting]
    settings = [one for one in judged if one.is_setting]
    papers = [one.papers_verdict for one in runs]
    rows = (
        ("our runs", [one.verdict for one in runs]),
        ("the configuration at paper scale (facts of the set-up)", [o.verdict for o in settings]),
        ("the paper's own printed numbers", papers),
    )
    lines = (
        [name, str(len(verdicts)), *(str(verdicts.count(v)) for v in COUNTED)]
        for name, verdicts in rows
    )
    return markdown_table(["judged by", "claims", *COUNTED], lines)


def _sections(judged: Sequence[Judged], tables: Sequence[str]) -> list[str]:
    """Return one table for each section of the paper, in the order of the file."""
    found = []
    for section in dict.fromkeys(one.section for one in judged):
        rows = [_row(one, tables) for one in judged if one.section == section]
        found.append(f"## {section}\n\n{markdown_table([*HEADERS, 'cells'], rows)}")
    return found


def _row(one: Judged, tables: Sequence[str]) -> list[str]:
    says = f"**{one.says}**" if one.is_headline else one.says
    cells = cells_text(one, tables)
    return [one.name, says, one.verdict, found_text(one), papers_text(one), cells]


def _not_run(plan: Plan) -> str:
    """Return the command for every table with runs that can start and have no result."""
    items = [
        f"- {table.name}: {how_to_train(plan, table)}"
        for table in plan.tables
        if any(_is_open(plan, run) for run in plan.runs_of(table))
    ]
    if not items:
        return ""
    return "\n".join(["## Not run yet", "", "To train what is missing:", "", *items])


def _is_open(plan: Plan, run: PlannedRun) -> bool:
    return run.status in (Status.MISSING, Status.FAILED) and not plan.crashed_upstream(run)


def _how_to_read(judged: Sequence[Judged], noise: PrintedNoise) -> str:
    spreads = ", ".join(f"{sd:g} for `{metric}`" for metric, sd in noise.seed_sd.items())
    items = [
        "supported, contradicted: the 95 % interval (in brackets) lies on one side of what the "
        "claim says. It is the interval of the mean difference over paired seeds, widened by that "
        "over validation images, and ends at -100 and +100 points. A claim of several parts is "
        "contradicted if one part is, and supported if all are.",
        f"{PRECONDITION}: what a claim takes for granted. Where that is undecided or not run, so "
        "is the claim, and where it is contradicted the claim is not testable, whatever its other "
        "parts say: nothing has put it to the test. The same holds for the paper's own numbers.",
        f"{UNSUPPORTABLE}: the claim counts among those that can be decided, but the best result "
        "that its runs could have would leave it undecided.",
        *cautions_text(judged),
        "undecided: seeds and images cannot tell; one seed never can. Not run: a row has no "
        "finished run. Not testable: not by runs of this profile, or not by any; the "
        "reason stands in place of a number.",
        "A row crashes if more than half of its runs do. That is decided where the Wilson interval "
        "of the share excludes 50 %, which takes at least 4 runs. That several rows crash, or do "
        "not, is supported only if each row by itself is decided that way, and contradicted also "
        "by their runs together, whose share is printed: 0 of 3 and 0 of 3 contradict that both "
        "crash, and leave undecided that neither does.",
        "McNemar: in how many seeds the two runs differ on the images (exact test, p < "
        f"{SMALL_P}); up means that the row named first is right more often.",
        LARGELY,
        "In cosine: by the mean absolute cosine between tokens; below zero is what the text says.",
        "The paper's own numbers are single runs. Assumed standard deviation over seeds, in "
        f"points: {spreads}, {noise.early_sd:g} in the first epochs; beside it what the validation "
        "images can resolve. A printed crash is taken to be how the runs of its row end. These "
        f"assumptions stand in {WHERE}.",
        "Bold: the main claims. C01 to C31 are the numbers of the text; the others are what it "
        "says about each table, in our words.",
        "Every number with its runs, and McNemar's counts: claims.csv (columns: docs/reports.md).",
    ]
    return "\n".join(["## How to read this", "", *(f"- {item}" for item in items)])
