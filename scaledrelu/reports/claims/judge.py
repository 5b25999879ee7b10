"""Judges every claim twice: by our runs, and by the numbers that the paper prints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from scaledrelu.config.milestones import Milestone, load_milestones
from scaledrelu.errors import TableError, nearest
from scaledrelu.reports.claims.best_outcome import can_be_supported, turns_at, verdict_of
from scaledrelu.reports.claims.decision import (
    HALF,
    Count,
    Verdict,
    combine,
    is_above,
    is_as_printed,
    together,
)
from scaledrelu.reports.claims.facts import fact, is_as_said, shown
from scaledrelu.reports.claims.figure_one import PRINTED, FigureOne
from scaledrelu.reports.claims.findings import (
    OF_RUNS,
    PERCENT,
    POINTS,
    CellName,
    Judged,
    Measured,
    NoNumber,
    Part,
    Said,
)
from scaledrelu.reports.claims.limits import RULES, ratios_of
from scaledrelu.reports.claims.ours import OTHER_DATA, Ours
from scaledrelu.reports.claims.printed import Printed, papers_value
from scaledrelu.reports.claims.rows import Place, Rows
from scaledrelu.reports.claims.spec import WHERE, Check, Claim, Claims, Relation
from scaledrelu.tables.cell_planner import compose_at_paper
from scaledrelu.tables.composer import Compose
from scaledrelu.tables.plan import Plan

Side = Ours | Printed  # every method of either raises `NoNumber` where it has no number


def judge_claims(claims: Claims, rows: Rows, plan: Plan, compose: Compose) -> list[Judged]:
    """Judge every claim.

    Args:
        claims: what ``conf/claims.yaml`` says.
        rows: its named rows.
        plan: the tables that they are rows of, as far as the profile has them, and Figure 1.
        compose: overrides -> composed config.

    Raises:
        TableError: a setting or a milestone that does not exist.
    """
    milestones = {one.claim: one for one in load_milestones(plan.conf_dir).items}
    runs = {one.run: rows.same_run(one.run, compose) for one in milestones.values()}
    places = {name: runs[one.run] for name, one in milestones.items()}
    judge = _Judge(
        rows=rows,
        ours=Ours(plan, places),
        printed=Printed(claims.printed, compose),
        compose=compose,
        milestones=milestones,
        places=places,
        figure=FigureOne(plan),
        ratios=ratios_of(plan, claims.crash_limits),
    )
    return [
        Judged(
            name=claim.name,
            section=claim.section,
            says=claim.says,
            is_headline=claim.is_headline,
            parts=tuple(_parts(judge, claim)),
        )
        for claim in claims.claims
    ]


def _parts(judge: _Judge, claim: Claim) -> Iterable[Part]:
    for number, check in enumerate(claim.every_check):
        for part in judge(check, claim.name):
            possible = can_be_supported(check, part.ours)
            yield replace(part, is_given=number < len(claim.given), can_be_supported=possible)


@dataclass(frozen=True, slots=True)
class _Judge:
    """What checks are judged with; called with one, it yields its parts."""

    rows: Rows
    ours: Ours
    printed: Printed
    compose: Compose
    milestones: Mapping[str, Milestone]
    places: Mapping[str, Place | None]
    figure: FigureOne
    ratios: Sequence[float]

    def __call__(self, check: Check, claim: str) -> Iterable[Part]:
        relation = check.relation
        if relation is Relation.NO_RUN:
            told = Said(Verdict.NOT_TESTABLE, reason=check.reason)
            yield Part("", relation, (), told, told)
        elif relation is Relation.FIGURE1:
            yield from self.figure.parts(check, claim)
        elif relation is Relation.LESS_ALIKE:
            yield from self._less_alike(check)
        elif relation is Relation.SETTING:
            yield from self._settings(check)
        elif relation in (Relation.REACHES, Relation.AHEAD):
            yield from self._at_epochs(check, claim)
        elif relation in CRASHES:
            yield self._crashes(check)
        else:
            yield from self._numbers(check)

    def _numbers(self, check: Check) -> Iterable[Part]:
        """Compare every row with every other one, in each of the check's columns."""
        others = check.others or ("",)
        for column in check.columns or ("",):
            for name, other in product(check.rows, others):
                places = [self.rows.place(one, column) for one in (name, other) if one]
                try:
                    text = _words(check, *places)
                except NoNumber as error:
                    raise TableError(f"{WHERE}: {check.relation} {name}: {error.reason}") from error
                said = self._both(_compared, check, places)
                yield Part(text, check.relation, _cells(places), *said)

    def _both(self, ask: Callable[..., Said], *about: Any) -> list[Said]:
        """Return what our runs and the printed numbers say when asked the same."""
        return [_told(ask, side, *about) for side in (self.ours, self.printed)]

    def _crashes(self, check: Check) -> Part:
        """Look at rows together; a row counts over its data sets, the metrics of a run once."""
        rows = [self.rows.of_runs(name) for name in check.rows]
        said = self._both(_crashed, check.relation, rows)
        if said[0].counts:
            said[0] = replace(said[0], counts_at=self._counts_at(rows))
        cells = _cells(place for row in rows for place in row)
        verb = CRASHES[check.relation][0 if len(rows) > 1 else 1]
        text = f"{', '.join(check.rows)} {verb}"
        return Part(text, check.relation, cells, *said)

    def _counts_at(self, rows: Sequence[Sequence[Place]]) -> dict[float, tuple[Count, ...]]:
        usual, count = self.ratios[0], self.ours.count_at
        return {
            ratio: tuple(together([count(place, ratio, usual) for place in row]) for row in rows)
            for ratio in self.ratios
        }

    def _less_alike(self, check: Check) -> Iterable[Part]:
        """Compare the lower layers of rows, as Figure 1 does with those that it draws."""
        for names in product(check.rows, check.others):
            places = [self.rows.place(name) for name in names]
            said = _told(_less_alike, self.figure, self.ours, places)
            text = f"similarity in the lower half of the layers, {' minus '.join(names)}"
            yield Part(text, check.relation, _cells(places), said, PRINTED)

    def _settings(self, check: Check) -> Iterable[Part]:
        for name in check.rows:
            place = self.rows.place(name)
            config, upstream = compose_at_paper(self.compose, place.row, place.column)
            if check.of_upstream and upstream is None:
                raise TableError(f"{WHERE}: the row '{name}' starts from no other run")
            found = fact((upstream if check.of_upstream else config).config, check.key)
            holds = is_as_said(found, check.value, check.figures)
            verdict = Verdict.SUPPORTED if holds else Verdict.CONTRADICTED
            paper = Said(Verdict.NOT_TESTABLE, reason="a setting, not a number of a table")
            ours = Said(verdict, reason=shown(found))
            yield Part(f"{name}: {check.key}", check.relation, _cells([place]), ours, paper)

    def _at_epochs(self, check: Check, claim: str) -> Iterable[Part]:
        for name in (*check.rows, *check.others):
            if name not in self.milestones:
                near = nearest(name, self.milestones)
                raise TableError(
                    f"{WHERE}, {claim}: no milestone '{name}'{near}; allowed: "
                    f"{', '.join(self.milestones)} (conf/figure/curves.yaml)"
                )
        one = self.milestones[check.rows[0]]
        told = [one, *(self.milestones[name] for name in check.others)]
        places = [place for m in told if (place := self.places[m.claim])]
        names = [place.name for place in places] or [m.claim for m in told]
        if check.relation is Relation.REACHES:
            said = self._both(_at_value, one)
            text = f"{names[0]}: {one.paper:g} at epoch {one.epoch}"
        else:
            said = self._both(_ahead, *told)
            text = f"{' ahead of '.join(names)} at epoch {one.epoch}"
        yield Part(text, check.relation, _cells(places), *said)


