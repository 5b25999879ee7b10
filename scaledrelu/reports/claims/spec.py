"""What the paper claims, read strictly from ``conf/claims.yaml``; knows no runs.

A claim has one or more checks, and may have others that it takes for granted. A check is one
relation between rows of the tables, which have names of their own in the file, or a fact about how
the paper's rows are set up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from scaledrelu.errors import TableError, nearest
from scaledrelu.tables import reading
from scaledrelu.tables.reading import check_keys, check_pairs
from scaledrelu.tables.typed import is_whole

FILE = "claims.yaml"
WHERE = f"conf/{FILE}"
CLAIM_KEYS = ("id", "section", "says", "checks", "given", "headline")
PRINTED_KEYS = ("seed_sd", "early_sd")


class Relation(StrEnum):
    """What a check says; the word stands in the file in front of the row."""

    HIGHER = "higher"
    NOT_HIGHER = "not_higher"
    ABOUT = "about"
    GAIN = "gain"
    VALUE = "value"
    CRASHES = "crashes"
    HOLDS = "holds"
    MOSTLY_CRASH = "mostly_crash"
    LESS_ALIKE = "less_alike"
    FIGURE1 = "figure1"
    REACHES = "reaches"
    AHEAD = "ahead"
    SETTING = "setting"
    NO_RUN = "no_run"


# relation -> the key that names other rows, the keys it needs, the keys it may have
GRAMMAR: dict[Relation, tuple[str | None, tuple[str, ...], tuple[str, ...]]] = {
    Relation.HIGHER: ("than", ("than",), ("columns",)),
    Relation.NOT_HIGHER: ("than", ("than", "by"), ("columns",)),
    Relation.ABOUT: ("as", ("as", "within"), ("columns",)),
    Relation.GAIN: ("over", ("over",), ("columns",)),
    Relation.VALUE: (None, (), ("columns",)),
    Relation.CRASHES: (None, (), ()),
    Relation.HOLDS: (None, (), ()),
    Relation.MOSTLY_CRASH: (None, (), ()),
    Relation.LESS_ALIKE: ("than", ("than",), ()),
    Relation.FIGURE1: (None, (), ()),
    Relation.REACHES: (None, (), ()),
    Relation.AHEAD: ("of", ("of",), ()),
    Relation.SETTING: (None, ("key", "is"), ("of", "figures")),
    Relation.NO_RUN: (None, (), ()),
}
OF_NUMBERS = tuple(relation for relation, keys in GRAMMAR.items() if "columns" in keys[2])
NAMED_ELSEWHERE = (Relation.REACHES, Relation.AHEAD, Relation.FIGURE1)  # not by rows of a table


@dataclass(frozen=True, slots=True)
class Check:
    """One relation.

    Attributes:
        relation: which.
        rows: names of rows that it is about; of milestones, or a kind of statement on Figure 1.
        others: names of what each of them is compared with.
        limit: points that ``not_higher`` and ``about`` leave room for.
        columns: columns of the table; empty: its only one.
        key: of a setting.
        value: what the paper says it is.
        figures: significant figures in which it says so; None: all.
        of_upstream: whether the setting is one of the run that the row starts from.
        reason: why no run can tell.
    """

    relation: Relation
    rows: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    limit: float = 0.0
    columns: tuple[str, ...] = ()
    key: str = ""
    value: Any = None
    figures: int | None = None
    of_upstream: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the paper says, in our words, and how it is checked.

    Attributes:
        name: its id.
        section: of the paper.
        says: the sentence.
        checks: what it says.
        given: what it takes for granted; where that is not so, nothing puts it to the test.
        is_headline: whether it is a main claim.
    """

    name: str
    section: str
    says: str
    checks: tuple[Check, ...]
    given: tuple[Check, ...] = ()
    is_headline: bool = False

    @property
    def every_check(self) -> tuple[Check, ...]:
        """What it takes for granted, then what it says."""
        return self.given + self.checks


@dataclass(frozen=True, slots=True)
class RowName:
    """A row of a table by the overrides that set it apart."""

    name: str
    table: str
    run: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PrintedNoise:
    """What one printed number is taken to be worth.

    Attributes:
        seed_sd: metric -> standard deviation over seeds, in points.
        early_sd: the same of accuracy in the first epochs.
    """

    seed_sd: Mapping[str, float]
    early_sd: float


