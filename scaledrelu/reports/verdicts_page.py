"""One page that says of every published table what reproduces, what does not, and what is open.

A pure function of the published CSVs: a second writing changes no byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from scaledrelu.config.places import published_root
from scaledrelu.files import write_changed
from scaledrelu.reports.agreement import CrashCount
from scaledrelu.reports.grid import signed
from scaledrelu.reports.published_tables import PublishedTable, read_published
from scaledrelu.reports.row_pairs import Comparison, PairOutcome, comparisons, orders
from scaledrelu.reports.verdicts import (
    crash_count,
    crash_rows,
    telling_labels,
    verdicts,
    where_text,
)
from scaledrelu.text import markdown_table, plural

PROFILE = "mini"  # the only profile that the page is about
PAGE = Path("docs", "results.md")
HEAD = """# What reproduces, what does not, and what mini cannot decide

Made from the CSVs in `results/published/mini/` by `make publish`; do not edit it by hand.

These are the tables of the mini profile: the paper's experiments made small enough for a CPU, with
handwritten digits in place of ImageNet-1k, drawn people in place of photographs (Table 4), and
small models. This is another experiment than the paper's: do not compare accuracies, but only which
rows crash and how rows are ordered. {seeds}
The results depend on the type of the processor, above all near the edge of stability; the head of
every report names the devices behind it. [reports.md](reports.md) explains how rows are judged. In
short:

- **Crashes:** a row counts as a crash if more than half of its finished seeds crashed. In a mean, a
  crashed run counts with the value that it ended at. A run without a value is in no mean: its loss
  was no longer finite before it was evaluated, or it could not start because its pre-training
  crashed.
- **Pairs:** a block is a group of rows in the paper's table. We compare pairs of rows for which the
  paper prints two different numbers: a row and the base row of its block; two other rows of a
  block; two rows of different blocks, trained by the same method, that agree in every label except
  those that tell the blocks apart. The pairs of a block share rows, so their counts are not
  independent.
- **Decided pairs:** a pair is decided if the 95 % interval of our difference over paired seeds
  excludes zero and the validation images can resolve the difference. It is then "as in the paper"
  or "the other way round". Seeds with a value in both rows are paired; if they are fewer than
  three, their number is printed. Of pairs without any true difference, up to one in twenty is
  decided by chance.
