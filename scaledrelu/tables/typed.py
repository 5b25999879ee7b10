"""Settings as typed: read as YAML without surprises, and printed as they were typed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from scaledrelu.config.places import expand_home
from scaledrelu.config.ranges import SEED
from scaledrelu.errors import ConfigError

_YAML_INT = "tag:yaml.org,2002:int"
_EMPTY_ITEM = re.compile(r"[\[,]\s*,")


class _Loader(yaml.SafeLoader):
    """YAML without its odd whole numbers: 010 is no 8, 1_0 no 10 and 1:30 no 90."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, rule) for tag, rule in rules if tag != _YAML_INT]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_YAML_INT, re.compile(r"-?(0|[1-9][0-9]*)$"), list("-0123456789"))


def read_value(argument: str, text: str) -> Any:
    """Return the value behind ``key=`` as YAML reads it.

    Args:
        argument: the whole argument, for the error.
        text: the text of the value.

    Raises:
        ConfigError: an open bracket or quote, two commas with nothing in between, or no such date.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        if _EMPTY_ITEM.search(text):
            raise ConfigError(
                f"'{argument}': an item of the list is empty; leave out a comma"
            ) from error
        raise ConfigError(f"cannot parse '{argument}'; unbalanced brackets or quotes?") from error


def as_flag(key: str, value: Any) -> bool:
    """Return true or false.

    Args:
        key: the setting, for the error.
        value: the value to check.

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
    """Return a list as it is, a text split at its commas, nothing as an empty list."""
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return [] if value is None else [value]


def as_seeds(value: Any) -> tuple[int, ...] | None:
    """Return the seeds; None for ``table`` and null: each table's own.

    Raises:
        ConfigError: anything but whole numbers from 0 on.
    """
    if value in (None, "table", ["table"], [None]):  # [..]: make SEEDS=table
        return None
    match value:
        case [[*inner]]:  # make puts brackets around SEEDS
            plain = as_typed(inner)[1:-1]
            raise ConfigError(
                f"seeds={as_typed(value)}: has brackets twice; write SEEDS={plain} with make, else "
                f"seeds={plain}"
            )
    seeds = [_whole(item) for item in as_list(value)]
    if not seeds or any(not SEED.holds(seed) for seed in seeds):
        raise ConfigError(
            f"seeds={as_typed(value)}: must be whole numbers from 0 on, e.g. seeds=0,1,2, or "
            "seeds=table for those in the table files"
        )
    return tuple(dict.fromkeys(seeds))


def _whole(item: Any) -> int | None:
    """Return a whole number from 0 on, None for anything else."""
    if isinstance(item, str) and re.fullmatch(r"0|[1-9][0-9]*", item):
        return int(item)
    return item if is_whole(item, 0) else None


def is_whole(value: Any, least: int) -> bool:
    """Whether a value is a whole number, and not below another.

    Args:
        value: the value to check.
        least: the smallest number that is allowed.
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def as_folder(key: str, value: Any) -> Path:
    """Return a folder; ``~`` is the home folder.

    Args:
        key: the setting, for the error.
        value: the value to check.

    Raises:
        ConfigError: not a name, or one with control characters.
    """
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key}={as_typed(value)}: must be a folder, e.g. {key}=results")
    if not value.isprintable():
        raise ConfigError(
            f"{key}={value!r}: must not contain line breaks or other control characters"
        )
    return Path(expand_home(value, key=key))