@dataclass(frozen=True, slots=True)
class Claims:
    """The whole file.

    Attributes:
        rows: by their names.
        claims: in the order of the file.
        printed: what one printed number is worth.
        crash_limits: ratios to the loss of a uniform guess that crashes are counted by as well.
    """

    rows: Mapping[str, RowName]
    claims: tuple[Claim, ...]
    printed: PrintedNoise
    crash_limits: tuple[float, ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that rows are taken from, each once."""
        return tuple(dict.fromkeys(row.table for row in self.rows.values()))


def load_claims(conf_dir: Path) -> Claims:
    """Read ``conf/claims.yaml``.

    Raises:
        TableError: one line that names the claim and what is allowed.
    """
    raw = reading.read_yaml(conf_dir / FILE, WHERE)
    check_keys(raw, ("printed", "crash_limits", "rows", "claims"), WHERE)
    rows = _rows(raw.get("rows", {}))
    claims = tuple(_claim(one, rows) for one in reading.a_list(raw, "claims", WHERE))
    names = [claim.name for claim in claims]
    if twice := [name for name in names if names.count(name) > 1]:
        raise TableError(f"{WHERE}: the id {twice[0]} is given twice; ids are unique")
    return Claims(rows, claims, _printed(raw.get("printed", {})), _crash_limits(raw))


def _rows(raw: Any) -> dict[str, RowName]:
    check_pairs(raw, f"{WHERE}, rows")
    found = {}
    for name, place in raw.items():
        where = f"{WHERE}, row '{name}'"
        check_pairs(place, where)
        if len(place) != 1:
            raise TableError(f"{where}: must be {{table: [overrides]}} with one table")
        (table,) = place
        found[str(name)] = RowName(str(name), str(table), reading.overrides(place, table, where))
    return found


def _claim(raw: Any, rows: Mapping[str, RowName]) -> Claim:
    check_pairs(raw, f"{WHERE}, claims")
    name = reading.a_text(raw, "id", "", f"{WHERE}, claims")
    where = f"{WHERE}, {name or 'a claim without id'}"
    check_keys(raw, CLAIM_KEYS, where)
    for key in CLAIM_KEYS[:4]:
        if not raw.get(key):
            raise TableError(f"{where}: no '{key}'; every claim needs one")
    return Claim(
        name=name,
        section=reading.a_text(raw, "section", "", where),
        says=reading.a_text(raw, "says", "", where),
        checks=tuple(_check(one, rows, where) for one in reading.a_list(raw, "checks", where)),
        given=tuple(_check(one, rows, where) for one in reading.a_list(raw, "given", where)),
        is_headline=reading.a_flag(raw, "headline", where),
    )


def _check(raw: Any, rows: Mapping[str, RowName], where: str) -> Check:
    check_pairs(raw, where)
    kinds = [relation for relation in Relation if relation in raw]
    if len(kinds) != 1:
        near = next((nearest(str(key), list(Relation)) for key in raw), "")
        raise TableError(
            f"{where}: a check has exactly one relation (found {', '.join(map(str, raw))}){near}; "
            f"allowed: {', '.join(Relation)}"
        )
    relation = kinds[0]
    other, needed, optional = GRAMMAR[relation]
    check_keys(raw, (relation, *needed, *optional), f"{where}, {relation}")
    for key in needed:
        if key not in raw:
            raise TableError(f"{where}, {relation}: no '{key}'; it needs one")
    if relation is Relation.NO_RUN:
        return Check(relation, reason=reading.a_text(raw, relation, "", where))
    return Check(
        relation=relation,
        rows=_names(raw, relation, rows, where),
        others=_names(raw, other, rows, where) if other else (),
        limit=_points(raw, "by" if "by" in raw else "within", where),
        columns=tuple(map(str, reading.a_list(raw, "columns", where))),
        key=reading.a_text(raw, "key", "", where),
        value=raw.get("is"),
        figures=_figures(raw, where),
        of_upstream=_of_upstream(raw, relation, where),
    )


def _names(
    raw: Mapping[str, Any], key: str, rows: Mapping[str, RowName], where: str
) -> tuple[str, ...]:
    value = raw[key]
    names = tuple(map(str, value if isinstance(value, list) else [value]))
    if not names:
        raise TableError(f"{where}: {key}: names no row")
    if any(relation in raw for relation in NAMED_ELSEWHERE):
        return names
    for name in names:
        if name not in rows:
            raise TableError(
                f"{where}: {key}: no row '{name}'{nearest(name, rows)}; rows have their names "
                f"under 'rows' in {WHERE}"
            )
    return names


def _points(raw: Mapping[str, Any], key: str, where: str) -> float:
    value = raw.get(key, 0.0)
    if not reading.is_number(value, highest=math.inf):
        raise TableError(f"{where}: {key}={value}: must be a number of points from 0 on")
    return float(value)


def _figures(raw: Mapping[str, Any], where: str) -> int | None:
    value = raw.get("figures")
    if value is not None and not is_whole(value, 1):
        raise TableError(f"{where}: figures={value}: must be a whole number from 1 on")
    return value


def _of_upstream(raw: Mapping[str, Any], relation: Relation, where: str) -> bool:
    if relation is not Relation.SETTING or "of" not in raw:
        return False
    if raw["of"] != "upstream":
        raise TableError(f"{where}: of={raw['of']}: not allowed; allowed: upstream")
    return True


def _crash_limits(raw: Mapping[str, Any]) -> tuple[float, ...]:
    found = reading.a_list(raw, "crash_limits", WHERE)
    for value in found:
        if not reading.is_number(value, highest=1.0) or not value:
            raise TableError(
                f"{WHERE}: crash_limits: {value}: must be a ratio above 0 and at most 1"
            )
    return tuple(map(float, found))


def _printed(raw: Any) -> PrintedNoise:
    where = f"{WHERE}, printed"
    check_keys(raw, PRINTED_KEYS, where)
    sds, early = raw.get("seed_sd", {}), raw.get("early_sd", 0.0)
    check_pairs(sds, f"{where}, seed_sd")
    for value in (*sds.values(), early):
        if not reading.is_number(value, highest=math.inf):
            raise TableError(f"{where}: {value}: must be a number of points from 0 on")
    return PrintedNoise(dict(sds), early)
