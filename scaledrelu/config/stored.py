"""The file ``config.yaml`` of a run: written, and read again by any later version.

Fields that are newer than a file take the value that means "as before"; a removed field that never
was science is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from scaledrelu.config.construct import construct
from scaledrelu.config.group import all_fields, fields_of
from scaledrelu.config.identity import NEUTRAL, TRANSIENT, is_transient
from scaledrelu.config.model import OFFERS
from scaledrelu.config.run import RunConfig, plain

CONFIG_YAML = "config.yaml"  # in a run directory
# Field -> what a file without it means.
ADDED: dict[str, Any] = {
    **NEUTRAL,
    "launch.cache_val": True,
    "launch.groups_at_once": False,
    "launch.compile_mode": "default",
    "wandb.paper": [],
    "model.offers": list(OFFERS),  # nothing was refused
}
Texts = dict[tuple[str, int], tuple[Any, str]]  # (field, id of its value) -> value, text
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_yaml(config: RunConfig, known: Texts) -> str:
    """Return the whole configuration as the text of ``config.yaml``.

    Args:
        config: a run's configuration.
        known: texts of groups that other configurations have in common with this one; added to.
    """
    texts = []
    for one in fields_of(RunConfig):
        value = getattr(config, one.name)
        place = (one.name, id(value))
        if place not in known or known[place][0] is not value:
            known[place] = (value, _text({one.name: plain(value)}))
        texts.append(known[place][1])
    return "".join(texts)


def _text(values: Mapping[str, Any]) -> str:
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def from_yaml(text: str) -> dict[str, Any]:
    """Return the plain values of the text of ``config.yaml``.

    Raises:
        YAMLError, TypeError: the text is damaged.
    """
    return {**yaml.load(text, Loader=_Loader)}


def from_stored(values: Mapping[str, Any]) -> RunConfig:
    """Return the configuration that a run of any age was trained with.

    Args:
        values: plain values of its ``config.yaml``.

    Raises:
        ConfigError: a field that is lacking, unknown or out of its range.
    """
    return construct(RunConfig, of_today(values))


def of_today(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored values with newer fields added and removed ones left out."""
    filled = dict(values)
    for key, value in ADDED.items():
        _add(filled, key.split("."), value)
    return _known_fields(filled)


def _add(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value that is not there, in groups that are; groups are copied, not changed."""
    name, *rest = path
    if not rest:
        values.setdefault(name, value)
    elif isinstance(values.get(name), Mapping):
        values[name] = dict(values[name])
        _add(values[name], rest, value)


def _known_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values without those that are not fields any more and never were science."""
    known = {one.key for one in all_fields(RunConfig)}
    kept = {name: value for name, value in values.items() if name in known or name not in TRANSIENT}
    for group, fields in kept.items():
        if isinstance(fields, Mapping):
            kept[group] = {
                name: value
                for name, value in fields.items()
                if f"{group}.{name}" in known or not is_transient(f"{group}.{name}")
            }
    return kept
