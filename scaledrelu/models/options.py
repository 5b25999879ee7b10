"""Picks an option by its name, or says in one line which names exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from scaledrelu.errors import ConfigError, nearest

T = TypeVar("T")


def pick(key: str, name: str, allowed: Mapping[str, T]) -> T:
    """Return ``allowed[name]``.

    Args:
        key: where the name was given, e.g. ``"stem.norm"``.
        name: the option asked for.
        allowed: options by name.

    Raises:
        ConfigError: if there is no such option; names the key, the nearest and all options.
    """
    if name not in allowed:
        options = ", ".join(sorted(allowed))
        raise ConfigError(f"{key}: unknown '{name}' (allowed: {options}){nearest(name, allowed)}")
    return allowed[name]
