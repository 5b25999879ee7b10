"""What the text says about Figure 1, as the report of the figure judges it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from scaledrelu.errors import TableError, nearest
from scaledrelu.reports.cells import CellValue, read_cell
from scaledrelu.reports.claims.decision import OPPOSITE, Interval, Verdict, is_above
from scaledrelu.reports.claims.findings import COSINE, CellName, Part, Said
from scaledrelu.reports.claims.spec import WHERE, Check
from scaledrelu.reports.similarity import Metric, Series, read_series
from scaledrelu.reports.statements import JudgedStatement, half_difference, judge
from scaledrelu.reports.statistics import estimate
from scaledrelu.tables.figures import FIGURE1, Kind, load_figure
from scaledrelu.tables.plan import Plan

PRINTED = Said(Verdict.NOT_TESTABLE, reason="a picture, printed without numbers")
ZERO = (0.0,)  # below it is what the text says
UNRECORDED = "no run of it has recorded similarities"
UNMEASURED = {
    Verdict.NOT_RUN: UNRECORDED,
    Verdict.NOT_TESTABLE: "the text does not say which sign is meant",
}
MEASURED = {  # kind -> what is measured; below zero is what the text says
    Kind.POSITION: "similarity behind the position embedding minus before it",
    Kind.LOWER: "similarity in the lower half of the layers, one minus the other",
    Kind.HIGHER: "similarity in the higher half of the layers, one minus the other",
    Kind.ALIKE: "distance of the two curves minus the mean distance of the others",
}


class FigureOne:
    """The curves of the figure's four runs.

    Args:
        plan: runs of the figure's table, among others.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._figure = load_figure(plan.conf_dir)

    def parts(self, check: Check, claim: str) -> Iterable[Part]:
        """Yield one part for each comparison behind a statement.

        Args:
            check: names the kind of the statement.
            claim: the claim that it belongs to, for the error.

        Raises:
            TableError: the figure has no such statement.
        """
        (kind,) = check.rows
        kinds = [statement.kind for statement in self._figure.statements]
        if kind not in kinds:
            raise TableError(
                f"{WHERE}, {claim}: figure1: no statement of kind '{kind}'{nearest(kind, kinds)}; "
                f"allowed: {', '.join(kinds)} (conf/figure/figure1.yaml)"
            )
        wanted = [one for one in self._figure.statements if one.kind == kind]
        for one in judge(wanted, self._series):
            if one.metric is Metric.ABSOLUTE:
                yield _part(check, one, self._figure.labels, self._series)

    def less_alike(self, one: CellValue, other: CellValue) -> Said:
        """Judge whether tokens of the lower layers are less alike in one row than in another.

        Args:
            one: a row of any table.
            other: the row that it is compared with.
        """
        pair = [read_series("", value, self._plan.results) for value in (one, other)]
        differences = half_difference(*pair, Metric.ABSOLUTE, Kind.LOWER)
        size = estimate(list(differences.values()))
        if size is None:
            return Said(Verdict.NOT_RUN, reason=UNRECORDED)
        runs = tuple(c.run_id for s in pair for c in s.drawn if c.seed in differences)
        found = Interval.around(size.mean, size.half)
        verdict = OPPOSITE[is_above(found, 0)]
        return Said(verdict, found, COSINE, seeds=size.n, runs=runs, turns_at=ZERO)

    @cached_property
    def _series(self) -> list[Series]:
        cells = [cell for cell in self._plan.cells if cell.table.name == FIGURE1]
        values = [read_cell(self._plan, cell) for cell in cells]
        named = zip(self._figure.labels, values, strict=True)
        return [read_series(*one, self._plan.results) for one in named]


def _part(
    check: Check, one: JudgedStatement, labels: tuple[str, ...], series: list[Series]
) -> Part:
    about = [label for label in labels if label in one.about.split(" against ")]
    cells = tuple(CellName(FIGURE1, 1 + labels.index(label), "similarity") for label in about)
    runs = [c.run_id for s in series if s.label in about for c in s.drawn]
    text = f"{MEASURED[one.statement.kind]}, {one.about}"
    said = replace(_said(one), runs=tuple(runs))
    return Part(text, check.relation, cells, said, PRINTED)


def _said(one: JudgedStatement) -> Said:
    if one.verdict in UNMEASURED:
        return Said(one.verdict, reason=UNMEASURED[one.verdict])
    interval = Interval.around(one.size.mean, one.size.half)
    return Said(one.verdict, interval, COSINE, seeds=one.size.n, turns_at=ZERO)
