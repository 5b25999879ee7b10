"""What sets a run apart from its recipe and profile, written as a person would type it.

For people only: no identity, plan or result rests on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.identity import TRANSIENT
from scaledrelu.config.options import group_options, readable_options
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig, plain

_NOT_TYPED = {*TRANSIENT, "data.digest", "data.token_labels_digest"}  # digests follow from files
_ABSENT = object()


def overrides_against_recipe(run: RunConfig) -> list[str]:
    """Return the overrides that turn ``recipe=<method> profile=<name>`` into this run.

    Groups first (``stem=conv``), then what no option explains (``lr.base=1e-3``). Composes once,
    and once more where an option differs; a tenth of a second each.

    Raises:
        ConfigError: if ``conf/`` has no such recipe or profile.
    """
    start = [f"recipe={run.method}", f"profile={run.profile.name}"]
    config, base = plain(run), plain(compose_unpinned(start, will_run=False))
    options = [
        f"{group}={option}"
        for group, names in group_options(CONF_DIR).items()
        if (option := _other_option(group, names, config.get(group), base.get(group)))
    ]
    init = config["init"]  # an option of this group is nothing without its value
    options += [f"init.{key}={_typed(init[key])}" for key in ("run", "path") if init[key]]
    if options:
        base = plain(compose_unpinned([*start, *options], will_run=False))
    return options + [_override(*change) for change in _changes(config, base)]


def _other_option(group: str, names: list[str], run: Any, base: Any) -> str | None:
    """Return the option that lies nearest to the run's values, if the base lies nearer another."""
    if not (isinstance(run, dict) and isinstance(base, dict)) or group in ("profile", *TRANSIENT):
        return None
    if not any(_changes(run, base, group)):
        return None
    fields = readable_options(CONF_DIR / group, names)
    if not fields:
        return None
    to_run = {name: _distance(run, found) for name, found in fields.items()}
    to_base = {name: _distance(base, found) for name, found in fields.items()}
    current = min(fields, key=to_base.get)
    nearest = min(fields, key=to_run.get)
    return nearest if to_run[nearest] < to_run[current] else None


def _distance(values: dict[str, Any], option: dict[str, Any]) -> int:
    """Count the leaves on which they disagree; labels count too."""
    one, other = _leaves(values), _leaves(option)
    return sum(one.get(key, _ABSENT) != other.get(key, _ABSENT) for key in one.keys() | other)


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for key, item in value.items() for k, v in _leaves(item, f"{path}.{key}").items()}


def _changes(run: Any, base: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, value, value in the base), in the order of the keys."""
    if path in _NOT_TYPED:
        return
    if isinstance(run, dict) and isinstance(base, dict):
        for key in [*run, *(key for key in base if key not in run)]:
            below = f"{path}.{key}" if path else key
            yield from _changes(run.get(key, _ABSENT), base.get(key, _ABSENT), below)
    elif run != base:
        yield path, run, base


def _override(key: str, value: Any, before: Any) -> str:
    if value is _ABSENT:
        return f"~{key}"
    return f"{'+' if before is _ABSENT else ''}{key}={_typed(value)}"


def _typed(value: Any) -> str:
    """Return a value in Hydra's grammar, small numbers as the paper prints them."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_typed(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_typed, value)) + "]"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_][\w./-]*", value) and value not in ("null", "true", "false")
        return value if plain else "'" + value.replace("'", "\\'") + "'"
    return json.dumps(value)


def number_text(value: float) -> str:
    """Return 5, 0.05, 5e-4: the shortest text that reads back as the same number."""
    if value.is_integer():
        return str(int(value))
    mantissa, _, exponent = f"{value:e}".partition("e")
    short = f"{float(mantissa):g}e{int(exponent)}"
    return short if abs(value) < 0.01 and float(short) == value else repr(value)
