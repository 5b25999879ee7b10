"""The options of the configuration tree: its YAML files, by folder."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

# What reading an option raises that is not finished: no file, no YAML, no mapping, a circle.
_UNREADABLE = (
    OSError,
    yaml.YAMLError,
    OmegaConfBaseException,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
)


def group_options(conf_dir: Path, *more: Path) -> dict[str, list[str]]:
    """Return every config group that a person may choose from, and its options.

    Left out are specialisations of profiles, what other scripts read, and shared bases: options
    with ``_`` in front.

    Args:
        conf_dir: the configuration tree.
        more: folders with further options.
    """
    found: dict[str, set[str]] = {}
    for folder in (folder for top in (conf_dir, *more) for folder in top.iterdir()):
        if folder.is_dir() and not folder.name.startswith(
            ("profile_", "table", "figure", "stability", "artifact", "hydra", ".")
        ):
            options = {path.stem for path in folder.glob("*.yaml")}
            found.setdefault(folder.name, set()).update(o for o in options if o[:1] != "_")
    return {name: sorted(found[name]) for name in sorted(found)}


def options_of(conf_dir: Path, group: str) -> tuple[str, ...]:
    """Return the names of a folder's YAML files, such as the options of a group.

    Args:
        conf_dir: the configuration tree.
        group: folder in it.
    """
    return tuple(sorted(path.stem for path in (conf_dir / group).glob("*.yaml")))


def readable_options(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the fields of the options that can be read; a draft is nobody's choice.

    Args:
        folder: the folder of a group.
        names: its options.
    """
    found = {}
    for name in names:
        with contextlib.suppress(*_UNREADABLE):
            found[name] = _fields(folder / f"{name}.yaml")
    return found


def _fields(path: Path) -> dict[str, Any]:
    """Return an option's own fields over those of the options of its group that it builds on."""
    own = OmegaConf.load(path)
    names = own.pop("defaults", [])
    bases = [name for name in names if isinstance(name, str) and name != "_self_"]
    parts = [_fields(path.with_name(f"{name}.yaml")) for name in bases]
    return OmegaConf.to_container(OmegaConf.merge(*parts, own))
