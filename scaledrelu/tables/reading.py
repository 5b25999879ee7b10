"""Reads table files strictly: a one-line error for anything out of place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scaledrelu.config import yaml_file
from scaledrelu.config.overrides import NOT_OF_A_ROW, check_listed
from scaledrelu.config.seeds import ALLOWED, Seeds, seeds_of, unknown_profile
from scaledrelu.errors import ConfigError, TableError, nearest

read_yaml = partial(yaml_file.read_yaml, error=TableError)


def check_pairs(raw: Any, where: str) -> None:
    """Refuse anything but a mapping.

    Args:
        raw: the value to check.
        where: its place, for the error.
    """
    if not isinstance(raw, Mapping):
        raise TableError(f"{where}: must be 'key: value' pairs, found {_found(raw)}")


def check_keys(raw: Any, allowed: Sequence[str], where: str) -> None:
    """Refuse anything but a mapping with known keys.

    Args:
        raw: the value to check.
        allowed: the known keys.
        where: its place, for the error.
    """
    check_pairs(raw, where)
    for key in raw:
        if key not in allowed:
            raise TableError(
                f"{where}: unknown key '{key}'{nearest(str(key), allowed)}; "
                f"allowed: {', '.join(allowed)}"
            )


def a_text(raw: Mapping[str, Any], key: str, default: str, where: str) -> str:
    """Return a string; a number is accepted as one.

    Args:
        raw: the mapping that holds it.
        key: its key.
        default: the value if the key is missing.
        where: place of the mapping, for the error.
    """
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TableError(f"{where}: {key} must be a string, found {_found(value)}")
    return str(value)


def a_list(raw: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """Return a list; an empty one if the key is missing.

    Args:
        raw: the mapping that holds it.
        key: its key.
        where: place of the mapping, for the error.
    """
    value = raw.get(key, [])
    if not isinstance(value, list):
        raise TableError(f"{where}: {key} must be a list, found {_found(value)}")
    return value


def a_flag(raw: Mapping[str, Any], key: str, where: str) -> bool:
    """Return true or false; false if the key is missing.

    Args:
        raw: the mapping that holds it.
        key: its key.
        where: place of the mapping, for the error.
    """
    value = raw.get(key, False)
    if not isinstance(value, bool):
        raise TableError(f"{where}: {key} must be true or false, found {_found(value)}")
    return value


def overrides(raw: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """Return a list of ``key=value`` that a table may set for a run.

    Args:
        raw: the mapping that holds it.
        key: its key.
        where: place of the mapping, for the error.

    Raises:
        TableError: also for what is decided on the command line only.
    """
    found = a_list(raw, key, where)
    try:
        return check_listed(found, NOT_OF_A_ROW)
    except ConfigError as error:
        raise TableError(f"{where}, {key}: {error}") from error


def seeds(raw: Mapping[str, Any], where: str) -> Seeds | None:
    """Return the seeds of a table, block or row; None if it names none.

    Args:
        raw: the mapping that may hold ``seeds``.
        where: place of the mapping, for the error.
    """
    if "seeds" not in raw:
        return None
    found = seeds_of(raw["seeds"])
    if found is None:
        raise TableError(f"{where}: seeds={raw['seeds']}: {ALLOWED}")
    return found


def check_profiles(names: Iterable[str], conf_dir: Path, where: str) -> None:
    """Refuse what is called a profile and is none.

    Args:
        names: what the file calls profiles.
        conf_dir: the configuration tree.
        where: place of the names, for the error.
    """
    if wrong := unknown_profile(names, conf_dir):
        raise TableError(f"{where}: {wrong}")


def is_number(value: Any, *, highest: float) -> bool:
    """Say whether a paper's value is a number in its range.

    Args:
        value: the value of the table file.
        highest: largest value that the paper can print.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= highest


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    return (
        f"the {type(value).__name__} {value!r}"
        if not isinstance(value, dict | list)
        else ("a list" if isinstance(value, list) else "key: value pairs")
    )
