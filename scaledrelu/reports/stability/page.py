"""The stability of one table as markdown: map, edges, sensitivity, overflow; holes as holes."""

from __future__ import annotations

from collections.abc import Sequence

from scaledrelu.reports.cells import CellValue
from scaledrelu.reports.command import how_to_train, overrides_note
from scaledrelu.reports.crash_rule import crash_sentence
from scaledrelu.reports.grid import DASH, seeds_text, signed
from scaledrelu.reports.markdown import made_on
from scaledrelu.reports.stability.edge import (
    HALF,
    NONE,
    Edge,
    Sensitivity,
    edge_of,
    sensitivity_of,
)
from scaledrelu.reports.stability.lines import RateLine, rates_of
from scaledrelu.reports.stability.more_seeds import MoreSeeds
from scaledrelu.reports.stability.overflow import EITHER, KINDS, Prediction, Watched, predict
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import title_of, value_text
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.table import Column, Table
from scaledrelu.text import markdown_table, plural

WHOSE = (
    "Wortsman et al. (2023), Small-scale proxies for large-scale Transformer training "
    "instabilities, section 2.2"
)


def page(
    plan: Plan,
    table: Table,
    lines: Sequence[RateLine],
    watched: Sequence[Watched],
    pictures: Sequence[str],
    more: Sequence[MoreSeeds],
) -> str:
    """Return the page.

    Args:
        plan: the plan that the table belongs to.
        table: the table.
        lines: its rows as lines of rates.
        watched: its finished runs.
        pictures: names of the pictures beside the page, without suffix.
        more: its settings with more seeds in another table.
    """
    column = table.metrics[0]
    shown = {name.removeprefix(table.name): f"![{name}]({name}.png)" for name in pictures}
    blocks = [
        _head(plan, table),
        _map(lines, column, [shown[key] for key in ("", "_rates") if key in shown]),
        _edges(lines),
        _more_seeds(more),
        _sensitivities(lines),
        _overflow(watched, shown.get("_largest", "")),
        _holes(plan, table),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def edge_text(edge: Edge | None) -> str:
    """Return an edge in a few words; what limits it stands beside it.

    Args:
        edge: the stability edge of a line; None where nothing has finished.
    """
    if edge is None:
        return DASH
    if edge.rate is None:
        text = "below the smallest rate"
    elif edge.next_rate is None:
        text = f"{value_text(edge.rate)} or more: the largest rate holds"
    else:
        text = f"{value_text(edge.rate)} (next: {value_text(edge.next_rate)})"
    text += f"; smaller rates do not hold: {_rates(edge.smaller)}" if edge.smaller else ""
    return text + (f"; unfinished: {_rates(edge.unfinished)}" if edge.unfinished else "")


def _head(plan: Plan, table: Table) -> str:
    composed = [cell.composed.config for cell in plan.cells_of(table)]
    blocks = [
        f"# Stability: {table.name}, {plan.profile} profile",
        table.opening,
        *(f"> {note}" for note in composed[0].profile.notes),
        overrides_note(plan),
        made_on(plan.runs_of(table)),
        *dict.fromkeys(crash_sentence(config) for config in composed),
    ]
    return "\n\n".join(filter(None, blocks))


def _map(lines: Sequence[RateLine], column: Column, pictures: Sequence[str]) -> str:
    if not lines:
        return (
            "Every row of this table starts from another run, so there is no map of rates: the "
            "rate of a row is not the one that its network first learned with."
        )
    rates = rates_of(lines)
    rows = [[one.name, *(_cell_text(one, rate, column) for rate in rates)] for one in lines]
    grid = markdown_table(["", *map(value_text, rates)], rows)
    about = (
        f"{column.header} by learning rate (`lr.base`) and warm-up (epochs of the paper): the mean "
        "over all finished seeds, crashed ones with the value they ended at."
    )
    return "\n\n".join(["## Map", about, *pictures, grid])


def _cell_text(one: RateLine, rate: float, column: Column) -> str:
    value = one.cells.get(rate)
    if value is None:
        return ""
    number = DASH if value.value is None else f"{value.value:.{column.digits}f}"
    return f"{number} ({seeds_text(value)})"


def _edges(lines: Sequence[RateLine]) -> str:
    if not any(value.finished for one in lines for value in one.cells.values()):
        return ""
    rows = [
        [one.name, *(edge_text(edge_of(one, allowed=allowed)) for allowed in (NONE, HALF))]
        for one in lines
    ]
    grid = markdown_table(["", "no seed crashes", "at most half crash"], rows)
    about = (
        "The largest tested rate at which no seed, or at most half of the finished seeds, crashed. "
        "The true edge lies between it and the next tested rate; where the largest tested rate "
        "still holds, the grid ends before the edge."
    )
    return "\n\n".join(["## Stability edge", about, grid])


def _more_seeds(more: Sequence[MoreSeeds]) -> str:
    if not more:
        return ""
    name = title_of(more[0].there.cell.table.name)
    rows = [
        [
            one.line.name,
            value_text(one.rate),
            _crashed(one.here),
            f"{_crashed(one.there)} (row {one.there.cell.row.number})",
        ]
        for one in more
    ]
    grid = markdown_table(["", "lr", "crashed here", f"crashed in {name}"], rows)
    about = (
        f"{name} trains some of these settings with more seeds, those of the map among them. Where "
        'one crashes there and none here, "no seed crashes" holds for the seeds of the map alone.'
    )
    return "\n\n".join(["## More seeds", about, grid])


def _crashed(value: CellValue) -> str:
    return f"{value.count(Status.CRASH)} of {len(value.finished)}"


def _sensitivities(lines: Sequence[RateLine]) -> str:
    found = {one.name: (one, s) for one in lines if (s := sensitivity_of(one)) is not None}
    if not found:
        return ""
    headers = ["", "rates", "sensitivity", "by seed", "loss at the best rate", "left out"]
    rows = []
    for name, (one, value) in found.items():
        span = f"{value_text(min(one.cells))} to {value_text(max(one.cells))} ({len(one.cells)})"
        rows.append([name, span, *_sensitivity_texts(value)])
    about = (
        f"How much the final loss depends on the rate ({WHOSE}): the mean over the tested rates of "
        "min(loss, l0), minus the loss at the best of them; 0 = every rate is as good. The loss is "
        "the validation loss at the end of the run. Their l0 is the loss at initialisation; ours "
        "is that of a uniform guess, ln C, since runs are not evaluated before they train. A run "
        "that crashed with a loss that was not finite counts with l0; one that collapsed with "
        "its own loss, at most l0. Each seed has its own number; mean +/- half of the 95 % t "
        "interval over seeds. Numbers over different rates cannot be compared, and a line that "
        "learns little at its best rate has a low number: read it beside the best loss."
    )
    return "\n\n".join(["## Sensitivity to the rate", about, markdown_table(headers, rows)])


def _sensitivity_texts(value: Sensitivity) -> list[str]:
    mean = value.estimate
    left = [f"seed {seed}: no rate beats a guess" for seed in value.untrained]
    left += [f"seed {seed}: not at every rate" for seed in value.incomplete]
    return [
        DASH if mean is None else mean.text(3),
        " ".join(f"{seed}={number:.3f}" for seed, number in value.by_seed.items()),
        " ".join(f"{seed}={number:.3f}" for seed, number in value.best.items()),
        "; ".join(left),
    ]


def _overflow(watched: Sequence[Watched], picture: str) -> str:
    methods = dict.fromkeys(one.run.config.method for one in watched)
    if not methods:
        return ""
    about = (
        "At every evaluation 64 validation images are watched (docs/reports.md says which): the "
        "largest output of any layer, and the largest product of a query and a key as fp16 formed "
        "it in 2021, before it is scaled (docs/recipes.md, section 2; in VOLO's class attention "
        "after). fp16 ends at 65,504. A run that did not train in fp16 says only what fp16 would "
        "have met on these images at these moments; larger values in between, on other images or "
        "in gradients are not seen."
    )
    parts = ["## Would fp16 have overflowed?", about, *([picture] if picture else [])]
    for method in methods:
        own = [one for one in watched if one.run.config.method == method]
        parts.append(_method_text(method, own))
    if damaged := [f"- `{one.run.run_id}`: {one.damage}" for one in watched if one.damage]:
        parts += ["What damaged files say is left out of these counts:", "\n".join(damaged)]
    return "\n\n".join(parts)


def _method_text(method: str, watched: Sequence[Watched]) -> str:
    found = [p for kind in (*KINDS, EITHER) if (p := predict(watched, kind)) is not None]
    whole = [one for one in watched if not one.damage]
    unknown = sum(one.is_over(EITHER) is None for one in whole)
    no_series = sum(not one.has_series for one in whole)
    lines = [f"**{method}**, {len(watched)} finished runs."]
    if unknown:
        lines.append(f"Not recorded at all, since they crashed before an evaluation: {unknown}.")
    if no_series - unknown > 0:
        lines.append(f"{no_series - unknown} of them do not record when their maximum came.")
    if not found:
        return " ".join(lines)
    headers = ["fp16 overflows in", "overflow, crash", "overflow, no crash", "none, crash"]
    headers += ["none, no crash", "right", "constant guess", "tau-b with the judged loss"]
    headers += ["seen before the crash"]
    rows = markdown_table(headers, map(_prediction_line, found))
    legend = (
        'right: runs that "an overflow means a crash, no overflow means none" gets right; constant '
        'guess: the better of "all crash" and "none does"; tau-b: Kendall\'s, of the largest value '
        "with the mean training loss of the last window, by which a collapse is judged (a loss "
        "that was not finite counts as the largest; the order of logarithms is the same); seen "
        "before the crash: of the crashed runs that record when, those that overflowed before the "
        "loss was not finite, or before it rose above the limit to stay there."
    )
    return "\n\n".join([" ".join(lines), rows, legend])


def _prediction_line(found: Prediction) -> list[str]:
    tau = DASH if found.tau is None else f"{signed(found.tau, 2)} ({found.num_ranked} runs)"
    return [
        found.kind,
        *map(str, (found.over_crash, found.over_held, found.under_crash, found.under_held)),
        f"{found.right} of {found.total}",
        f"{found.constant} of {found.total}",
        tau,
        f"{found.before} of {found.timed}" if found.timed else "not recorded",
    ]


def _holes(plan: Plan, table: Table) -> str:
    undone = sum(not run.status.done for run in plan.runs_of(table))
    if not undone:
        return ""
    return (
        f"## Not here yet\n\n- {plural(undone, 'run')}; to train what is missing: "
        f"{how_to_train(plan, table)}"
    )


def _rates(rates: Sequence[float]) -> str:
    return ", ".join(map(value_text, rates))
