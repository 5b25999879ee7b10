"""A planned run is a file: ``config.yaml`` in its directory, the whole resolved configuration.

Planning writes it, training executes it in place, on any machine. Nothing composes it again, so an
edit of ``conf/`` cannot reach a run that waits in a queue. Imports no torch.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.config.compose import validate
from scaledrelu.config.digest import label_digest, pin_data_digest
from scaledrelu.config.identity import TRANSIENT, run_id
from scaledrelu.config.overrides import parse_overrides
from scaledrelu.errors import ConfigError, RunError
from scaledrelu.runs.damage import UNREADABLE, in_short, read_text
from scaledrelu.runs.record import run_directory

CONFIG_YAML = "config.yaml"
PLANNED_AS = "# planned as "
AGAIN = "the command that planned it (make table<N>) writes it anew"
OWN_DIGEST = re.compile(r"[0-9a-f]{16}")  # any other was given by a person
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class PlanWriter:
    """Writes the files of many runs; groups that they share are put into words once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[Any, str]] = {}

    def write(self, config: Mapping[str, Any], folder: Path, *, planned_as: str) -> None:
        """Write ``config.yaml``, unless it is there and says the same.

        Args:
            config: resolved and checked.
            folder: run directory.
            planned_as: what the run is, in the words of its table: the first line of the file.

        Raises:
            OSError: the folder cannot be written.
        """
        groups = "".join(self._group(key, value) for key, value in config.items())
        text = f"{PLANNED_AS}{' '.join(planned_as.split())}\n{groups}"
        path = folder / CONFIG_YAML
        if path.is_file() and path.read_bytes() == text.encode():
            return
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{CONFIG_YAML}.{os.getpid()}.tmp"
        temporary.write_text(text, encoding="utf-8")  # lost in a power cut, it is planned again
        temporary.replace(path)

    def _group(self, key: str, value: Any) -> str:
        if not isinstance(value, dict | list):
            return _text(key, value)
        place = (key, id(value))
        if place not in self._known:
            text = _text(key, value)
            self._known[place] = (
                value,
                text,
            )  # the value stays alive, so that its id stays its own
        return self._known[place][1]


def read_planned(
    results: str | Path, name: str, *, changes: Sequence[str] = (), conf_dir: Path | None = None
) -> dict[str, Any]:
    """Return the configuration of a planned run, checked as if it had just been composed.

    Args:
        results: folder that holds ``runs/<name>``; whatever the file says about it.
        name: run id.
        changes: ``key=value``: where and how fast it runs, and which modules it may name, which a
            stored configuration does not decide.
        conf_dir: the configuration tree.

    Raises:
        ConfigError: no such run, a change of what the run is, code that nobody trusts, or data that
            have changed since the run was planned.
        RunError: the file is damaged, or another run's.
    """
    path = run_directory(results, name) / CONFIG_YAML
    raw = _read(path, name, results)
    raw["trust"], raw["paths"] = [], {"results": "results"}
    for override in parse_overrides(changes):
        _change(raw, override.key_or_group, override.value(), override.input_line)
    from omegaconf import OmegaConf

    config = validate(OmegaConf.create(raw), conf_dir=conf_dir)
    config["paths"]["results"] = str(results)  # no text for OmegaConf: ${...} may be in its name
    if (found := run_id(config)) != name:
        raise RunError(
            f"{path}: describes {found}, not {name}: it was edited, or written by another version; "
            f"{AGAIN}"
        )
    _check_files(config)
    return config


def planned_as(folder: Path) -> str | None:
    """Return what a run is in the words of its table; None for one that a person composed."""
    try:
        with (folder / CONFIG_YAML).open(encoding="utf-8") as stream:
            first = stream.readline()
    except (OSError, UnicodeError):
        return None
    return first.removeprefix(PLANNED_AS).strip() if first.startswith(PLANNED_AS) else None


def _text(key: str, value: Any) -> str:
    return yaml.dump({key: value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def _read(path: Path, name: str, results: str | Path) -> dict[str, Any]:
    try:
        text = read_text(path, advice=AGAIN)
        if text is None:
            raise ConfigError(
                f"{path}: no such file: {name} is not planned in {results}; plan its table first "
                "(make table<N>), or give paths.results=<folder>"
            )
        raw = yaml.load(text, Loader=_Loader)
        return {**raw}
    except (yaml.YAMLError, *UNREADABLE) as error:
        raise RunError(f"{path}: damaged ({in_short(error)}); {AGAIN}") from error


def _change(raw: dict[str, Any], key: str, value: Any, typed: str) -> None:
    if not any(key == known or key.startswith(f"{known}.") for known in TRANSIENT):
        raise ConfigError(
            f"{typed}: with --run a run is trained as it was planned; only where and how fast may "
            "be given: paths.results, launch.<field>, wandb.<field>, data.root, init.path, trust"
        )
    *groups, leaf = key.split(".")
    if isinstance(raw.get(key), dict):
        raise ConfigError(f"{typed}: with --run give fields of {key}, e.g. launch.workers=4")
    place = raw
    for group in groups:
        place = place.get(group)
        if not isinstance(place, dict):
            raise ConfigError(f"{typed}: no such key; give a field, e.g. launch.workers=4")
    place[leaf] = value


def _check_files(config: dict[str, Any]) -> None:
    """Refuse data or label maps that are others than those the run was planned with.

    Raises:
        ConfigError: naming what changed.
    """
    data = config["data"]
    again = copy.deepcopy(config)
    again["data"]["digest"] = None
    if OWN_DIGEST.fullmatch(data["digest"] or "") and data["root"] is not None:
        pin_data_digest(again)
        _compare("data.root", data["root"], data["digest"], again["data"]["digest"])
    labels = data["token_labels_digest"] or ""
    if OWN_DIGEST.fullmatch(labels):
        _compare("data.token_labels", data["token_labels"], labels, label_digest(config))


def _compare(key: str, place: str, planned: str, found: str | None) -> None:
    if found not in (None, planned):
        raise ConfigError(
            f"{key}={place}: the files there have changed since the run was planned (digest "
            f"{found}, planned with {planned}): plan again, which makes other runs of it"
        )
