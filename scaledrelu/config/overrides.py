"""The command line, before Hydra sees it: misspelt groups, options and keys get their one line."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaledrelu.config.launchers import check_launcher
from scaledrelu.config.schema import RunConfig
from scaledrelu.errors import ConfigError, nearest

# Groups whose name looks like a number's: the hint says where the number goes.
NUMBER_KEYS = {"lr": ("lr.base", "the rate"), "warmup": ("warmup.epochs", "its length")}
FREE_GROUPS = {"experiment", "hydra"}


def group_options(conf_dir: Path) -> dict[str, list[str]]:
    """Return every config group and its options; names with ``_`` in front are shared bases."""
    return {
        folder.name: sorted(p.stem for p in folder.glob("*.yaml") if not p.stem.startswith("_"))
        for folder in sorted(conf_dir.iterdir())
        if folder.is_dir() and not folder.name.startswith(("profile_", "table", "artifact"))
    }


def check_overrides(overrides: Sequence[str], conf_dir: Path) -> None:
    """Refuse a misspelt group, option, key or type before Hydra composes anything.

    Raises:
        ConfigError: one line with the nearest valid name.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    groups = group_options(conf_dir)
    parser = OverridesParser.create()
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise ConfigError(
                f"cannot read '{text}': {str(error).splitlines()[0]}. "
                "Write key=value; quote spaces and brackets."
            ) from error
        key = override.key_or_group.split("@")[0]
        if key == "hydra/launcher":
            check_launcher(str(override.value()))
        if re.split(r"[./]", key)[0] in FREE_GROUPS or override.is_delete():
            continue
        values = list(override.sweep_string_iterator()) if override.is_sweep_override() else None
        if key in groups:
            for value in values or [override.value()]:
                _check_option(key, value, groups[key], text)
        else:
            _check_key(key, groups)


def _check_option(group: str, value: Any, options: list[str], text: str) -> None:
    if isinstance(value, str) and not _is_number(value):
        if value not in options:
            raise ConfigError(
                f"{group}={value}: no such option of group '{group}'{nearest(value, options)}; "
                f"allowed: {', '.join(options)}"
            )
        return
    if value is None and group == "experiment":
        return
    key, what = NUMBER_KEYS.get(group, (None, None))
    typed = text.partition("=")[2]
    hint = f"; to set {what} write {key}={typed}" if key else ""
    raise ConfigError(f"{text}: {group} is a group ({', '.join(options)}){hint}")


def _check_key(key: str, groups: dict[str, list[str]]) -> None:
    owner: Any = RunConfig
    path: list[str] = []
    for part in key.split("."):
        if not dataclasses.is_dataclass(owner):
            return  # inside a free dictionary such as optimizer.build
        hints = typing.get_type_hints(owner)
        if part not in hints:
            here = ".".join(path) or "the top level"
            names = [*hints, *groups] if not path else list(hints)
            near = nearest(part, names)
            raise ConfigError(
                f"{key}: no such key '{part}' at {here}{near}; "
                f"allowed: {', '.join(sorted(set(names)))}"
            )
        owner = _inner(hints[part])
        path.append(part)


def _inner(hint: Any) -> Any:
    """Return X of ``X | None``."""
    if isinstance(hint, types.UnionType):
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
