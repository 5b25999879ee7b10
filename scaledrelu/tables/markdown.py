"""One table as markdown that stands on its own: ours beside the paper's, holes, failures, notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scaledrelu.runs.record import Status
from scaledrelu.tables.cells import CellValue, SeedValue, cell_notes
from scaledrelu.tables.footnotes import footnotes
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.recipe_differences import recipe_differences
from scaledrelu.tables.spec import CRASH, Column, Row, Table

DASH = "-"


def markdown(plan: Plan, table: Table, values: Sequence[CellValue]) -> str:
    """Return the report of one table.

    Args:
        plan: the plan behind it.
        table: the table.
        values: its cells, in printed order.
    """
    blocks = [
        _head(plan, table),
        _grid(table, values),
        _agreement(table, values),
        _section("Not here yet", _holes(plan, table, values)),
        _section("Failures", _failures(plan, table, values)),
        recipe_differences(plan, table),
        _section("Notes", _notes(plan, values)),
        _section("Runs", _runs(plan, values)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _head(plan: Plan, table: Table) -> str:
    number = table.name.removeprefix("table").replace("_", ", ")
    profile = plan.cells_of(table)[0].composed.config["profile"]
    lines = [f"# Table {number}, {plan.profile} profile", "", f"{table.title}. {table.source}."]
    lines += [f"\n> {note}" for note in profile["notes"]]
    if plan.overrides:
        lines.append(f"\n> Extra overrides in every run: `{' '.join(plan.overrides)}`")
    return "\n".join(lines)


def _grid(table: Table, values: Sequence[CellValue]) -> str:
    relative = any(table.baseline_of(value.cell.row) for value in values)
    headers = ["row", *(column.header for column in table.labels)]
    for column in table.metrics:
        name = column.header
        beside = (
            [f"{name}, paper", f"{name}, ours", "delta"] if table.is_printed(column) else [name]
        )
        headers += [*beside, "seeds"]
        if relative:
            headers += ["paper vs base", "ours vs base"]
    lines = [_line(headers), _line(["---"] * len(headers))]
    rows: dict[tuple[str, int], list[CellValue]] = {}
    for value in values:
        rows.setdefault((value.cell.row.block, value.cell.row.number), []).append(value)
    for cells in rows.values():
        first = cells[0].cell
        line = [_number(first.row), *first.labels.values()]
        for value in cells:
            line += _value_cells(value, beside_paper=table.is_printed(value.cell.column))
            if relative:
                line += _relative(table, value, values)
        lines.append(_line(line))
    return "\n".join(lines)


def _number(row: Row) -> str:
    if row.is_baseline:
        return "base"
    return f"{row.number} (base)" if row.is_reference else str(row.number)


def _value_cells(value: CellValue, *, beside_paper: bool) -> list[str]:
    finished = value.count(Status.OK) + value.count(Status.CRASH)
    seeds = f"{finished} of {len(value.seeds)}"
    digits = value.cell.column.digits
    if not beside_paper:
        return [_ours(value), seeds]
    return [_paper(value), _ours(value), _signed(value.delta, digits), seeds]


def _ours(value: CellValue) -> str:
    digits = value.cell.column.digits
    crashed, n = value.count(Status.CRASH), len(value.seeds)
    if value.status is Status.CRASH:
        kinds = ", ".join(dict.fromkeys(s.why for s in value.seeds if s.status is Status.CRASH))
        ended = "" if value.last_value is None else f"; ended at {value.last_value:.{digits}f}"
        return f"crash ({kinds}{ended}{_share(crashed, n)})"
    if value.value is None:
        return "failed" if value.status is Status.FAILED else DASH
    spread = "" if value.std is None else f" +/- {value.std:.{digits}f}"
    return f"{value.value:.{digits}f}{spread}" + (f" ({_share(crashed, n)[2:]})" if crashed else "")


def _share(crashed: int, n: int) -> str:
    return f"; {crashed} of {n} crashed" if n > 1 else ""


def _relative(table: Table, value: CellValue, values: Sequence[CellValue]) -> list[str]:
    base = _find(table.baseline_of(value.cell.row), value.cell.column, values)
    if base is None:
        return [DASH, DASH]
    digits = value.cell.column.digits
    ours = None if None in (value.value, base.value) else value.value - base.value
    printed = (value.paper, base.paper)
    unknown = value.is_misprint or any(isinstance(p, str) for p in printed)
    paper = None if unknown else printed[0] - printed[1]
    return [_signed(paper, digits), _signed(ours, digits)]


def _find(row: Row | None, column: Column, values: Iterable[CellValue]) -> CellValue | None:
    same = (v for v in values if v.cell.row is row and v.cell.column is column)
    return next(same, None)


def _agreement(table: Table, values: Sequence[CellValue]) -> str:
    known = [
        value
        for value in values
        if value.status in (Status.OK, Status.CRASH) and not value.cell.row.is_baseline
    ]
    if not known:
        return "No run of this table has finished yet."
    if not any(table.is_printed(column) for column in table.metrics):
        return ""
    told = [group[0] for group in _by_runs(known)]
    agree = sum((value.status is Status.CRASH) == (value.paper == CRASH) for value in told)
    return f"Crash or no crash: as in the paper in {agree} of {len(told)} finished cells."


def _holes(plan: Plan, table: Table, values: Sequence[CellValue]) -> list[str]:
    open_ = [
        (value, seed.run.run_id)
        for value in values
        for seed in value.seeds
        if seed.status in (Status.MISSING, Status.FAILED)
        and not (seed.run.status.done or seed.run.status is Status.DAMAGED)
    ]
    if not open_:
        return []
    runs = {run_id for _, run_id in open_}
    rows = ", ".join(dict.fromkeys(_name(value) for value, _ in open_))
    return [f"{len(runs)} runs (rows {rows}); to train them: `{_command(plan, table)}`"]


def _failures(plan: Plan, table: Table, values: Sequence[CellValue]) -> list[str]:
    lines = (
        f"row {_name(value)}, `{seed.run.run_id}`: {seed.why}{_retries(plan, table, seed)}"
        for value in values
        for seed in value.seeds
        if seed.status is Status.FAILED
    )
    return list(dict.fromkeys(lines))


def _retries(plan: Plan, table: Table, seed: SeedValue) -> str:
    """Name the command that tries a failed run again; a damaged record waits for a person."""
    return f" (`{_command(plan, table)}` retries)" if seed.run.status is Status.FAILED else ""


def _command(plan: Plan, table: Table) -> str:
    seeds = "" if plan.seeds is None else f" SEEDS={','.join(map(str, plan.seeds))}"
    return f"make {table.name} PROFILE={plan.profile}{seeds}"


def _notes(plan: Plan, values: Sequence[CellValue]) -> list[str]:
    rows = dict.fromkeys(f"row {_name(v)}: {note}" for v in values for note in cell_notes(v.cell))
    cells = [value.cell for value in values]
    reports = {cell.composed.config["evaluation"]["report"] for cell in cells}
    printed = [f"the {report} epoch is printed; both are stored" for report in sorted(reports)]
    used = [(cell.composed, (*cell.row.run, *cell.column.run, *plan.overrides)) for cell in cells]
    used += [(c.above, (*(c.row.upstream or ()), *plan.overrides)) for c in cells if c.above]
    return [*rows, *printed, *_averaged(values), *footnotes(used, plan.conf_dir, cells[0].table)]


def _averaged(values: Iterable[CellValue]) -> list[str]:
    """Say how many things the values of a column are means over, where the table asks for it."""
    counts: dict[Column, set[float]] = {}
    for value in values:
        if value.cell.column.over:
            found = {seed.over for seed in value.seeds if seed.over is not None}
            counts.setdefault(value.cell.column, set()).update(found)
    return [
        f"{column.header}: over {' or '.join(f'{n:,.0f}' for n in sorted(found))} {column.over[1]}"
        for column, found in counts.items()
        if found
    ]


def _runs(plan: Plan, values: Sequence[CellValue]) -> list[str]:
    """Return one line for each row, or for each set of runs of it; metrics of one run share it."""
    return [_runs_line(plan, group) for group in _by_runs(values)]


def _by_runs(values: Iterable[CellValue]) -> list[list[CellValue]]:
    """Return the cells that are metrics of the same runs of a row together."""
    shared: dict[tuple[str, int, tuple[str, ...]], list[CellValue]] = {}
    for value in values:
        cell = value.cell
        shared.setdefault((cell.row.block, cell.row.number, cell.run_ids), []).append(value)
    return list(shared.values())


def _runs_line(plan: Plan, group: Sequence[CellValue]) -> str:
    first, columns = group[0], [value.cell.column for value in group]
    several = len(first.cell.table.metrics) > 1
    about = f" ({', '.join(column.header for column in columns)})" if several else ""
    seeds = zip(*(value.seeds for value in group), strict=True)
    return f"row {_name(first)}{about}: {'; '.join(_seed_text(plan, s, columns) for s in seeds)}"


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
    above = [*([run.artifact] if run.artifact else []), *plan.upstream_of(run)[::-1]]
    source = f" (from {', '.join(f'`{name}`' for name in above)})" if above else ""
    return f"seed {run.seed}: `{run.run_id}`{state}{number}{source}"


def _name(value: CellValue) -> str:
    row = value.cell.row
    return f"base ({row.block})" if row.is_baseline else str(row.number)


def _paper(value: CellValue) -> str:
    if isinstance(value.paper, str):
        return value.paper
    doubt = f" ({value.doubt})" if value.doubt else ""
    return f"{value.paper:.{value.cell.column.digits}f}{doubt}"


def _signed(number: float | None, digits: int) -> str:
    if number is None:
        return DASH
    text = f"{number:+.{digits}f}"
    return text.replace("-", "+") if float(text) == 0 else text


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *(f"- {line}" for line in lines)]) if lines else ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
