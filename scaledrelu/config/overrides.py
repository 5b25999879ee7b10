"""Overrides, before Hydra sees them: one-line errors for wrong forms, groups, options and keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledrelu.config.group import Group, all_fields, fields_of, typed
from scaledrelu.config.options import group_options
from scaledrelu.config.places import PLACES, expand_home
from scaledrelu.config.plugins import SWEEPER, check_launcher, check_sweeper
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import ConfigError, nearest

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

FEW = 3  # keys that a hint names at most
# Groups whose names read like quantities: the hint says where the number goes.
NUMBER_KEYS = {"lr": ("lr.base", "the rate"), "warmup": ("warmup.epochs", "its length")}
FREE_GROUPS = {"hydra"}
EXPERIMENT = "experiment"  # a group of many projects with Hydra, and none of this one
# What a row of a table cannot override, and how to set it instead.
NOT_OF_A_ROW = {
    "seed": "write seeds: [0, 1, 2] in the table, block or row",
    **dict.fromkeys(("profile", "profile.name"), "set profile=<name> on the command line"),
    "paths.results": "set results=<folder> on the command line",
    "trust": "set trust=[<module>] on the command line, which alone may trust code",
    "hydra": "Hydra's settings are not part of a run",
}
_PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)  # what Hydra reads as one string without quotes
_BARE = re.compile(r"""[^~'",$\\\[\](){}][^'",$\\\[\](){}]*""")  # a path without quotes
_HOME = re.compile(r"""(?<=[=,])(?:(['"])(~[^'"]*)\1|(~[^,'"\[\](){}]*))""")  # in an override


def key_of(override: object) -> str:
    """Return the key of an override that stands in a file or a setting.

    Args:
        override: ``key=value``. Without the + and ~ of the shell: lists are joined by key.

    Raises:
        ConfigError: it is anything else.
    """
    key, equals, _ = str(override).partition("=")
    if isinstance(override, str | int | float) and not equals and key[:1] not in ("+", "~"):
        # A comma ends an item of a list, so this may be the rest of a sweep.
        raise ConfigError(
            f"'{typed(override)}': write key=value, one value per override; a sweep over values is "
            "a table, or `train.py -m`"
        )
    if not isinstance(override, str) or not equals or not key or key[0] in "+~":
        raise ConfigError(f"'{typed(override)}': write key=value, without + or ~")
    return key


def check_listed(overrides: Sequence[object], elsewhere: Mapping[str, str]) -> tuple[str, ...]:
    """Return a list of overrides if each is one, and none is there in vain.

    Args:
        overrides: those of one list, in a file or a setting.
        elsewhere: keys that are decided elsewhere -> how to set them instead.

    Raises:
        ConfigError: not ``key=value``, a key that stands twice or is decided elsewhere; one line
            that names the override, not the place of the list.
    """
    keys: set[str] = set()
    for override in overrides:
        name = str(override).partition("=")[0].lstrip("+~")
        root = "hydra" if name.startswith("hydra") else name.partition("@")[0]
        if root in elsewhere:
            raise ConfigError(f"'{override}' is not allowed here; {elsewhere[root]}")
        key = key_of(override)
        if key in keys:
            raise ConfigError(f"'{key}' is given twice; remove one")
        keys.add(key)
    return tuple(map(str, overrides))


def expand_overrides(overrides: Sequence[str]) -> list[str]:
    """Return Hydra overrides whose paths Hydra's grammar can read.

    ``key=~/x`` is expanded; a path with letters beyond ASCII is quoted.

    Raises:
        ConfigError: the home folder of a path with ``~`` is unknown, or a path begins or ends with
            white space, which Hydra would leave out.
    """
    return [_expand_override(text) for text in overrides]


