"""Writes docs/performance.md: the GPU-hours of the whole paper, from published speeds alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaledrelu.config.run import RunConfig
from scaledrelu.cost import whole
from scaledrelu.cost.hours import (
    OFFICIAL_WORKERS,
    Hours,
    Side,
    cost_of,
    never_waiting,
    ours,
    total,
)
from scaledrelu.cost.records import Records
from scaledrelu.cost.whole import OFFICIAL, OURS, TUNED, Group
from scaledrelu.cost.work import SAM_PASSES, parts_of
from scaledrelu.files import write_atomic
from scaledrelu.reports.performance.basis import (
    NAMES,
    basis,
    compiled_steps,
    example,
    speeds,
    spread,
)
from scaledrelu.reports.performance.picture import draw
from scaledrelu.tables.figures import load_planned
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.planner import plan_loaded
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.table import CRASH, Table
from scaledrelu.text import markdown_table

PAGE, PICTURE = "performance.md", "pictures/performance"
GPUS = 8
SIDES = {
    OFFICIAL: "official scripts with their defaults",
    TUNED: "official scripts, a loader process on every core, evaluation shared",
    OURS: "ours, as `PROFILE=paper` is configured",
}


def plan_paper(settings: Settings) -> Plan:
    """Plan the tables of some settings that print a number of the paper: others cost extra.

    Args:
        settings: tables, the paper's size, and overrides.

    Raises:
        TableError, ConfigError: one line, naming the table and row or the key.
    """
    tables = [load_planned(name, settings.conf_dir) for name in settings.tables]
    return plan_loaded([table for table in tables if table.is_of_the_paper], settings)


def write_page(plan: Plan, records: Records, *, docs: Path) -> list[Path]:
    """Write the page and its picture.

    Args:
        plan: all tables of the paper, at its size.
        records: what was measured.
        docs: folder of the page.

    Raises:
        DataError: nobody has measured the loader of a run; nothing is written.
    """
    groups = whole.groups_of((run.config for run in plan.runs.values()), records)
    text = page_text(plan, records, groups)
    place = docs / PICTURE
    place.parent.mkdir(parents=True, exist_ok=True)
    files = draw(groups, place=place)
    write_atomic(docs / PAGE, text)
    return [docs / PAGE, *files]


def page_text(plan: Plan, records: Records, groups: Sequence[Group]) -> str:
    """Return the whole page.

    Args:
        plan: all tables of the paper, at its size.
        records: what was measured.
        groups: its runs.
    """
    configs = [run.config for run in plan.runs.values()]
    sections = [
        _answer(plan, records, groups),
        _by_method(groups),
        _by_setting(plan, records),
        speeds(groups, records),
        example(configs, records),
        _printed(plan, records),
        basis(groups, records),
    ]
    return "\n\n".join(block for section in sections for block in section) + "\n"


def _answer(plan: Plan, records: Records, groups: Sequence[Group]) -> list[str]:
    sums = {side: total(group.hours(side) for group in groups) for side in SIDES}
    floor = sum(group.floor for group in groups)
    first = sums[OFFICIAL].likely
    named = [(text, sums[side]) for side, text in SIDES.items()]
    named.append(("floor: the analytic limit of this card", Hours(floor, floor, floor)))
    rows = [
        (text, spread(hours), _days(hours), f"{hours.likely / first:.2f}") for text, hours in named
    ]
    return [
        "# What the paper costs in GPU-hours",
        "Written by `make performance` from `conf/` and the rows of "
        f"[{records.path.stem}](../results/published/bench/{records.path.stem}.md); do not edit. "
        f"The seven tables, with one seed, are {len(plan.runs)} distinct runs. **No run was ever "
        "trained at this size**: the hours are the counted images divided by speeds. The "
        f"speeds were measured for seconds on one {records.card} with {records.processes} cores, "
        "or derived from such measurements. Brackets give the range that a derivation leaves open; "
        "[what rests on what](#what-rests-on-what) gives the details.",
        markdown_table(
            ("whole paper", "GPU-hours", f"days on {GPUS} GPUs", "share of the first line"), rows
        ),
        "![GPU-hours by method: official scripts, ours, floor](pictures/performance.png)",
    ]


def _by_method(groups: Sequence[Group]) -> list[str]:
    rows = []
    for one in groups:
        number, waiting = len(one.configs), sum(cost.by_loader for cost in one.costs[OURS])
        hours = (spread(one.hours(side)) for side in SIDES)
        rows.append(
            (
                NAMES[one.method, one.sam],
                str(number),
                f"{_images(one) / 1e9:.2f}",
                *hours,
                f"{one.floor:,.0f}" if one.floor >= 10 else f"{one.floor:.1f}",
                f"{waiting} of {number}",
            )
        )
    head = ("what", "runs", "10^9 images", "official", "official, tuned", "ours", "floor")
    return [
        "## By method",
        "Images are counted by passes: once per epoch (twice with SAM) and once per evaluation. "
        "The last column counts the runs in which our loader is slower than the steps.",
        markdown_table((*head, "ours wait for images"), rows),
    ]


def _images(group: Group) -> float:
    passes = SAM_PASSES if group.sam else 1.0
    parts = [parts_of(config) for config in group.configs]
    return sum(passes * train.images + sum(p.images for p in rest) for train, *rest in parts)


def _by_setting(plan: Plan, records: Records) -> list[str]:
    configs = [run.config for run in plan.runs.values()]
    before = whole.switched(configs, whole.official_data)
    side, few = ours(records), OFFICIAL_WORKERS["deit"]
    choices = {
        f"`PROFILE=official` with `launch.workers={few}`": whole.switched(
            before, whole.workers(few)
        ),
        "`PROFILE=official`: the official data path": before,
        "`PROFILE=paper` with `launch.compile=false`": whole.switched(configs, whole.uncompiled),
        "`PROFILE=paper`": configs,
    }
    rows = [(text, *_sum(chosen, side, records)) for text, chosen in choices.items()]
    found = _sum(configs, never_waiting(records), records)
    rows.append(("`PROFILE=paper` if it never waited for the loader", *found))
    return [
        "## What settings are worth",
        "`launch.workers` is the number of loader processes per GPU; if it is not set, there is "
        f"one per core, {records.processes} here. Measured compiled steps: "
        f"{compiled_steps(configs[0], records)}. VOLO's images are always augmented on the host, "
        "because its label maps move with the image.",
        markdown_table(("ours", "GPU-hours", f"days on {GPUS} GPUs"), rows),
    ]


def _sum(configs: Sequence[RunConfig], side: Side, records: Records) -> tuple[str, str]:
    hours = total(cost.hours for cost in whole.costs_of(configs, side, records))
    return spread(hours), _days(hours)


def _days(hours: Hours) -> str:
    """Return how many days all GPUs together work."""
    return f"{hours.likely / GPUS / 24:.1f}"


def _printed(plan: Plan, records: Records) -> list[str]:
    side = ours(records)
    hours = {
        name: cost_of(run.config, side, records).hours.likely for name, run in plan.runs.items()
    }
    printed = [name for table in plan.tables for name in _trained_by(plan, table)]
    crashed = {
        name
        for cell in plan.cells
        if cell.row.paper[cell.column.name] == CRASH
        for name in cell.run_ids
    }
    second = [name for name, run in plan.runs.items() if run.config.init.kind == "checkpoint"]
    before = sum(hours[name] for name in printed)
    early = sum(hours[name] * (1 - _judged(plan.runs[name])) for name in crashed)
    return [
        "## What is not trained twice",
        "If every printed row were trained separately and every table pre-trained its own DINO, "
        f"ours would train {len(printed)} times and take {before:,.0f} GPU-hours. The "
        f"{len(plan.runs)} distinct runs take {sum(hours.values()):,.0f}. All numbers above count "
        "distinct runs, for the official scripts as well.",
        f"The paper prints `crash` for {len(crashed)} of the distinct runs. Here each counts as if "
        "it trained to its end. A run that never leaves chance can be stopped earlier, at a point "
        "set by warm-up, `divergence.judge_at` and `divergence.patience`. If each of these runs "
        f"were stopped there, ours would take {early:,.0f} GPU-hours less. The official scripts "
        "of DeiT and DINO would also take less, because they exit at a loss that is not finite; "
        "those of VOLO and re-identification go on.",
        f"{len(second)} of the runs fine-tune the released DINO weights (Tables 6 and 7). The "
        "paper does not say for how many epochs. We assume as many as from scratch, which takes "
        f"ours {sum(hours[name] for name in second):,.0f} GPU-hours.",
    ]


def _trained_by(plan: Plan, table: Table) -> list[str]:
    """Return the runs of a table's printed rows, row by row, and what it pre-trains."""
    rows: dict[tuple[int, str], None] = {}
    upstream: dict[str, None] = {}
    for cell in plan.cells_of(table):
        if not cell.row.is_baseline and table.is_printed(cell.column):
            rows |= dict.fromkeys((cell.row.number, name) for name in cell.run_ids)
            for name in cell.run_ids:
                upstream |= dict.fromkeys(plan.upstream_of(plan.runs[name]))
    return [*upstream, *(name for _, name in rows)]


def _judged(run: PlannedRun) -> float:
    """Return the share of a run after which one that never learned is stopped."""
    config, rule = run.config, run.config.divergence
    later = (rule.patience - 1) * rule.window
    if rule.judge == "fraction":
        return min(1.0, rule.judge_at + later)
    return min(1.0, (config.warmup.epochs + rule.judge_at + later) / config.run_epochs)
