"""One table as markdown that stands on its own: ours beside the paper's, holes, failures, notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from scaledrelu.reports.agreement import agreement_text, by_runs
from scaledrelu.reports.cells import CellValue, SeedValue, cell_notes
from scaledrelu.reports.command import command, how_to_train, overrides_note, without_paths
from scaledrelu.reports.crash_rule import crash_sentence
from scaledrelu.reports.footnotes import footnotes
from scaledrelu.reports.grid import grid_columns, grid_title, grids, row_name
from scaledrelu.reports.recipe_differences import recipe_differences
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import named_rows, title_of
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.table import Column, Row, Table
from scaledrelu.text import plural

DIRTY = "-dirty"  # as git describe marks a checkout whose files differ from its commit


def markdown(table: Table, values: Sequence[CellValue], texts: Mapping[str, str]) -> str:
    """Return the report of one table.

    Args:
        table: the table.
        values: its cells, in printed order.
        texts: its sections.
    """
    head, *others = texts.values()
    return "\n\n".join(filter(None, (head, grids(table, values), *others))) + "\n"


def sections(plan: Plan, table: Table, values: Sequence[CellValue]) -> dict[str, str]:
    """Return the sections of a report by name, in order, the head first, without the grids.

    Those with nothing to say are left out.

    Args:
        plan: the plan behind it.
        table: the table.
        values: its cells, in printed order.
    """
    found = {
        "head": _head(plan, table, values),
        "note": table.note,
        "agreement": agreement_text(table, values),
        "holes": section("Not here yet", _holes(plan, table, values)),
        "failures": section("Failures", _failures(plan, table, values)),
        "recipe": recipe_differences(plan, table),
        "notes": section("Notes", _notes(plan, values)),
        "runs": section("Runs", _runs(plan, values)),
    }
    return {name: text for name, text in found.items() if text}


def _head(plan: Plan, table: Table, values: Sequence[CellValue]) -> str:
    blocks = [
        f"# {title_of(table.name)}, {plan.profile} profile",
        table.opening,
        *(f"> {note}" for note in values[0].cell.composed.config.profile.notes),
        _seeds_note(plan, table),
        overrides_note(plan),
        made_on(plan.runs_of(table)),
        *crash_rules(table, values),
    ]
    return "\n\n".join(filter(None, blocks))


def _seeds_note(plan: Plan, table: Table) -> str:
    """Return which seeds a report shows, where these are not the table's own."""
    own = [table.seeds_of(row).at(plan.profile) for row in table.rows]
    if not plan.seeds or all(set(plan.seeds) == set(seeds) for seeds in own):
        return ""
    name, shown = "Seed" if len(plan.seeds) == 1 else "Seeds", ", ".join(map(str, plan.seeds))
    return f"> {name} {shown} alone; SEEDS chooses which seeds a report shows."


def made_on(runs: Iterable[PlannedRun]) -> str:
    """Return one sentence each on devices, versions and commits; empty when nothing has finished.

    Args:
        runs: those of a table, say, with those that they start from.
    """
    found = [run.result.provenance for run in runs if run.result is not None]
    if not found:
        return ""
    devices = _counted(p.get("device") or "an unknown device" for p in found)
    kinds = len({p.get("device") for p in found})
    warning = " The same run can end differently on another kind of device." if kinds > 1 else ""
    versions = _counted(f"torch {p.get('torch', '?')}, timm {p.get('timm', '?')}" for p in found)
    commits = _counted(_commit(p.get("commit")) for p in found)
    return f"Made on {devices}.{warning} With {versions}. From {commits}."


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names).most_common()
    if len(counts) == 1:
        return counts[0][0]
    ordered = sorted(counts, key=lambda item: (-item[1], item[0]))
    return "; ".join(f"{name} ({plural(n, 'run')})" for name, n in ordered)


def _commit(commit: str | None) -> str:
    if not commit:
        return "no known commit"
    name = commit.removesuffix(DIRTY)
    return f"commit {name}" + (" and files that differ from it" if commit != name else "")


def crash_rules(table: Table, values: Sequence[CellValue]) -> list[str]:
    """Return what a crash is here: one sentence for each method, or for each rule of a method.

    Args:
        table: the table.
        values: its cells.
    """
    rules: dict[str, dict[str, list[CellValue]]] = {}
    for value in values:
        classes = next((s.sizes["classes"] for s in value.seeds if s.sizes.get("classes")), None)
        told = [
            (value.cell.composed, classes),
            *([(value.cell.upstream, None)] * bool(value.cell.upstream)),
        ]
        for composed, num_classes in told:
            sentence = crash_sentence(composed.config, num_classes=num_classes)
            alike = rules.setdefault(composed.config.method, {})
            alike.setdefault(sentence, []).append(value)
    return [
        sentence if len(found) == 1 else f"{_where(table, behind)}: {sentence}"
        for found in rules.values()
        for sentence, behind in found.items()
    ]


def _where(table: Table, values: Sequence[CellValue]) -> str:
    columns = {value.cell.column for value in values}
    groups = [group for group in grid_columns(table) if columns & set(group)]
    return f"{', '.join(map(grid_title, groups))}, {_named(v.cell.row for v in values)}"


