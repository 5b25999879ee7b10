"""Judged claims as a CSV, one line per relation between cells, and read back from it."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from scaledrelu.errors import TableError
from scaledrelu.reports.claims.decision import Count, Interval, Verdict
from scaledrelu.reports.claims.findings import OF_RUNS, CellName, Judged, Part, Said
from scaledrelu.reports.claims.per_image import McNemar
from scaledrelu.reports.claims.spec import Relation
from scaledrelu.text import csv_of

COLUMNS = (
    "claim",
    "section",
    "says",
    "headline",
    "decidable",
    "verdict",
    "paper_verdict",
    "part",
    "given",
    "relation",
    "compared",
    "cells",
    "part_verdict",
    "effect",
    "low",
    "high",
    "unit",
    "turns_at",
    "n_seeds",
    "n_images",
    "n_crash",
    "n_crash_at",
    "can_be_supported",
    "mcnemar",
    "reason",
    "part_paper_verdict",
    "paper_effect",
    "paper_low",
    "paper_high",
    "paper_n_seeds",
    "paper_n_images",
    "paper_n_crash",
    "paper_reason",
    "run_ids",
)  # docs/reports.md says what each holds
FEWEST_DIGITS = 4  # behind the point
OURS = {"verdict": "part_verdict", "effect": "effect", "low": "low", "high": "high"}
OURS |= {"seeds": "n_seeds", "images": "n_images", "counts": "n_crash", "reason": "reason"}
PAPERS = {key: f"paper_{name}" for key, name in OURS.items()} | {"verdict": "part_paper_verdict"}
SIDES = (OURS, PAPERS)  # columns of either side


def csv_text(judged: Iterable[Judged]) -> str:
    """Return one line per relation, in the order of the file."""
    rows = [
        {**_of_claim(one), "part": number, **_of_part(part)}
        for one in judged
        for number, part in enumerate(one.parts, start=1)
    ]
    return csv_of(COLUMNS, ([row[name] for name in COLUMNS] for row in rows))


def read_claims(path: Path) -> list[Judged]:
    """Read a CSV that `csv_text` wrote.

    Raises:
        TableError: it cannot be read, or another version wrote it.
    """
    try:
        lines = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        return [_judged(list(own)) for _, own in groupby(lines, key=itemgetter("claim"))]
    except (OSError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise TableError(
            f"{path}: not a list of claims of this version ({type(error).__name__}: {error}); "
            "write it again: make claims"
        ) from error


def _of_claim(one: Judged) -> dict[str, object]:
    return {
        "claim": one.name,
        "section": one.section,
        "says": one.says,
        "headline": _yes(one.is_headline),
        "decidable": _yes(one.can_be_decided),
        "verdict": one.verdict,
        "paper_verdict": one.papers_verdict,
    }


def _of_part(part: Part) -> dict[str, object]:
    fields = {
        "given": _yes(part.is_given),
        "relation": part.relation,
        "compared": part.text,
        "cells": " ".join(map(str, part.cells)),
        "unit": part.ours.unit or part.paper.unit,
        "turns_at": " ".join(f"{end:g}" for end in part.ours.turns_at or part.paper.turns_at),
        "n_crash_at": " ".join(
            f"{ratio:g}={':'.join(_counted(counts))}"
            for ratio, counts in part.ours.counts_at.items()
        ),
        "can_be_supported": _yes(part.can_be_supported),
        "mcnemar": " ".join(
            f"{t.seed}={t.only_one}:{t.only_other}:{t.p:.4g}" for t in part.ours.tests
        ),
        "run_ids": " ".join(part.ours.runs),
    }
    for said, names in zip((part.ours, part.paper), SIDES, strict=True):
        fields |= {names[key]: value for key, value in _of_side(said).items()}
    return fields


def _of_side(said: Said) -> dict[str, object]:
    found = said.interval or Interval(math.nan, None, None)
    digits = said.digits + (2 if said.unit == OF_RUNS else 0)  # a share, printed in percent
    return {
        "verdict": said.verdict,
        "effect": _number(said.interval and found.size, digits),
        "low": _number(found.low, digits),
        "high": _number(found.high, digits),
        "seeds": said.seeds or "",
        "images": said.images or "",
        "counts": " ".join(_counted(said.counts)),
        "reason": said.reason,
    }


def _number(number: float | None, digits: int) -> str:
    """Return a number with the digits that it is printed with elsewhere, or more; none for None."""
    return "" if number is None else f"{number:.{max(FEWEST_DIGITS, digits)}f}"


def _counted(counts: Iterable[Count]) -> list[str]:
    return [f"{count.crashed}/{count.total}" for count in counts]


def _judged(lines: Sequence[Mapping[str, str]]) -> Judged:
    first = lines[0]
    return Judged(
        name=first["claim"],
        section=first["section"],
        says=first["says"],
        is_headline=first["headline"] == "yes",
        parts=tuple(_part(line) for line in lines),
    )


def _part(line: Mapping[str, str]) -> Part:
    ours, paper = (_said(line, names) for names in SIDES)
    cells = (name.split(":") for name in line["cells"].split())
    return Part(
        text=line["compared"],
        relation=Relation(line["relation"]),
        cells=tuple(CellName(table, int(row), column) for table, row, column in cells),
        ours=replace(
            ours,
            tests=_tests(line),
            counts_at=_counts_at(line["n_crash_at"]),
            runs=tuple(line["run_ids"].split()),
        ),
        paper=paper,
        is_given=line["given"] == "yes",
        can_be_supported=line["can_be_supported"] == "yes",
    )


def _said(line: Mapping[str, str], names: Mapping[str, str]) -> Said:
    text = {key: line[name] for key, name in names.items()}
    ends = [float(text[key]) if text[key] else None for key in ("effect", "low", "high")]
    return Said(
        verdict=Verdict(text["verdict"]),
        interval=None if ends[0] is None else Interval(*ends),
        unit=line["unit"],
        turns_at=tuple(map(float, line["turns_at"].split())),
        seeds=int(text["seeds"] or 0),
        images=int(text["images"]) if text["images"] else None,
        counts=_counts(text["counts"].split()),
        reason=text["reason"],
    )


def _counts(texts: Iterable[str]) -> tuple[Count, ...]:
    return tuple(Count(*map(int, text.split("/"))) for text in texts)


def _counts_at(text: str) -> dict[float, tuple[Count, ...]]:
    pairs = (item.partition("=") for item in text.split())
    return {float(ratio): _counts(counts.split(":")) for ratio, _, counts in pairs}


def _tests(line: Mapping[str, str]) -> tuple[McNemar, ...]:
    items = (item.partition("=") for item in line["mcnemar"].split())
    numbers = ((int(seed), *rest.split(":")) for seed, _, rest in items)
    return tuple(McNemar(seed, int(one), int(other), float(p)) for seed, one, other, p in numbers)


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