def _cells(places: Iterable[Place]) -> tuple[CellName, ...]:
    return tuple(CellName(p.table.name, p.row.number, p.column.name) for p in places)


def _told(ask: Callable[..., Said], *about: Any) -> Said:
    try:
        return ask(*about)
    except NoNumber as answer:
        return Said(answer.verdict, reason=answer.reason)


def _less_alike(figure: FigureOne, ours: Ours, places: Sequence[Place]) -> Said:
    return figure.less_alike(*map(ours.cell, places))


def _compared(side: Side, check: Check, places: Sequence[Place]) -> Said:
    one, other = places[0], places[-1]
    match check.relation:
        case Relation.VALUE:
            if not side.compares_sizes(one):
                raise NoNumber(Verdict.NOT_TESTABLE, OTHER_DATA)
            found, printed = side.value(one), papers_value(one)
            return _said(is_as_printed(found.interval, printed), found, PERCENT, (printed,))
        case Relation.GAIN:
            return _gain(side, one, other)
    found = side.difference(one, other)
    verdict = verdict_of(check.relation, found.interval, check.limit)
    return _said(verdict, found, POINTS, turns_at(check.relation, check.limit))


def _gain(side: Side, one: Place, other: Place) -> Said:
    """Judge a printed gain: its sign everywhere, its size on the paper's data only."""
    found = side.difference(one, other)
    verdict = is_above(found.interval, 0)
    if not side.compares_sizes(one):
        reason = "sign only, because its size needs the paper's data"
        return _said(verdict, found, POINTS, (0.0,), reason)
    printed = papers_value(one) - papers_value(other)
    size = is_as_printed(found.interval, printed)
    return _said(combine((verdict, size)), found, POINTS, (0.0, printed))