def _holes(plan: Plan, table: Table, values: Sequence[CellValue]) -> list[str]:
    open_ = [
        (value.cell.row, seed.run.run_id)
        for value in values
        for seed in value.seeds
        if seed.status in (Status.MISSING, Status.FAILED) and not seed.run.status.done
    ]
    if not open_:
        return []
    n = len({run_id for _, run_id in open_})
    rows = _named(row for row, _ in open_)
    runs = f"{plural(n, 'run')} ({rows})"
    return [f"{runs}; to train what is missing: {how_to_train(plan, table)}"]


def _failures(plan: Plan, table: Table, values: Sequence[CellValue]) -> list[str]:
    lines = (
        f"row {row_name(value.cell.row)}, seed {seed.run.seed}, `{seed.run.run_id}`: "
        f"{without_paths(seed.why, seed.run)}{_retries(plan, table, seed)}"
        for value in values
        for seed in value.seeds
        if seed.status in (Status.FAILED, Status.DAMAGED)
    )
    return list(dict.fromkeys(lines))


def _retries(plan: Plan, table: Table, seed: SeedValue) -> str:
    """Name the command that tries a failed run again; a damaged record waits for a person."""
    again = seed.run.status is Status.FAILED
    return f" (`{command(plan, table)}` tries again)" if again else ""


def _notes(plan: Plan, values: Sequence[CellValue]) -> list[str]:
    notes: dict[str, list[Row]] = {}
    for value in values:
        for note in cell_notes(value.cell):
            notes.setdefault(note, []).append(value.cell.row)
    merged = [f"{_named(rows)}: {note}" for note, rows in notes.items()]
    cells = [value.cell for value in values]
    used = [(cell.composed, (*cell.row.run, *cell.column.run)) for cell in cells]
    used += [(c.upstream, c.row.upstream or ()) for c in cells if c.upstream]
    notes = footnotes(used, plan.conf_dir, cells[0].table)
    return [*merged, *_weights(values), *_remarks(values), _epochs(values), *notes]


def _weights(values: Sequence[CellValue]) -> list[str]:
    """Say which files of weights the finished runs started from: a digest names each for sure."""
    rows: dict[str, list[Row]] = {}
    for value in values:
        for run in (seed.run for seed in value.seeds if seed.run.result is not None):
            if (init := run.config.init).kind != "checkpoint":
                continue
            digest = f"SHA-256 `{init.sha256[:12]}...`" if init.sha256 else "an unknown SHA-256"
            file = f"`{without_paths(str(init.path), run)}` with {digest}"
            rows.setdefault(file, []).append(value.cell.row)
    return [
        f"{_named(behind)}: started from the weights in {file}; whether these are the released "
        "ones is not known here (docs/methods.md)"
        for file, behind in rows.items()
    ]


def _remarks(values: Sequence[CellValue]) -> list[str]:
    """Say which runs were dead for a while and came back, and which met damaged images."""
    found = (
        f"row {row_name(value.cell.row)}, seed {seed.run.seed}: {remark}"
        for value in values
        for seed in value.seeds
        for remark in seed.remarks
    )
    return list(dict.fromkeys(found))


def _epochs(values: Sequence[CellValue]) -> str:
    """Say which epoch is printed, and in which rows where that differs."""
    rows: dict[str, list[Row]] = {}
    for value in values:
        epoch = value.cell.composed.config.evaluation.report
        rows.setdefault(epoch, []).append(value.cell.row)
    if len(rows) == 1:
        where = f"the {next(iter(rows))} epoch is printed in every row"
    else:
        where = "; ".join(f"{_named(r)}: the {e} epoch is printed" for e, r in rows.items())
    return f"{where}; the CSV has the last and the best"


def _named(rows: Iterable[Row]) -> str:
    """Return rows as a reader names them: ``row 6``, ``rows 1-3, 5``."""
    return named_rows(dict.fromkeys(map(row_name, rows)))


def _runs(plan: Plan, values: Sequence[CellValue]) -> list[str]:
    """Return one line for each row, or for each set of runs of it; metrics of one run share it."""
    return [_runs_line(plan, group) for group in by_runs(values)]


def _runs_line(plan: Plan, group: Sequence[CellValue]) -> str:
    first, columns = group[0], [value.cell.column for value in group]
    several = len(first.cell.table.metrics) > 1
    about = f" ({', '.join(column.header for column in columns)})" if several else ""
    seeds = zip(*(value.seeds for value in group), strict=True)
    texts = "; ".join(_seed_text(plan, s, columns) for s in seeds)
    return f"row {row_name(first.cell.row)}{about}: {texts}"


def _seed_text(plan: Plan, values: Sequence[SeedValue], columns: Sequence[Column]) -> str:
    """Return one run and what it measured, in one or more metrics."""
    run, status = values[0].run, values[0].status
    numbers = [
        f"{seed.value:.{column.digits}f}"
        for seed, column in zip(values, columns, strict=True)
        if seed.value is not None
    ]
    number = f" {', '.join(numbers)}" if numbers else ""
    state = "" if status is Status.OK else f" {status}"
    if status is Status.CRASH:
        state += f" ({values[0].why})"
    needed = [*([run.artifact] if run.artifact else []), *plan.upstream_of(run)[::-1]]
    source = f" (from {', '.join(f'`{name}`' for name in needed)})" if needed else ""
    return f"seed {run.seed}: `{run.run_id}`{state}{number}{source}"


def section(title: str, lines: Sequence[str]) -> str:
    """Return a heading with a list; empty without lines.

    Args:
        title: the heading.
        lines: items of the list.
    """
    return "\n".join([f"## {title}", "", *(f"- {text}" for text in lines)]) if lines else ""
