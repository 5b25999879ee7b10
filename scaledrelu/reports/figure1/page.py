"""Figure 1 in words and numbers: what is drawn, our means, and what holds of the text."""

from __future__ import annotations

from collections.abc import Sequence

from scaledrelu.reports.cells import CellValue
from scaledrelu.reports.claims.decision import LARGELY, Verdict
from scaledrelu.reports.command import how_to_train
from scaledrelu.reports.footnotes import footnotes
from scaledrelu.reports.grid import DASH, difference_text, grids, signed
from scaledrelu.reports.markdown import crash_rules, made_on, section
from scaledrelu.reports.recipe_differences import recipe_differences
from scaledrelu.reports.similarity import Metric, Series, absences, layer_names
from scaledrelu.reports.statements import JudgedStatement, judge
from scaledrelu.reports.statistics import estimate, telling_digits
from scaledrelu.runs.record import Status
from scaledrelu.tables.figures import FIGURE1, Figure
from scaledrelu.tables.plan import Plan
from scaledrelu.text import markdown_table, plural

SEEDS = "Seed by seed"
DIGITS = 3  # behind the point of a similarity, where these suffice
ABOUT = (
    "A point is the mean cosine between two different patch tokens of one image, over all pairs "
    "and over all validation images, after the stem, after the position embedding and after every "
    "block, of the trained network in evaluation mode. The class token is left out. The paper says "
    "neither which images it takes nor what it does with the class token (recipes G.5).",
    "Two means: of the absolute value of the cosine, which Eq. 6 suggests, and of the cosine with "
    "its sign, which Eq. 5 defines. Eq. 6 is derived for tokens without negative entries, as they "
    "are right after a ReLU; there the two means are the same. The four stems end in a projection, "
    "and after it, after the position embedding and after a block tokens have entries of both "
    "signs: there Eq. 6 does not bound the absolute mean.",
)