def _crashed(side: Side, relation: Relation, rows: Sequence[Sequence[Place]]) -> Said:
    counts = tuple(together([side.count(place) for place in row]) for row in rows)
    total = together(counts)
    return Said(
        RULES[relation](counts),
        total.interval,
        OF_RUNS,
        turns_at=(HALF,),
        seeds=total.total,
        counts=counts,
        runs=tuple(dict.fromkeys(r for row in rows for place in row for r in side.runs(place))),
    )


CRASHES = {  # of several rows, of one
    Relation.CRASHES: ("crash", "crashes"),
    Relation.HOLDS: ("do not crash", "does not crash"),
    Relation.MOSTLY_CRASH: ("crash in most cases", "crashes in most cases"),
}


def _at_value(side: Side, milestone: Milestone) -> Said:
    found = side.reached(milestone)
    verdict = is_as_printed(found.interval, milestone.paper)
    return _said(verdict, found, PERCENT, (milestone.paper,))


def _ahead(side: Side, one: Milestone, other: Milestone) -> Said:
    found = side.lead(one, other)
    return _said(is_above(found.interval, 0), found, POINTS, (0.0,))


def _said(
    verdict: Verdict, found: Measured, unit: str, turns: tuple[float, ...], reason: str = ""
) -> Said:
    return Said(
        verdict=verdict,
        interval=found.interval,
        unit=unit,
        turns_at=turns,
        seeds=found.seeds,
        images=found.images,
        tests=found.tests,
        reason=reason or found.note,
        runs=found.runs,
    )


def _words(check: Check, one: Place, other: Place | None = None) -> str:
    """Return a relation in words."""
    beside = other.text if other else ""
    match check.relation:
        case Relation.NOT_HIGHER:
            return f"{one.text} at most {check.limit:g} points above {beside}"
        case Relation.ABOUT:
            return f"{one.text} within {check.limit:g} points of {beside}"
        case Relation.GAIN:
            printed = papers_value(one) - papers_value(other)
            return f"{one.text} {printed:.1f} points above {beside}"
        case Relation.VALUE:
            return f"{one.text}: {papers_value(one):.{one.column.digits}f}"
    return f"{one.text} above {beside}"
