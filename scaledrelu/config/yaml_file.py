"""Reads YAML files of ``conf/`` that Hydra does not compose: no key twice, an error is one line."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.errors import ConfigError, ScaledReluError


class _Loader(yaml.SafeLoader):
    """YAML whose mappings hold every key once; the plain parser silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: the key '{key}' is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def yaml_line(error: yaml.YAMLError) -> str:
    """Return what is wrong with a file that is not YAML, and where, as one line."""
    mark = getattr(error, "problem_mark", None)
    return _reason(error) if mark is None else f"{mark.name}, {_reason(error)}"


def _reason(error: Exception) -> str:
    """Return what is wrong with a file, and in which line, without its name."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}: not valid YAML ({error.problem})"


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """Return what a text holds; the same text is parsed once, for reports read a table often."""
    return yaml.load(text, Loader=_Loader)


def read_yaml(path: Path, where: str, *, error: type[ScaledReluError] = ConfigError) -> Any:
    """Return what a file holds.

    Args:
        path: the file.
        where: its name in errors.
        error: the kind of error to raise.

    Raises:
        ScaledReluError: of that kind; it cannot be read, is not YAML, or gives a key twice.
    """
    try:
        return deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, OSError, ValueError, TypeError, RecursionError) as reason:
        colon = ":" if getattr(reason, "problem_mark", None) is None else ","
        raise error(f"{where}{colon} {_reason(reason)}") from reason
