"""What a row is called in a sentence: only the labels that tell it from the rows around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scaledrelu.reports.published import Line


def telling_labels(lines: Iterable[Line]) -> list[str]:
    """Return the labels that tell some rows apart; one that others imply is left out."""
    lines, kept = list(lines), []
    for name in lines[0].labels:
        if _num_kinds(lines, [*kept, name]) > _num_kinds(lines, kept):
            kept.append(name)
    return kept


def words(line: Line, names: Sequence[str]) -> str:
    """Return some labels as a reader understands them: ``conv, lr 1e-3``."""
    return ", ".join(_word(name, line.labels[name]) for name in names)


def numbered(line: Line, names: Sequence[str]) -> str:
    """Return a row's labels and its number."""
    if line.row == 0:
        return words(line, names) or "the base row"
    text = words(line, names)
    return f"{text} (row {line.row})" if text else f"row {line.row}"


def _word(name: str, value: str) -> str:
    value = value.partition(" [run as")[0]  # as the paper has it
    try:
        float(value.rstrip("%"))
    except ValueError:
        return value
    return f"{name} {value}"  # a number alone says nothing


def _num_kinds(lines: Sequence[Line], names: Sequence[str]) -> int:
    return len({tuple(line.labels[name] for name in names) for line in lines})
