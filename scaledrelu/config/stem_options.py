"""Which option of ``conf/stem`` a stem is: what a person typed, where its file still says the same.

For people only, as ``config/naming.py``: no identity, plan or result rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from scaledrelu.config.naming import LAYERS, name_of_layers
from scaledrelu.config.options import group_options, readable_options
from scaledrelu.config.places import CONF_DIR

GROUP = "stem"
SET_BY_PROFILES = ("hidden", "shrink")
_APART = ("label", *SET_BY_PROFILES)  # not what a stem is: a caption, and sizes


def option_name(stem: Mapping[str, Any], *, conf_dir: Path | None = None) -> str:
    """Return the option that has the fields of a stem; where none has, the name of its layers.

    Args:
        stem: plain values of the group; all of ``naming.LAYERS``, of the others those that are
            known.
        conf_dir: the configuration tree; the repository's by default.
    """
    return fitting_option(stem, conf_dir=conf_dir) or _name(stem)


def fitting_option(stem: Mapping[str, Any], *, conf_dir: Path | None = None) -> str | None:
    """Return the option that has the fields of a stem; None where none has.

    Args:
        stem: plain values of the group; all of ``naming.LAYERS``, of the others those that are
            known.
        conf_dir: the configuration tree; the repository's by default.
    """
    layers, options = _name(stem), _options(conf_dir or CONF_DIR)
    fitting = [name for name, option in options.items() if _fits(stem, option)]
    # Where several have its layers: the one of its caption and sizes, then the paper's own.
    return min(fitting, key=lambda one: (_unlike(stem, options[one]), one != layers), default=None)


def _fits(stem: Mapping[str, Any], option: Mapping[str, Any]) -> bool:
    return all(stem.get(key, value) == value for key, value in option.items() if key not in _APART)


def _unlike(stem: Mapping[str, Any], option: Mapping[str, Any]) -> int:
    return sum(stem.get(key) != option[key] for key in _APART if key in option)


def _name(stem: Mapping[str, Any]) -> str:
    return name_of_layers(**{key: stem[key] for key in LAYERS})


@cache
def _options(conf_dir: Path) -> dict[str, dict[str, Any]]:
    return readable_options(conf_dir / GROUP, group_options(conf_dir).get(GROUP, ()))
