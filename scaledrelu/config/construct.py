"""From the plain dictionaries of YAML and Hydra to groups, in one place.

Decides how values of another type are converted (5 for ``5.0``, ``"5"`` or 5 alike). What cannot
be converted is left as it is, and the field's own check says what it should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from scaledrelu.config.group import Field, Group, fields_of, typed
from scaledrelu.errors import ConfigError

G = TypeVar("G", bound=Group)


class UnknownKeyError(ConfigError):
    """A key that no group has.

    Attributes:
        key: dotted.
        known: the keys that stand beside it.
    """

    def __init__(self, key: str, known: list[str]) -> None:
        super().__init__(key)
        self.key, self.known = key, known


class NoValueError(ConfigError):
    """Fields of a group without a value.

    Attributes:
        keys: dotted.
    """

    def __init__(self, keys: list[str]) -> None:
        super().__init__(keys)
        self.keys = keys

    def __str__(self) -> str:
        have = "has no value; set it" if len(self.keys) == 1 else "have no value; set them"
        return f"{', '.join(self.keys)}: {have} in conf/ or on the command line"


def construct(group: type[G], values: Any) -> G:
    """Return a group, and the groups within it, of resolved plain values.

    Args:
        group: a class of ``config``.
        values: field -> value, with a value for every field.

    Raises:
        UnknownKeyError: a key that is not a field.
        NoValueError: fields that ``values`` lacks.
        ConfigError: naming the key, the value found and what is allowed.
    """
    fields = fields_of(group)
    if not isinstance(values, Mapping):
        names = ", ".join(one.name for one in fields)
        raise ConfigError(
            f"{group.KEY}={typed(values)}: is a group, not a value; its fields are {names}"
        )
    known = [one.name for one in fields]
    for name in values:
        if name not in known:
            raise UnknownKeyError(f"{group.KEY}.{name}".lstrip("."), known)
    if lacking := [one.key for one in fields if one.name not in values]:
        raise NoValueError(lacking)
    return group(**{one.name: _value(one, values[one.name]) for one in fields})


def _value(one: Field, value: Any) -> Any:
    if value is None:
        return None
    if issubclass(one.kind, Group):
        return construct(one.kind, value)
    if one.many:
        items = isinstance(value, list | tuple)
        return tuple(_coerced(one.kind, item) for item in value) if items else value
    return _coerced(one.kind, value)


def _coerced(kind: type, value: Any) -> Any:
    if kind is str:
        return value if isinstance(value, str | dict | list | tuple | bool) else str(value)
    if kind not in (int, float) or isinstance(value, bool):
        return value
    try:
        found = float(value) if kind is float or isinstance(value, float) else int(value)
    except (TypeError, ValueError):
        return value
    if kind is int and isinstance(found, float):
        return int(found) if found.is_integer() else value
    return found
