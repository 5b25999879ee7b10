"""The main claims in README.md, between two markers, from the published claims of mini.

A pure function of ``claims.csv``: a second writing changes no byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaledrelu.config.places import published_root
from scaledrelu.errors import TableError
from scaledrelu.files import write_changed
from scaledrelu.reports.claims.cautions import chance_text, limits_sentence
from scaledrelu.reports.claims.decision import Verdict, combine, together
from scaledrelu.reports.claims.findings import OF_RUNS, Judged, Said
from scaledrelu.reports.claims.page import decided_text
from scaledrelu.reports.claims.records import read_claims
from scaledrelu.reports.claims.words import PRECONDITION, counts_of, number_text
from scaledrelu.reports.report_files import CLAIMS
from scaledrelu.text import markdown_table

README = "README.md"
START = "<!-- the claims: written by make publish, do not edit by hand -->"
END = "<!-- end of the claims -->"
HEADERS = ("claim", "by mini's runs", "by the paper's own numbers")


def readme_section(judged: Sequence[Judged], profile: str) -> str:
    """Return the text between the markers.

    Args:
        judged: the claims of a published profile.
        profile: its name.
    """
    rows = [[o.says, _in_short(o), o.papers_verdict] for o in judged if o.is_headline]
    folder = f"results/published/{profile}"
    about = (
        f"{decided_text(judged)} The main claims follow; the [page of all claims]"
        f"({folder}/{CLAIMS}.md) adds their cells, intervals and tests."
    )
    below = " ".join(filter(None, (chance_text(judged), limits_sentence(judged))))
    return "\n\n".join(filter(None, (about, markdown_table(HEADERS, rows), below)))


def write_readme(results: Path, root: Path, profile: str) -> Path | None:
    """Rewrite the claims in a repository's README, if these are its own published results.

    Args:
        results: results folder.
        root: the repository.
        profile: name of the profile that it shows.

    Returns:
        The README; None for results elsewhere, or where no claims are published.

    Raises:
        TableError: README.md has no place for them.
    """
    published, readme = published_root(results) / profile / f"{CLAIMS}.csv", root / README
    if results.resolve() != (root / "results").resolve() or not published.is_file():
        return None
    text = readme.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise TableError(f"{README}: has no lines '{START}' and '{END}'; the claims go between")
    section = readme_section(read_claims(published), profile)
    return write_changed(readme, f"{before}{START}\n\n{section}\n\n{END}{after}")


def _in_short(one: Judged) -> str:
    """Return the verdict with its number; of several parts that differ, how each came out."""
    met = combine(part.ours.verdict for part in one.given)
    if one.given and met is not Verdict.SUPPORTED:
        found = "; ".join(filter(None, (_number(part.ours) for part in one.given)))
        return f"{one.verdict} ({PRECONDITION} {met}{': ' if found else ''}{found})"
    parts = [part.ours for part in one.parts if not part.is_given]
    told = [said for said in parts if said.verdict is not Verdict.NOT_TESTABLE]
    if not told:
        return f"{one.verdict} ({parts[0].reason})"
    if len(told) > 1:
        differ = len({said.verdict for said in told}) > 1
        counts = counts_of(said.verdict for said in told)
        return f"{one.verdict} (of {len(told)} parts {counts})" if differ else str(one.verdict)
    found = _number(told[0])
    return f"{one.verdict}: {found}" if found else f"{one.verdict} ({told[0].reason})"


def _number(said: Said) -> str:
    if said.interval is None:
        return ""
    if said.unit == OF_RUNS:
        total = together(said.counts)
        return f"{total.crashed} of {total.total} runs crash"
    return number_text(said)
