"""Composed configs for planning, cached: composing costs tenths of a second, reading a cache none.

The cache is keyed by the content of ``conf/`` and of ``scaledrelu/config/``, so that any edit
composes anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scaledrelu.config import compose as composition
from scaledrelu.runs.record import write_atomic


@dataclass(frozen=True, slots=True)
class Composed:
    """A resolved config and the option that each group took (``{"stem": "conv", ...}``)."""

    config: dict[str, Any]
    choices: dict[str, str]


class Compose(Protocol):
    """What planning needs: overrides in, a config out."""

    conf_dir: Path

    def __call__(self, overrides: Sequence[str]) -> Composed:
        """Return the composed config of an override list."""
        ...


class Composer:
    """Compose through Hydra once per override list and configuration tree."""

    def __init__(self, results: Path, *, conf_dir: Path | None = None) -> None:
        self.conf_dir = conf_dir or composition.CONF_DIR
        self._results = results
        self._path = results / ".cache" / f"composed-{_digest(self.conf_dir)}.json"
        self._known: dict[str, Any] = _read(self._path)
        self._fresh: dict[str, Composed] = {}
        self._digests: dict[tuple[str | None, ...], str | None] = {}
        self._dirty = False

    def __call__(self, overrides: Sequence[str]) -> Composed:
        """Return the composed config of an override list.

        Raises:
            ConfigError: one line, as the shell would say it.
        """
        overrides = sorted(overrides, key=lambda item: item.partition("=")[0])
        key = json.dumps(overrides)
        if key not in self._fresh:
            if key not in self._known:
                self._known[key] = _compose(overrides, self.conf_dir)
                self._dirty = True
            entry = self._known[key]
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

    def save(self) -> None:
        """Store what was composed anew and drop caches of other configuration trees."""
        if not self._dirty:
            return
        write_atomic(self._path, json.dumps(self._known))
        for old in self._path.parent.glob("composed-*.json"):
            if old != self._path:
                old.unlink(missing_ok=True)
        self._dirty = False


def _compose(overrides: Sequence[str], conf_dir: Path) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import open_dict
    from omegaconf.errors import OmegaConfBaseException

    composition.check_overrides(overrides, conf_dir)
    try:
        with initialize_config_dir(str(conf_dir), version_base="1.3"):
            composed = compose("train", overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise composition.ConfigError(composition.one_line(error)) from error
    choices = {key: value for key, value in composed.hydra.runtime.choices.items() if value}
    with open_dict(composed):
        del composed["hydra"]
    return {
        "config": composition.validate(composed, conf_dir=conf_dir),
        "choices": {k: str(v) for k, v in sorted(choices.items()) if not k.startswith("hydra/")},
    }


def _digest(conf_dir: Path) -> str:
    code_dir = Path(composition.__file__).parent
    files = [(conf_dir, path) for path in sorted(conf_dir.rglob("*.yaml"))]
    files += [(code_dir, path) for path in sorted(code_dir.glob("*.py"))]
    known = hashlib.sha256()
    for base, path in files:
        known.update(f"{path.relative_to(base)}\0".encode() + path.read_bytes() + b"\0")
    return known.hexdigest()[:12]


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
