"""Messages that several packages share: what takes a line, the form of numbers and tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from scaledrelu.errors import DataError

Say = Callable[[str], None]  # takes one line


def duration(seconds: float) -> str:
    """Return e.g. ``45s``, ``3m 24s`` or ``2h 05m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def capital(text: str) -> str:
    """Return a text whose first letter is a capital, as a sentence begins; the rest stays."""
    return f"{text[:1].upper()}{text[1:]}"


def data_size(num_bytes: int) -> str:
    """Return e.g. ``4.1 kB``, ``0.4 MB``, ``46.0 MB`` or ``144.3 GB``."""
    if num_bytes >= 1e9:
        return f"{num_bytes / 1e9:.1f} GB"
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.1f} kB"


def ranged(low: float, likely: float, high: float) -> str:
    """Return e.g. ``4,033 (3,427 to 5,196)``; the likely value alone where its ends read alike.

    Args:
        low: the least.
        likely: the likely value.
        high: the most.
    """
    if f"{low:,.0f}" == f"{high:,.0f}":
        return f"{likely:,.0f}"
    return f"{likely:,.0f} ({low:,.0f} to {high:,.0f})"


def plural(n: int, word: str) -> str:
    """Return a number of things: ``1 row``, ``3 rows``, ``3 classes``.

    Args:
        n: how many.
        word: a noun in the singular.
    """
    ending = "es" if word.endswith("s") else "s"
    return f"{n} {word}{'' if n == 1 else ending}"


def plus_minus(half: float | None, digits: int) -> str:
    """Return what stands behind a mean: `` +/- 0.12``; nothing where it has no interval.

    Args:
        half: half of the interval.
        digits: digits after the decimal point.
    """
    return "" if half is None else f" +/- {half:.{digits}f}"


def markdown_table(headers: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in markdown.

    Args:
        headers: what its columns are.
        rows: their cells.
    """
    headers = list(headers)
    lines = [headers, ["---"] * len(headers), *rows]
    escaped = ((cell.replace("|", "\\|") for cell in cells) for cells in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def csv_of(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as CSV.

    Args:
        columns: their names.
        rows: their cells.
    """
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([columns, *rows])
    return buffer.getvalue()


def measured_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV that ``make bench`` wrote.

    Args:
        path: the file.

    Raises:
        DataError: it ends within a line, or a row has not as many fields as the first line.
    """
    content, rows = path.read_bytes(), []
    reader = csv.reader(io.StringIO(content.decode(errors="replace"), newline=""), strict=True)
    try:
        names = next(reader, [])
        for row in filter(None, reader):
            if len(row) != len(names):
                raise csv.Error(f"holds {len(row)} fields, but line 1 names {len(names)}")
            rows.append(dict(zip(names, row, strict=True)))
        if not content.endswith(b"\n"):
            raise csv.Error("is cut off")
    except csv.Error as error:
        raise DataError(
            f"{path}, line {max(1, reader.line_num)}: {error}; restore it from a copy, or remove "
            "it and measure again"
        ) from None
    return rows


def four_digits(number: float | None) -> str:
    """Return a number as the CSVs of reports hold it: ``92.1667``; nothing for None."""
    return "" if number is None else f"{number:.4f}"