def page(plan: Plan, figure: Figure, values: Sequence[CellValue], series: Sequence[Series]) -> str:
    """Return the text of the figure.

    Args:
        plan: the plan behind the table of the figure.
        figure: what the paper prints.
        values: its cells, in the order of the legend.
        series: the curves of these cells.
    """
    table = figure.table
    judged = judge(figure.statements, series)
    blocks = [
        f"# Figure 1, {plan.profile} profile\n\n{table.opening}",
        *(f"> {note}" for note in values[0].cell.composed.config.profile.notes),
        f"![{table.title}]({FIGURE1}.png)",
        *ABOUT,
        _papers_curves(figure),
        made_on(plan.runs_of(table)),
        *crash_rules(table, values),
        "## What the text says about it\n\n" + _statements(judged),
        "\n".join(f"- {note}" for note in _about_statements(series)),
        _seed_by_seed(judged),
        *(_means(figure, series, metric) for metric in Metric),
        "## Its runs\n\n" + grids(table, values),
        section("Not drawn", absences(series)),
        section("Not here yet", _holes(plan, figure, series)),
        recipe_differences(plan, table),
        section("Notes", _notes(plan, figure, values)),
        section("Runs", [_runs(one) for one in series]),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _papers_curves(figure: Figure) -> str:
    known = [label for label in figure.labels if label in figure.values]
    ticks = [f"{figure.axes.y_ticks[i]:g}" for i in (0, -1)] if figure.axes.y_ticks else []
    span = f" Its axis goes from {ticks[0]} to {ticks[1]}." if ticks else ""
    if known:
        return f"The paper's curves, read off its picture: {', '.join(known)}.{span}"
    return (
        "The paper's curves are a picture, whose values are not available to us; its axes, its "
        f"legend and what the text says about it are available.{span} Values that somebody reads "
        f"off the picture go into `values:` of `conf/figure/{FIGURE1}.yaml` and are then drawn "
        "beside ours."
    )


def _statements(judged: Sequence[JudgedStatement]) -> str:
    head = ["no.", "the text", "ours", "difference +/- 95 % t interval", "seeds below zero"]
    head += ["similarity", "where"]
    lines = []
    for number, one in enumerate(judged, start=1):
        below = sum(value < 0 for value in one.per_seed.values())
        counted = f"{below} of {len(one.per_seed)}" if one.per_seed else DASH
        about = f"{one.about}; {one.remark}" if one.remark else one.about
        ours = "no sign stated" if one.verdict is Verdict.NOT_TESTABLE else one.verdict
        found = [ours, _size(one), counted]
        lines.append([str(number), one.statement.says, *found, one.metric, about])
    return markdown_table(head, lines)


def _size(one: JudgedStatement) -> str:
    size = one.size
    return DASH if size is None else difference_text(size, DIGITS)


def _seed_by_seed(judged: Sequence[JudgedStatement]) -> str:
    """Return the difference of every seed, a column for each; empty without a seed."""
    seeds = sorted({seed for one in judged for seed in one.per_seed})
    if not seeds:
        return ""
    head = ["no.", "similarity", *(f"seed {seed}" for seed in seeds)]
    lines = []
    for number, one in enumerate(judged, start=1):
        digits = telling_digits(((value, 0.0) for value in one.per_seed.values()), DIGITS)
        values = (one.per_seed.get(seed) for seed in seeds)
        texts = (DASH if value is None else signed(value, digits) for value in values)
        lines.append([str(number), one.metric, *texts])
    return f"## {SEEDS}\n\n{markdown_table(head, lines)}"


def _about_statements(series: Sequence[Series]) -> list[str]:
    layers = next((one.mean(Metric.ABSOLUTE) for one in series if one.drawn), ())
    names, middle = layer_names(len(layers)), len(layers) // 2
    halves = f": {names[0]} to {names[middle - 1]}" if layers else ""
    return [
        "Below zero is what the text says. Position embedding: after it minus before it. Layers: "
        "the first series minus the second, mean over the lower half of the layers"
        f"{halves}, or over the upper half. Similar trend: the distance of the two curves (mean "
        "over layers of the absolute difference) minus the mean distance of the other pairs.",
        "Supported or contradicted: the interval over seeds excludes zero. Undecided: it does "
        "not, or there is one seed. Seeds are paired; every finished run counts, crashed or not.",
        LARGELY,
    ]


def _means(figure: Figure, series: Sequence[Series], metric: Metric) -> str:
    drawn = [one for one in series if one.drawn]
    if not drawn:
        return ""
    names = layer_names(len(drawn[0].mean(metric)))
    papers = [
        label for label in figure.labels if len(figure.values.get(label, ())) == len(names)
    ] * (metric is Metric.ABSOLUTE)
    head = ["layer", *(o.label for o in drawn), *(f"{p}, paper" for p in papers)]
    lines = []
    for i, name in enumerate(names):
        ours = [_estimate([curve[i] for curve in one.of(metric).values()]) for one in drawn]
        lines.append([name, *ours, *(f"{figure.values[label][i]:g}" for label in papers)])
    return f"## Our means, {metric} similarity\n\n{markdown_table(head, lines)}"


def _estimate(values: Sequence[float]) -> str:
    found = estimate(values)
    span = "" if found.half is None else f" ({min(values):.3f} to {max(values):.3f})"
    return f"{found.text(DIGITS)}{span}"


def _holes(plan: Plan, figure: Figure, series: Sequence[Series]) -> list[str]:
    open_ = [c for one in series for c in one.curves if not plan.runs[c.run_id].status.done]
    if not open_:
        return []
    return [f"{plural(len(open_), 'run')}; to train: {how_to_train(plan, figure.table)}"]


def _notes(plan: Plan, figure: Figure, values: Sequence[CellValue]) -> list[str]:
    used = [(v.cell.composed, v.cell.row.run) for v in values]
    return footnotes(used, plan.conf_dir, figure.table)


def _runs(one: Series) -> str:
    seeds = []
    for curve in one.curves:
        state = "" if curve.status is Status.OK else f" {curve.status}"
        seeds.append(f"seed {curve.seed}: `{curve.run_id}`{state}")
    return f"{one.label}: {'; '.join(seeds)}"
