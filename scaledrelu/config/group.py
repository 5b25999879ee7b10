"""The base class of every group: a frozen dataclass that refuses what its fields do not allow.

Fields carry their allowed words and ranges (``config.fields``); rules between fields stand in the
group's ``check``. Both run whenever a group is made, also by ``dataclasses.replace``.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from scaledrelu.config.fields import Allowed
from scaledrelu.config.ranges import Range
from scaledrelu.errors import ConfigError, nearest

TARGET = "_target_"  # in an open dictionary: the name of what is called
_PLAIN = re.compile(r"\w[\w. -]*")
_FOLDER_NAME = re.compile(r"[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a group, read once from its declaration.

    Attributes:
        name: the attribute's name.
        key: dotted, in the whole configuration.
        kind: int, float, bool, str, dict or a group.
        many: it holds a tuple of these.
        optional: it may be None.
        allowed: its range, words and what it names.
    """

    name: str
    key: str
    kind: type
    many: bool
    optional: bool
    allowed: Allowed


class Group:
    """A part of a configuration that refuses values it does not allow.

    Attributes:
        KEY: where it stands in the whole configuration, e.g. ``optimizer.sam``.
    """

    __slots__ = ()
    KEY: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for one in fields_of(type(self)):
            _check_field(one, getattr(self, one.name))
        self.check()

    def check(self) -> None:
        """Refuse fields that contradict each other.

        Raises:
            ConfigError: naming the keys, the values found and what is allowed.
        """


@cache
def fields_of(group: type[Group]) -> tuple[Field, ...]:
    """Return the fields of a group in their order."""
    hints = typing.get_type_hints(group)
    prefix = f"{group.KEY}." if group.KEY else ""
    return tuple(
        _field(f"{prefix}{one.name}", one, hints[one.name]) for one in dataclasses.fields(group)
    )


def all_fields(group: type[Group]) -> Iterator[Field]:
    """Yield the fields of a group, each group among them before its own fields."""
    for one in fields_of(group):
        yield one
        if issubclass(one.kind, Group):
            yield from all_fields(one.kind)


def _field(key: str, declared: dataclasses.Field[Any], hint: Any) -> Field:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    optional = type(None) in kinds
    kind = next(kind for kind in kinds if kind is not type(None))
    many = typing.get_origin(kind) is tuple
    if many:
        kind = typing.get_args(kind)[0]
    if isinstance(kind, types.UnionType):  # a word, or a dictionary that names code
        kind = typing.get_args(kind)[0]
    kind = typing.get_origin(kind) or kind
    allowed = declared.metadata.get("allowed", Allowed())
    return Field(declared.name, key, kind, many, optional, allowed)


def _check_field(one: Field, value: Any) -> None:
    allowed, key = one.allowed, one.key
    if value is None:
        require(one.optional, f"{key}=null: {_what(one)}")
    elif one.many and not isinstance(value, list | tuple):
        which = f"; {allowed.range}" if allowed.range else ""
        raise ConfigError(f"{key}={typed(value)}: must be a list: {key}=[{typed(value)}]{which}")
    elif isinstance(value, list | tuple) and not one.many:
        raise ConfigError(f"{key}={typed(value)}: {_what(one)}")
    elif allowed.range is not None:
        or_null = ", or null" if one.optional else ""
        wrong = "not a number; " if isinstance(value, str | bool) else ""
        line = f"{key}={typed(value)}: {wrong}{allowed.range}{or_null}"
        require(allowed.range.accepts(value), line)
    elif allowed.words:
        _check_words(one, value)
    elif one.kind is bool:
        require(isinstance(value, bool), f"{key}={typed(value)}: {_what(one)}")
    elif one.kind is str:
        for item in value if one.many else (value,):
            _check_text(one, item)
    elif one.kind is dict:
        _check_open(one, value)
    elif not isinstance(value, one.kind):
        raise ConfigError(
            f"{key}={typed(value)}: is a group, not a value; write {key}.<field>=<value>"
        )