def quoted(text: str) -> str:
    """Return a path as Hydra's override grammar reads it back as one string."""
    if "/" in text and _PLAIN.fullmatch(text):
        return text
    escaped = re.sub(r"(\\*)'", lambda found: f"{found[1] * 2}\\'", text)
    end = re.search(r"\\*$", escaped)
    return f"'{escaped}{end[0] if end else ''}'"


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Read overrides in Hydra's grammar.

    Raises:
        ConfigError: one line with the text that cannot be read.
    """
    return [_parse(text) for text in overrides]


@lru_cache(4096)  # a plan asks for each many times, and the grammar takes milliseconds
def _parse(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(
            f"cannot parse '{text}': {str(error).splitlines()[0]}. Write key=value; a value with "
            "brackets, quotes, commas or = needs quotes inside the shell's quotes, and so do "
            "letters beyond ASCII outside a path: \"key='value'\""
        ) from error


def expand_glob(text: str, groups: Mapping[str, Sequence[str]]) -> str:
    """Write out ``stem=glob(conv*)`` as its options; return any other text as it is.

    Hydra's own glob would take shared bases for options.

    Args:
        text: an override.
        groups: options by group, as :func:`group_options` returns them.

    Raises:
        ConfigError: one line if nothing matches, or if the key is not a group.
    """
    from hydra.core.override_parser.types import Glob

    override = parse_overrides([text])[0]
    glob, group = override.value(), override.key_or_group
    if not isinstance(glob, Glob) or group.startswith("hydra"):
        return text
    if group not in groups:
        raise ConfigError(
            f"{text}: glob() works on groups only, and '{group}' is not a group; allowed: "
            f"{', '.join(groups)}"
        )
    matching = glob.filter(list(groups[group]))
    if not matching:
        raise ConfigError(
            f"{text}: no option of group '{group}' matches; allowed: {', '.join(groups[group])}"
        )
    return f"{text.partition('=')[0]}={','.join(matching)}"


def refuse_profile_name(key: str, typed: str) -> None:
    """Refuse the name of a profile apart from the profile: it is no part of a run's identity.

    So a run of this profile would be stored and shown under the name of another.

    Args:
        key: dotted.
        typed: the override, for the error.

    Raises:
        ConfigError: it is the profile's name.
    """
    if key == "profile.name":
        raise ConfigError(f"{typed.lstrip('+')}: do not set it, choose profile=<name>")


def check_overrides(overrides: Sequence[str], conf_dir: Path, *more: Path) -> None:
    """Refuse a misspelt group, option, key or type before Hydra composes anything.

    Args:
        overrides: arguments as typed; sweeps are left to Hydra's sweeper.
        conf_dir: the configuration tree.
        more: folders with further options.

    Raises:
        ConfigError: one line with the nearest valid name.
    """
    from hydra.core.override_parser.types import Glob

    groups = group_options(conf_dir, *more)
    for text, override in zip(overrides, parse_overrides(overrides), strict=True):
        key = override.key_or_group.split("@")[0]
        if key == "hydra/launcher":
            check_launcher(str(override.value()))
        if key == SWEEPER:
            check_sweeper(str(override.value()))
        if re.split(r"[./]", key)[0] in FREE_GROUPS or override.is_delete():
            continue
        if key not in groups:
            refuse_profile_name(key, text)
            _check_key(key, groups)
            continue
        listed = override.is_choice_sweep() and not isinstance(override.value(), Glob)
        for value in override.sweep_string_iterator() if listed else [override.value()]:
            _check_option(key, value, groups[key], text)


def is_list(key: str) -> bool | None:
    """Say whether a field is a list; None inside a free dictionary, where nobody knows.

    Args:
        key: dotted key of a field, or the name of a group.
    """
    owner, many = RunConfig, False
    for part in key.split("."):
        if not issubclass(owner, Group):
            return None
        field = {one.name: one for one in fields_of(owner)}.get(part)
        if field is None:  # a group that is not a field, such as recipe
            return False
        owner, many = field.kind, field.many
    return many


def _expand_override(text: str) -> str:
    key, _, value = text.partition("=")
    if key in PLACES and value != value.strip():
        raise ConfigError(
            f"{text}: begins or ends with white space; leave it out, or write the path in quotes "
            f"inside the shell's quotes: \"{key}='{value}'\""
        )
    if key in PLACES and not value.isascii() and _BARE.fullmatch(value):
        text = f"{key}={quoted(value)}"  # Hydra's grammar knows no letters beyond ASCII
    return _HOME.sub(lambda found: quoted(expand_home(found[2] or found[3], key=key)), text)


def _check_option(group: str, value: Any, options: list[str], text: str) -> None:
    if isinstance(value, str) and not _is_number(value):
        value = value.strip("'\"")
        if value not in options:
            raise ConfigError(
                f"{group}={value}: no such option{nearest(value, options)}; "
                f"allowed: {', '.join(options)}"
            )
        return
    key, what = NUMBER_KEYS.get(group, (None, None))
    typed = text.partition("=")[2]
    hint = f"; to set {what} write {key}={typed}" if key else ""
    raise ConfigError(f"{text}: {group} is a group ({', '.join(options)}){hint}")


def _check_key(key: str, groups: dict[str, list[str]]) -> None:
    owner: type = RunConfig
    path: list[str] = []
    for part in key.split("."):
        if not _is_group(owner):
            return  # inside a free dictionary such as optimizer.build
        known = {one.name: one.kind for one in fields_of(owner)}
        if part not in known:
            here = ".".join(path) or "the top level"
            names = [*known, *groups] if not path else list(known)
            build = f"; for an argument of its class write {here}.build.{part}"
            hint = (
                _elsewhere(part, owner)
                or nearest(part, names)
                or (build if "build" in known else "")
            )
            raise ConfigError(
                f"{key}: no such key '{part}' at {here}{hint}; "
                f"allowed: {', '.join(sorted(set(names)))}"
            )
        owner = known[part]
        path.append(part)


def _elsewhere(name: str, owner: type) -> str:
    """Return ``"; did you mean 'x'?"`` for the keys of the schema that a name stands for, or ""."""
    if owner is RunConfig and name == EXPERIMENT:
        return (
            "; here an experiment is a table, conf/table/<name>.yaml, which scripts/sweep.py "
            "tables=[<name>] trains"
        )
    fields = (one for one in all_fields(RunConfig) if not _is_group(one.kind))
    keys = [one.key for one in fields if one.name == name]
    if name in NUMBER_KEYS:
        keys = [NUMBER_KEYS[name][0]]
    return f"; did you mean {' or '.join(map(repr, keys))}?" if 0 < len(keys) <= FEW else ""


def schema_group(key: str) -> type[Group] | None:
    """Return the group at a dotted key, null or not; None for any other field."""
    kinds = (one.kind for one in all_fields(RunConfig) if one.key == key)
    return next(filter(_is_group, kinds), None)


def _is_group(kind: type) -> bool:
    return issubclass(kind, Group)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
