"""Where things lie: the configuration, the runs, and paths that a person gives.

``~`` means the home folder, in the shell and in files alike.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scaledrelu.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]  # of the repository
CONF_DIR = ROOT / "conf"
# In the folder of a run: what was trained, numbers along training, its pace, how it ended, arrays
# for reports.
CONFIG, METRICS, TIMING = "config.json", "metrics.jsonl", "timing.jsonl"
RESULT, EVIDENCE = "result.json", "evidence.npz"
PLACES = ("paths.results", "data.root", "data.token_labels", "init.path")

_PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)  # what Hydra reads as one string without quotes
_BARE = re.compile(r"""[^~'",$\\\[\](){}][^'",$\\\[\](){}]*""")  # a path without quotes
_HOME = re.compile(r"""(?<=[=,])(?:(['"])(~[^'"]*)\1|(~[^,'"\[\](){}]*))""")  # in an override


def runs_root(results: str | Path) -> Path:
    """Return the folder that holds every run directory."""
    return Path(results) / "runs"


def published_root(results: str | Path) -> Path:
    """Return the folder of what git keeps of the results: a folder for each profile, and bench."""
    return Path(results) / "published"


def expand_home(text: str, *, key: str) -> str:
    """Return a path with ``~`` or ``~user`` in front expanded.

    Args:
        text: a path as it was typed.
        key: where it was given, for the error.

    Raises:
        ConfigError: if the home folder is unknown.
    """
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise ConfigError(f"{key}={text}: the home folder is unknown; write the whole path")
    return path


def expand_places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values of a configuration with every path expanded.

    Raises:
        ConfigError: if the home folder of a path with ``~`` is unknown.
    """
    expanded = dict(values)
    for key in PLACES:
        group, leaf = key.split(".")
        fields = expanded.get(group)
        if isinstance(fields, Mapping) and isinstance(fields.get(leaf), str):
            expanded[group] = {**fields, leaf: expand_home(fields[leaf], key=key)}
    return expanded


def expand_overrides(overrides: Sequence[str]) -> list[str]:
    """Return Hydra overrides whose paths Hydra's grammar can read.

    ``key=~/x`` is expanded; a path with letters beyond ASCII is quoted.

    Raises:
        ConfigError: if the home folder of a path with ``~`` is unknown.
    """
    return [_expand_override(text) for text in overrides]


def quoted(text: str) -> str:
    """Return a path as Hydra's override grammar reads it back as one string."""
    if "/" in text and _PLAIN.fullmatch(text):
        return text
    escaped = re.sub(r"(\\*)'", lambda found: f"{found[1] * 2}\\'", text)
    end = re.search(r"\\*$", escaped)
    return f"'{escaped}{end[0] if end else ''}'"


def _expand_override(text: str) -> str:
    key, _, value = text.partition("=")
    if key in PLACES and not value.isascii() and _BARE.fullmatch(value):
        text = f"{key}={quoted(value)}"  # Hydra's grammar knows no letters beyond ASCII
    return _HOME.sub(lambda found: quoted(expand_home(found[2] or found[3], key=key)), text)


def options_of(conf_dir: Path, group: str) -> tuple[str, ...]:
    """Return the names of a folder's YAML files, such as the options of a group.

    Args:
        conf_dir: the configuration tree.
        group: folder in it.
    """
    return tuple(sorted(path.stem for path in (conf_dir / group).glob("*.yaml")))