def _check_words(one: Field, value: Any) -> None:
    items = value if one.many else (value,)
    for item in items:
        if one.allowed.build and isinstance(item, dict) and isinstance(item.get(TARGET), str):
            continue
        if item not in one.allowed.words:
            held = f": contains '{item}'" if one.many else f"={item}"
            near = nearest(str(item), one.allowed.words)
            raise ConfigError(f"{one.key}{held}{near}; {_what(one)}")


def _check_text(one: Field, value: Any) -> None:
    require(isinstance(value, str), f"{one.key}={typed(value)}: must be a string")
    require(value != "", f"{one.key}=: is empty; give a value, or null for none")
    if one.allowed.names_folder:
        folder_name(value, what=one.key)
    if one.allowed.names_file:
        require(
            _PLAIN.fullmatch(value) is not None,
            f"{one.key}={value}: becomes part of a file name; allowed: letters, digits, spaces "
            "and . _ -",
        )


def _check_open(one: Field, value: Any) -> None:
    """Refuse infinities, NaN and empty texts anywhere, and known arguments out of their range."""
    for item in value if one.many else (value,):
        require(
            isinstance(item, dict),
            f"{one.key}={typed(item)}: must be a dictionary with {TARGET} and arguments",
        )
    for key, found in leaves(list(value) if one.many else value, one.key):
        allowed = one.allowed.arguments.get(key.rpartition(".")[2])
        if isinstance(allowed, Range):
            require(allowed.accepts(found), f"{key}={typed(found)}: {allowed}")
        elif allowed and found not in allowed:
            raise ConfigError(f"{key}={found}{_hint(found, allowed)}")
        numbers = found if isinstance(found, list) else [found]
        finite = all(math.isfinite(item) for item in numbers if isinstance(item, int | float))
        require(finite, f"{key}={typed(found)}: must be finite")
        require(found != "", f"{key}=: is empty; give a value, or null for none")


def _hint(value: Any, allowed: tuple[str, ...]) -> str:
    return f"{nearest(str(value), allowed)}; allowed: {', '.join(allowed)}"


def _what(one: Field) -> str:
    if one.allowed.range is not None:
        return str(one.allowed.range)
    if one.allowed.words:
        or_class = f", or {{{TARGET}: <class>}}" if one.allowed.build else ""
        return f"allowed: {', '.join(one.allowed.words)}{or_class}"
    or_null = ", null" if one.optional else ""
    return f"allowed: true, false{or_null}" if one.kind is bool else "must be a single value"


def require(condition: bool, message: str) -> None:
    """Raise a ConfigError with the message unless the condition holds.

    Args:
        condition: what must hold.
        message: one line: what is wrong, what is allowed, what to do.
    """
    if not condition:
        raise ConfigError(message)


def folder_name(name: object, *, what: str) -> str:
    """Return an id or a method that becomes a folder name, if it cannot lead anywhere else.

    Args:
        name: the value to check.
        what: the key or thing that it is, for the error.

    Raises:
        ConfigError: if it is more than letters, digits, ``_`` and single ``-`` between them.
    """
    if not isinstance(name, str) or len(name) > 100 or not _FOLDER_NAME.fullmatch(name):
        raise ConfigError(
            f"{what}={name!r}: becomes a folder name; allowed: letters, digits, _ and -, e.g. "
            "deit-0123456789ab"
        )
    return name


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value); a list of plain values is one value, dictionaries are opened.

    Args:
        value: plain dictionaries and lists.
        path: dotted key of the value.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value


def parent_of(values: dict[str, Any], key: str) -> dict[str, Any] | None:
    """Return the dictionary in which a dotted key would stand, None where there is none.

    Args:
        values: plain dictionaries.
        key: dotted; its last name need not be there.
    """
    place: Any = values
    for part in key.split(".")[:-1]:
        place = place.get(part) if isinstance(place, dict) else None
    return place if isinstance(place, dict) else None


def typed(value: Any) -> str:
    """Return a value as it is typed: ``[0,0.5]``, ``true``."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(typed, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)
