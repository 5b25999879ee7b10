"""Where things lie: the configuration, the runs, and paths that a person gives.

``~`` means the home folder, in the shell and in files alike.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaledrelu.errors import ConfigError

CONF_DIR = Path(__file__).resolve().parents[2] / "conf"
# In the folder of a run: what was trained, numbers along training, its pace, arrays for reports.
CONFIG, METRICS, TIMING = "config.json", "metrics.jsonl", "timing.jsonl"
EVIDENCE = "evidence.npz"
PLACES = ("paths.results", "data.root", "data.token_labels", "init.path")


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
