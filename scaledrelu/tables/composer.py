"""Composed configs for planning, cached: composing costs tenths of a second, reading a cache none.

Override lists that choose the same options and differ in values only share one Hydra composition.
The cache is keyed by the content of ``conf/`` and of ``scaledrelu/config/``, so that any edit
composes anew.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scaledrelu.config import compose as composition
from scaledrelu.config.digest import Known
from scaledrelu.files import write_atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Composed:
    """A resolved config and the option that each group took (``{"stem": "conv", ...}``)."""

    config: dict[str, Any]
    choices: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Choice:
    """What Hydra made of the options alone."""

    config: Any  # DictConfig
    choices: dict[str, str]


class Compose(Protocol):
    """What planning needs: overrides in, a config out."""

    conf_dir: Path

    def __call__(self, overrides: Sequence[str]) -> Composed:
        """Return the composed config of an override list."""
        ...

    def unpinned(self, overrides: Sequence[str]) -> Composed:
        """Return the same without a look at any file: the digests of data and weights are null."""
        ...


class Composer:
    """Compose once per override list and configuration tree."""

    def __init__(self, results: Path, *, conf_dir: Path | None = None) -> None:
        self.conf_dir = conf_dir or composition.CONF_DIR
        self._results = results
        self._path = results / ".cache" / f"composed-{_digest(self.conf_dir)}.json"
        self._known: dict[str, Any] = _read(self._path)
        self._fresh: dict[str, Composed] = {}
        self._shared: dict[tuple[str, ...], _Choice] = {}
        self._digests: Known = {}
        self._dirty = False

    def __call__(self, overrides: Sequence[str]) -> Composed:
        """Return the composed config of an override list.

        Raises:
            ConfigError: one line, as the shell would say it.
        """
        key, entry = self._entry(overrides)
        if key not in self._fresh:
            config = {**entry["config"]} | {k: dict(entry["config"][k]) for k in ("data", "init")}
            config["paths"] = {**config["paths"], "results": str(self._results)}
            # Never stored with the config: the files may have changed since.
            composition.pin_files(
                config,
                self.conf_dir,
                lambda teacher: self(teacher).config,
                known=self._digests,
            )
            self._fresh[key] = Composed(config, entry["choices"])
        return self._fresh[key]

    def unpinned(self, overrides: Sequence[str]) -> Composed:
        """Return the same without a look at any file: the digests of data and weights are null."""
        _, entry = self._entry(overrides)
        return Composed(entry["config"], entry["choices"])

    def _entry(self, overrides: Sequence[str]) -> tuple[str, dict[str, Any]]:
        overrides = sorted(overrides, key=lambda item: item.partition("=")[0])
        key = json.dumps(overrides)
        if key not in self._known:
            self._known[key] = _compose(overrides, self.conf_dir, self._shared)
            self._dirty = True
        return key, self._known[key]

    def save(self) -> None:
        """Store what was composed anew and drop caches of other configuration trees.

        A cache that cannot be written, in a read-only or full folder, costs time and nothing else.
        """
        if not self._dirty:
            return
        text = json.dumps(self._known)
        try:
            write_atomic(self._path, f"{_checksum(text)}\n{text}")
            for old in self._path.parent.glob("composed-*.json"):
                if old != self._path:
                    old.unlink(missing_ok=True)
        except OSError as error:  # it costs time, not correctness
            log.warning("%s: composed configs not cached (%s)", self._path, error.strerror)
        self._dirty = False


def _compose(
    overrides: Sequence[str], conf_dir: Path, shared: dict[tuple[str, ...], _Choice]
) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    composition.check_overrides(overrides, conf_dir)
    choosing, values = _split(overrides)
    if choosing not in shared:
        shared[choosing] = _choose(choosing, conf_dir)
    config = copy.deepcopy(shared[choosing].config)
    for key, value in values:
        try:
            OmegaConf.update(config, key, value, merge=True)
        except OmegaConfBaseException as error:
            raise composition.ConfigError(composition.one_line(error)) from error
    return {
        "config": composition.validate(config, conf_dir=conf_dir),
        "choices": shared[choosing].choices,
    }


def _choose(overrides: Sequence[str], conf_dir: Path) -> _Choice:
    """Let Hydra compose a tree that is neither checked nor resolved yet."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import open_dict
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(conf_dir), version_base="1.3"):
            composed = compose("train", overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise composition.ConfigError(composition.one_line(error)) from error
    composition.check_specialisations(composed.hydra.runtime)
    choices = {key: value for key, value in composed.hydra.runtime.choices.items() if value}
    with open_dict(composed):
        del composed["hydra"]
    choices = {k: str(v) for k, v in sorted(choices.items()) if not k.startswith("hydra/")}
    return _Choice(composed, choices)


def _split(overrides: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, Any]]]:
    """Part what Hydra has to see from plain values, which are set after it as it would set them."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType

    choosing, values = [], []
    for text in overrides:
        override = OverridesParser.create().parse_override(text)
        key = override.key_or_group
        plain = override.type is OverrideType.CHANGE and not override.is_sweep_override()
        if plain and "." in key and not key.startswith("hydra.") and override.package is None:
            values.append((key, override.value()))
        else:
            choosing.append(text)
    return tuple(choosing), values


def _digest(conf_dir: Path) -> str:
    code_dir = Path(composition.__file__).parent
    files = [(conf_dir, path) for path in sorted(conf_dir.rglob("*.yaml"))]
    files += [(code_dir, path) for path in sorted(code_dir.glob("*.py"))]
    known = hashlib.sha256()
    for base, path in files:
        known.update(f"{path.relative_to(base)}\0".encode() + path.read_bytes() + b"\0")
    return known.hexdigest()[:12]


def _read(path: Path) -> dict[str, Any]:
    """Return what was stored; nothing if a byte of it is not what was written."""
    try:
        checksum, _, text = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, ValueError):
        return {}
    return json.loads(text) if checksum == _checksum(text) else {}


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
