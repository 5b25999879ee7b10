"""One table as markdown that stands on its own: ours beside the paper's, holes, failures, notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scaledrelu.runs.record import Status
from scaledrelu.tables.cells import CellValue, SeedValue, cell_notes
from scaledrelu.tables.footnotes import footnotes
from scaledrelu.tables.plan import Plan
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
        _section("Notes", _notes(plan, values)),
        _section("Runs", _runs(plan, values)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _head(plan: Plan, table: Table) -> str:
    number = table.name.removeprefix("table").replace("_", ", ")
    cells = plan.cells_of(table)
    available = [cell for cell in cells if not cell.unavailable]
    profile = available[0].composed.config["profile"] if available else {"notes": []}
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
    seeds = f"{finished} of {len(value.seeds)}" if value.seeds else DASH
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
    agree = sum((value.status is Status.CRASH) == (value.paper == CRASH) for value in known)
    return f"Crash or no crash: as in the paper in {agree} of {len(known)} finished cells."


def _holes(plan: Plan, table: Table, values: Sequence[CellValue]) -> list[str]:
    absent: dict[str, list[str]] = {}
    for value in values:
        if value.cell.unavailable:
            absent.setdefault(value.cell.unavailable, []).append(_name(value))
    lines = [f"rows {', '.join(dict.fromkeys(rows))}: {why}" for why, rows in absent.items()]
    open_ = [value for value in values if value.count(Status.MISSING) + value.count(Status.FAILED)]
    if open_:
        count = sum(v.count(Status.MISSING) + v.count(Status.FAILED) for v in open_)
        rows = ", ".join(dict.fromkeys(_name(value) for value in open_))
        lines.append(f"{count} runs (rows {rows}); to train them: `{_command(plan, table)}`")
    return lines


def _failures(plan: Plan, table: Table, values: Sequence[CellValue]) -> list[str]:
    return [
        f"row {_name(value)}, `{seed.run.run_id}`: {seed.why} (`{_command(plan, table)}` retries)"
        for value in values
        for seed in value.seeds
        if seed.status is Status.FAILED
    ]


def _command(plan: Plan, table: Table) -> str:
    seeds = "" if plan.seeds is None else f" SEEDS={','.join(map(str, plan.seeds))}"
    return f"make {table.name} PROFILE={plan.profile}{seeds}"


def _notes(plan: Plan, values: Sequence[CellValue]) -> list[str]:
    rows = dict.fromkeys(f"row {_name(v)}: {note}" for v in values for note in cell_notes(v.cell))
    cells = [value.cell for value in values if not value.cell.unavailable]
    reports = {cell.composed.config["evaluation"]["report"] for cell in cells}
    printed = [f"the {report} epoch is printed; both are stored" for report in sorted(reports)]
    used = [(cell.composed, (*cell.row.run, *cell.column.run, *plan.overrides)) for cell in cells]
    used += [(c.above, (*(c.row.upstream or ()), *plan.overrides)) for c in cells if c.above]
    return [*rows, *printed, *footnotes(used, plan.conf_dir)]


def _runs(plan: Plan, values: Sequence[CellValue]) -> list[str]:
    return [
        f"row {_name(value)}: {'; '.join(_seed_text(plan, value, s) for s in value.seeds)}"
        for value in values
        if value.seeds
    ]


def _seed_text(plan: Plan, value: CellValue, seed: SeedValue) -> str:
    number = "" if seed.value is None else f" {seed.value:.{value.cell.column.digits}f}"
    state = "" if seed.status is Status.OK else f" {seed.status}"
    above = [*([seed.run.artifact] if seed.run.artifact else []), *plan.upstream_of(seed.run)[::-1]]
    source = f" (from {', '.join(f'`{name}`' for name in above)})" if above else ""
    return f"seed {seed.run.seed}: `{seed.run.run_id}`{state}{number}{source}"


def _name(value: CellValue) -> str:
    row = value.cell.row
    return f"base ({row.block})" if row.is_baseline else str(row.number)


def _paper(value: CellValue) -> str:
    if isinstance(value.paper, str):
        return value.paper
    misprint = " (misprint)" if value.is_misprint else ""
    return f"{value.paper:.{value.cell.column.digits}f}{misprint}"


def _signed(number: float | None, digits: int) -> str:
    if number is None:
        return DASH
    text = f"{number:+.{digits}f}"
    return text.replace("-", "+") if float(text) == 0 else text


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *(f"- {line}" for line in lines)]) if lines else ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