- **Tau-b** compares the order of a block's rows with the paper's: 1 for the same order, -1 for the
  reverse, 0 for a constant guess. It uses the means alone, not how sure they are."""
NOTHING = "Nothing that mini decides."


def results_page(folder: Path) -> str:
    """Return the page about the published tables of the mini profile.

    Args:
        folder: ``results/published/mini``.

    Raises:
        TableError: no table there, or one of another version.
    """
    tables = read_published(folder)
    compared = [table for table in tables if crash_rows(table)]
    others = [table.title for table in tables if table not in compared]
    parts = [HEAD.format(seeds=_seeds(compared)), _overview(compared)]
    parts += [_about(table) for table in compared]
    if others:
        told = "Not compared, because the paper prints no such numbers"
        parts.append(f"{told}: {'; '.join(others)}.")
    return "\n\n".join(parts) + "\n"


def write_results_page(results: Path, root: Path) -> Path | None:
    """Rewrite the page of a repository, if these are its own published results.

    Args:
        results: results folder.
        root: the repository.

    Returns:
        The page; None for results elsewhere, which the repository's page is not about.

    Raises:
        TableError: no published table there, or one of another version.
    """
    if results.resolve() != (root / "results").resolve():
        return None
    page, text = root / PAGE, results_page(published_root(results) / PROFILE)
    return write_changed(page, text)


def _seeds(tables: Sequence[PublishedTable]) -> str:
    found = {line.n for table in tables for line in table.lines if line.n}
    if not found:
        return "No run has finished."
    least, most = min(found), max(found)
    number = str(most) if least == most else f"{least} to {most}"
    return f"Every row was trained with {number} seed{'s' if most > 1 else ''}."


def _overview(tables: Sequence[PublishedTable]) -> str:
    headers = [
        "table",
        "crashes of the paper that happen here too",
        "crash or no crash as in the paper",
        'right guesses by "never a crash"',
        *(
            f"pairs {outcome}"
            for outcome in (PairOutcome.REVERSED, PairOutcome.ALIKE, PairOutcome.UNDECIDED)
        ),
    ]
    lines = []
    for table in tables:
        anchor = table.title.lower().replace(",", "").replace(" ", "-")
        link = f"[{table.title.removeprefix('Table ')}](#{anchor})"
        lines.append([link, *_crashes(crash_count(table)), *_outcomes(comparisons(table))])
    counts = [crash_count(table) for table in tables]
    total = CrashCount(*(sum(c) for c in zip(*map(astuple, counts), strict=True)))
    found = [comparison for table in tables for comparison in comparisons(table)]
    lines.append(["all", *_crashes(total), *_outcomes(found)])
    shared = f"A row that two tables share counts in each of them.{_crashed_starts(tables)}"
    return f"{markdown_table(headers, lines)}\n\n{shared}"


def _crashed_starts(tables: Sequence[PublishedTable]) -> str:
    """Say where runs could not start, since another had crashed, and what the others say alone."""
    rows = [(table.title, crash_rows(table)) for table in tables]
    every = [row.line for _, own in rows for row in own]
    starts = dict.fromkeys(start for line in every for start in line.crashed_starts)
    if not starts:
        return ""
    places = []
    for start in starts:
        behind = [(t, [row for row in own if start in row.line.crashed_starts]) for t, own in rows]
        named = [f"{title}, {where_text(own)}" for title, own in behind if own]
        places.append(f"These would start from `{start}`: {'; '.join(named)}.")
    ran = [line.started for line in every if line.crashes_in_paper and line.started[1]]
    both = sum(2 * n_crash > n for n_crash, n in ran)
    return (
        " If a pre-training crashed, the runs that should start from it cannot, and count as "
        f"crashes. {' '.join(places)} Without the runs that could not start, {both} of {len(ran)} "
        "crashes of the paper happen here."
    )


def _crashes(count: CrashCount) -> list[str]:
    return [
        f"{count.both} of {count.paper_crashes}",
        f"{count.alike} of {count.total}",
        f"{count.never} of {count.total}",
    ]


def _outcomes(found: Sequence[Comparison]) -> list[str]:
    return [
        str(sum(comparison.count(outcome) for comparison in found))
        for outcome in (PairOutcome.REVERSED, PairOutcome.ALIKE, PairOutcome.UNDECIDED)
    ]


def _about(table: PublishedTable) -> str:
    found = verdicts(table)
    names = telling_labels(table.lines)
    rows = len({row.row for row in table.lines if row.row})
    differ = f" that differ in {', '.join(names)}" if names else ""
    parts = [
        f"## {table.title}",
        f"{plural(rows, 'row')}{differ}: [the table](../results/published/{PROFILE}/"
        f"{table.name}.md).",
        _section("Does not reproduce", found.fails),
        _section("Reproduces", found.holds),
        _section("Mini cannot decide", found.open),
        _counts(table),
    ]
    return "\n\n".join(part for part in parts if part)


def _section(title: str, sentences: Sequence[str]) -> str:
    return "\n".join([f"**{title}**", "", *(f"- {text}" for text in sentences or [NOTHING])])


def _counts(table: PublishedTable) -> str:
    """Return the pairs of every block and metric by how they came out, with the block's tau-b."""
    found, several = comparisons(table), len(table.metrics) > 1
    headers = ["pairs", "block", *["metric"] * several, "that the paper orders"]
    headers += [PairOutcome.REVERSED, PairOutcome.ALIKE, PairOutcome.UNDECIDED]
    lines = []
    for comparison in found:
        place = [comparison.kind, " / ".join(comparison.blocks)]
        place += [comparison.metric] * several
        lines.append([*place, str(len(comparison.pairs)), *_outcomes([comparison])])
    taus = [
        f"{o.block}{f', {o.metric}' * several}: {signed(o.tau, 2)} over {o.num_rows} rows"
        for o in orders(table)
    ]
    told = f"Tau-b: {'; '.join(taus)}." if taus else ""
    grid = markdown_table(headers, lines) if found else ""
    return "\n\n".join(part for part in (grid, told) if part)
