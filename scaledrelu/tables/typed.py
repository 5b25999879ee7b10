"""A setting as somebody typed it: read as YAML without surprises, and shown as it was typed."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from scaledrelu.errors import ConfigError

_YAML_INT = "tag:yaml.org,2002:int"


class _Loader(yaml.SafeLoader):
    """YAML without its odd whole numbers: 010 is no 8, 1_0 no 10 and 1:30 no 90."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, rule) for tag, rule in rules if tag != _YAML_INT]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_YAML_INT, re.compile(r"-?(0|[1-9][0-9]*)$"), list("-0123456789"))


def read_value(argument: str, text: str) -> Any:
    """Return what stands behind ``key=`` as YAML reads it.

    Raises:
        ConfigError: an open bracket or quote.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot read '{argument}': close brackets and quotes") from error


def as_flag(key: str, value: Any) -> bool:
    """Return true or false.

    Raises:
        ConfigError: it is neither.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{key}={as_typed(value)}: allowed: true, false")
    return value


def as_typed(value: Any) -> str:
    """Return a value as it was typed: nothing for null, true, [true]."""
    if isinstance(value, list):
        return f"[{','.join(map(as_typed, value))}]"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, a text parted at its commas, nothing as an empty list."""
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return [] if value is None else [value]
