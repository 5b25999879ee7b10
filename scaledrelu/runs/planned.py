"""A planned run is a file: ``config.yaml`` in its directory, the whole resolved configuration.

Planning writes it, training reads it, on any machine. Nothing composes it again, so an edit of
``conf/`` cannot reach a run that waits in a queue. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.config.digest import label_digest, pin_data_digest
from scaledrelu.config.group import parent_of
from scaledrelu.config.identity import is_transient, run_id
from scaledrelu.config.overrides import parse_overrides, refuse_profile_name
from scaledrelu.config.places import expand_places
from scaledrelu.config.run import PathsConfig, RunConfig
from scaledrelu.config.stored import CONFIG_YAML, Texts, from_stored, from_yaml, of_today, to_yaml
from scaledrelu.config.trust import check_targets
from scaledrelu.errors import ConfigError, RunError, ScaledReluError
from scaledrelu.files import write_changed
from scaledrelu.runs.damage import UNREADABLE, in_short, read_text
from scaledrelu.runs.record import run_directory

PLANNED_AS = "# planned as "
REPLAN = "plan it again with its table (make table<N>), which rewrites the file"
OWN_DIGEST = re.compile(r"[0-9a-f]{16}")  # any other was given by a person


class PlanWriter:
    """Writes the files of many runs; groups that they share are turned into text once."""

    def __init__(self) -> None:
        self._known: Texts = {}

    def write(self, config: RunConfig, folder: Path, *, planned_as: str = "") -> None:
        """Write ``config.yaml``, unless it already says the same.

        Args:
            config: the run's configuration.
            folder: run directory.
            planned_as: the run in the words of its table, for the first line of the file; empty
                for a run that a person composed.

        Raises:
            OSError: the folder is not writable.
        """
        first = f"{PLANNED_AS}{' '.join(planned_as.split())}\n" if planned_as else ""
        text = first + to_yaml(config, self._known)
        # A planned file that is lost in a power cut is written again by the next plan.
        write_changed(folder / CONFIG_YAML, text, durable=not planned_as)


def read_planned(results: str | Path, name: str, *, changes: Sequence[str] = ()) -> RunConfig:
    """Return the configuration of a planned run, checked as if it had just been composed.

    Args:
        results: folder that holds ``runs/<name>``, whatever the file says about it.
        name: run id.
        changes: ``key=value``: where and how fast it runs, and which modules it may name, which a
            stored configuration does not decide.

    Raises:
        ConfigError: no such run, a change of what the run is, untrusted code, or data that have
            changed since the run was planned.
        RunError: the file is damaged, or another run's.
    """
    path = run_directory(results, name) / CONFIG_YAML
    raw = of_today(_read(path, name, results))
    raw |= {"trust": [], "paths": {"results": "results"}}
    for override in parse_overrides(changes):
        if override.is_sweep_override():
            raise ConfigError(f"{override.input_line}: --run trains one run; give one value")
        _change(raw, override.key_or_group, override.value(), override.input_line)
    config = from_stored(expand_places(raw))
    if any(change.startswith("data.root=") for change in changes):
        config.data.refuse_root_without_effect()
    check_targets(raw, trust=config.trust)
    config = replace(config, paths=PathsConfig(results=str(results)))
    if (found := run_id(config)) != name:
        raise RunError(
            f"{path}: describes {found}, not {name} (edited, or written by another version); if "
            f"the folder was renamed, name it {found} again, else {REPLAN}"
        )
    _check_files(config)
    return config


def config_or_none(results: str | Path, name: str) -> RunConfig | None:
    """Return the configuration that a run was trained with; None without a file that tells it.

    For what only describes a run: neither the data nor the trusted modules are looked at.

    Args:
        results: folder that holds ``runs/<name>``.
        name: run id.
    """
    path = run_directory(results, name) / CONFIG_YAML
    try:
        config = from_stored(_read(path, name, results))
    except (ScaledReluError, *UNREADABLE):
        return None
    return config if run_id(config) == name else None


def planned_as(folder: Path) -> str | None:
    """Return the run in the words of its table; None for one that a person composed."""
    try:
        with (folder / CONFIG_YAML).open(encoding="utf-8") as stream:
            first = stream.readline()
    except (OSError, UnicodeError):
        return None
    return first.removeprefix(PLANNED_AS).strip() if first.startswith(PLANNED_AS) else None


def _read(path: Path, name: str, results: str | Path) -> dict[str, Any]:
    try:
        text = read_text(path, advice=REPLAN)
        if text is None:
            raise ConfigError(
                f"{path}: no such file; {name} is not planned in {results}: plan its table first "
                "(make table<N>), or give paths.results=<folder>"
            )
        return from_yaml(text)
    except (yaml.YAMLError, *UNREADABLE) as error:
        raise RunError(f"{path}: damaged ({in_short(error)}); {REPLAN}") from error


def _change(raw: dict[str, Any], key: str, value: Any, typed: str) -> None:
    refuse_profile_name(key, typed)
    if not is_transient(key):
        raise ConfigError(
            f"{typed}: cannot be changed, since --run trains a run as it was planned; allowed: "
            "paths.results, launch.<field>, wandb.<field>, data.root, init.path, trust"
        )
    if isinstance(raw.get(key), dict):
        raise ConfigError(
            f"{typed}: {key} is a group; give one of its fields, e.g. launch.workers=4"
        )
    place, leaf = parent_of(raw, key), key.rpartition(".")[2]
    if place is None or leaf not in place:
        raise ConfigError(f"{typed}: no such field; give a field, e.g. launch.workers=4")
    place[leaf] = value


def _check_files(config: RunConfig) -> None:
    """Refuse data or label maps other than those that the run was planned with.

    Raises:
        ConfigError: naming what changed.
    """
    data = config.data
    if OWN_DIGEST.fullmatch(data.digest or "") and data.root is not None:
        again = pin_data_digest(replace(config, data=replace(data, digest=None)), known={})
        _compare("data.root", data.root, data.digest, again.data.digest)
    labels = data.token_labels_digest or ""
    if OWN_DIGEST.fullmatch(labels):
        _compare("data.token_labels", data.token_labels, labels, label_digest(config, known={}))


def _compare(key: str, place: str, planned: str, found: str | None) -> None:
    if found not in (None, planned):
        raise ConfigError(
            f"{key}={place}: the files have changed since the run was planned (digest {found}, "
            f"planned with {planned}); restore them, or plan again, which makes a different run"
        )
