"""What tables and rows are called: a label is read from the run's own config and cannot differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from scaledrelu.config.group import TARGET, Group, fields_of
from scaledrelu.config.run import RunConfig, plain, value_of
from scaledrelu.config.stem import StemConfig, fit_strides
from scaledrelu.config.stem_options import option_name
from scaledrelu.errors import TableError, nearest
from scaledrelu.tables.table import Column

STEM_NAME = "stem.name"  # no field: the option of conf/stem, where several share a label
LAYER_NAMES = {
    "batch": "BN",
    "layernorm": "LN",
    "relu": "ReLU",
    "gelu": "GELU",
    "scaled_relu": "ScaledReLU",
    "affine_relu": "AffineReLU",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a label may read.

    Attributes:
        config: the run's configuration.
        upstream: configuration of the run it starts from; None without one.
        paper_patch: patch size of the same model at paper scale, in pixels.
    """

    config: RunConfig
    upstream: RunConfig | None
    paper_patch: int


def title_of(name: str) -> str:
    """Return what people call a table or a figure: ``Table 2, knn``, ``Figure 1``, ``Edge``."""
    for kind in ("table", "figure"):
        number = name.removeprefix(kind)
        if number != name:
            return f"{kind.title()} {number.replace('_', ', ')}"
    return name.replace("_", " ").capitalize()


def label(column: Column, subject: Subject) -> str:
    """Return the text of one label cell.

    Args:
        column: the table's label column.
        subject: what the label may read.

    Raises:
        TableError: the column names a caption or a config key that does not exist.
    """
    if column.kind == "caption":
        if column.source not in CAPTIONS:
            raise TableError(
                f"column '{column.name}': no such caption '{column.source}'"
                f"{nearest(column.source, CAPTIONS)}; allowed: {', '.join(CAPTIONS)}"
            )
        return CAPTIONS[column.source](subject)
    config = subject.config
    if column.of_upstream and subject.upstream is not None:
        config = subject.upstream
    return value_text(_read(config, column))


def value_text(value: Any) -> str:
    """Return a config value as it is typed, numbers as the paper prints them: 1.6e-3, 20, null."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if not isinstance(value, int | float):
        return str(value)
    if value and abs(value) < 0.1:
        exponent = math.floor(math.log10(abs(value)) + 1e-9)
        return f"{value / 10**exponent:.4g}e{exponent}"
    return f"{value:g}"


def rows_text(rows: Collection[str]) -> str:
    """Return printed row numbers as ``1-3, 7``, names without a number first."""
    named = dict.fromkeys(row for row in rows if not row.isdigit())
    spans: list[list[int]] = []
    for number in sorted({int(row) for row in rows if row.isdigit()}):
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    numbers = [f"{s[0]}-{s[-1]}" if len(s) > 1 else str(s[0]) for s in spans]
    return ", ".join([*named, *numbers])


def named_rows(rows: Collection[str]) -> str:
    """Return printed row numbers as people say them: ``row 6``, ``rows 1-3, 5``."""
    return f"row{'s' if len(rows) > 1 else ''} {rows_text(rows)}"


def components(subject: Subject) -> str:
    """Return a stem's parts as Table 2 names them, e.g. ``3Conv+3BN+3ReLU+1Proj``.

    A class of one's own stands in front; alone where the fields describe no layers.
    """
    stem = subject.config.stem
    parts, count = [], len(stem.strides)
    if count:
        parts.append(f"{count}Conv")
        kinds = (stem.norm, stem.act)
        parts += [f"{count}{layer_name(kind)}" for kind in kinds if kind != "none"]
    parts.append("1Proj")
    parts += [f"1{layer_name(kind)}" for kind in stem.tail]
    if stem.own_class is not None:
        return f"{stem.own_class}({'+'.join(parts)})" if len(parts) > 1 else stem.own_class
    return "+".join(parts)


def stride(subject: Subject) -> str:
    """Return the strides as the paper prints them, and those used where the patch is smaller.

    Source: Tables 2 and 3, column "stride"; the last number is the projection's.
    """
    stem, patch = subject.config.stem, subject.config.model.patch_size
    printed = _strides(stem, subject.paper_patch, shrink=False)
    used = _strides(stem, patch, shrink=stem.shrink)
    return printed if printed == used else f"{printed} [run as {used}]"


def model_with_stem(subject: Subject) -> str:
    """Return the model with the stem as a subscript, e.g. ``DeiT-Small_c`` (Tables 5 to 7)."""
    stem = subject.config.stem
    suffix = stem.own_class or ("c" if stem.strides else "p")
    return f"{subject.config.model.label}_{suffix}"


def design(subject: Subject) -> str:
    """Return what a Table 5 row changes in the conv-stem model."""
    stem, ffn = subject.config.stem, subject.config.ffn.label
    changes = [] if ffn == "MLP" else [ffn]
    if stem.act != "relu":
        changes.append(f"ReLU->{layer_name(stem.act)} in conv-stem")
    return " and ".join(changes) or "reference"


def training(subject: Subject) -> str:
    """Return TST for training that starts from other weights, OST from scratch (Table 6)."""
    return "OST" if subject.config.init.kind == "scratch" else "TST"


def portion(subject: Subject) -> str:
    """Return the share of the training images, e.g. ``10%`` (Table 7)."""
    return f"{100 * subject.config.data.fraction:g}%"


CAPTIONS: dict[str, Callable[[Subject], str]] = {
    "components": components,
    "stride": stride,
    "model_with_stem": model_with_stem,
    "design": design,
    "training": training,
    "portion": portion,
}


def layer_name(kind: str | dict[str, Any]) -> str:
    """Return the name of a norm or an activation: the paper's, else that of its class."""
    if isinstance(kind, dict):
        return str(kind[TARGET]).rpartition(".")[2]
    return LAYER_NAMES.get(kind, kind)


def _strides(stem: StemConfig, patch_size: int, *, shrink: bool) -> str:
    convs = fit_strides(stem.strides, patch_size, shrink=shrink)
    return f"({','.join(map(str, (*convs, patch_size // math.prod(convs))))})"


def _read(config: RunConfig, column: Column) -> Any:
    if column.source == STEM_NAME:
        return option_name(plain(config.stem))
    try:
        value = value_of(config, column.source)
    except KeyError:
        raise TableError(
            f"column '{column.name}': the run's configuration has no key '{column.source}'; write "
            f"one that --cfg job prints{_or_components(column.source)}"
        ) from None
    names = [one.name for one in fields_of(type(value))] if isinstance(value, Group) else value
    if isinstance(value, Group | dict):
        raise TableError(
            f"column '{column.name}': '{column.source}' is a group, not a value; write one of "
            f"{', '.join(f'{column.source}.{name}' for name in names)}"
            f"{_or_components(column.source)}"
        )
    return value


def _or_components(source: str) -> str:
    """Return what prints a stem's layers, whether a row names a word or a class."""
    return ", or {caption: components} instead of from" if source.startswith("stem.") else ""
