"""Whether all that a configuration names is there and takes its arguments, before a run starts.

Imports what the run will import; builds no network and opens no data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scaledrelu.config.group import TARGET
from scaledrelu.config.run import RunConfig, plain
from scaledrelu.errors import ConfigError
from scaledrelu.runs.create import check_build, check_layer
from scaledrelu.runs.optimisation import build_fall

NO_ARGUMENT = {"optimizer.build": {"weight_decay"}}  # goes into the groups of parameters
LAYERS = ("stem.norm", "stem.act", "stem.tail")


def unresolved(config: RunConfig) -> str | None:
    """Return a line about the first name or argument that is wrong; None if there is none.

    Args:
        config: the run's configuration, whose targets may be called.
    """
    for key, build in _builds(plain(config)):
        own = {name: value for name, value in build.items() if name not in NO_ARGUMENT.get(key, ())}
        try:
            (check_layer if key.partition("[")[0] in LAYERS else check_build)(own)
        except ConfigError as error:
            return f"{key}: {error}"
    try:
        build_fall(config)
    except ConfigError as error:
        return str(error)
    return None


def _builds(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (dotted key, dictionary) of all that has a ``_target_``."""
    if isinstance(value, dict):
        if TARGET in value:
            yield path, value
        for key, item in value.items():
            yield from _builds(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _builds(item, f"{path}[{number}]")
