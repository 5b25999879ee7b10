"""Composed configurations for planning, cached between commands.

The cache is keyed by the content of ``conf/`` and of ``scaledrelu/config/``, so that any edit
composes anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from scaledrelu.config import compose as composition
from scaledrelu.config.combinations import check_combination
from scaledrelu.config.digest import Known
from scaledrelu.config.hydra_tree import Trees, split_overrides, tree_digest
from scaledrelu.config.overrides import check_overrides
from scaledrelu.config.run import PathsConfig, RunConfig
from scaledrelu.files import write_atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Composed:
    """A configuration and the option that each group took (``{"stem": "conv", ...}``)."""

    config: RunConfig
    choices: dict[str, str]


class Compose(Protocol):
    """What planning needs: a function from overrides to a configuration."""

    conf_dir: Path

    def __call__(self, overrides: Sequence[str]) -> Composed:
        """Return the composed config of an override list."""
        ...

    def unpinned(self, overrides: Sequence[str]) -> Composed:
        """Return the same without reading any file: the digests of data and weights are null."""
        ...

    def save(self) -> None:
        """Keep what was composed for the next command."""
        ...


class Composer:
    """Compose once per override list and configuration tree.

    Args:
        results: folder that holds ``runs/``; the cache lies in it.
        conf_dir: the configuration tree; the repository's by default.
        trust: modules whose code the runs may name, see ``config.trust``; noted in every
            configuration and checked where runs are trained: a plan itself calls no such code.
    """

    def __init__(
        self, results: Path, *, conf_dir: Path | None = None, trust: Sequence[str] = ()
    ) -> None:
        self.conf_dir = conf_dir or composition.CONF_DIR
        self._results = results
        self._trust = {"trust": list(trust)} if trust else {}
        self._path = results / ".cache" / f"composed-{_digest(self.conf_dir)}.json"
        self._stored: dict[str, Any] = _read(self._path)
        self._trees = Trees(self.conf_dir)
        self._unpinned: dict[str, Composed] = {}
        self._pinned: dict[str, Composed] = {}
        self._digests: Known = {}
        self._dirty = False

    def __call__(self, overrides: Sequence[str]) -> Composed:
        """Return the composed config of an override list.

        Raises:
            ConfigError: one line, the same as in the shell.
        """
        key, found = self._find(overrides)
        if key not in self._pinned:
            config = replace(found.config, paths=PathsConfig(results=str(self._results)))
            # Not stored with the config: the files may have changed since.
            pinned = composition.pin_files(
                config,
                self.conf_dir,
                lambda teacher: self(teacher).config,
                known=self._digests,
                recorded=True,  # a plan is also made where results are only read
            )
            self._pinned[key] = replace(found, config=pinned)
        return self._pinned[key]

    def unpinned(self, overrides: Sequence[str]) -> Composed:
        """Return the same without reading any file: the digests of data and weights are null."""
        return self._find(overrides)[1]

    def _find(self, overrides: Sequence[str]) -> tuple[str, Composed]:
        overrides = sorted(overrides, key=lambda item: item.partition("=")[0])
        key = json.dumps(overrides)
        if key not in self._unpinned:
            if key not in self._stored:
                self._stored[key] = self._compose(overrides)
                self._dirty = True
            entry = self._stored[key]
            values = entry["values"] | self._trust
            config = composition.from_values(values, conf_dir=self.conf_dir, will_run=False)
            check_combination(config)
            self._unpinned[key] = Composed(config, entry["choices"])
        return key, self._unpinned[key]

    def _compose(self, overrides: Sequence[str]) -> dict[str, Any]:
        check_overrides(overrides, self.conf_dir)
        choosing, values = split_overrides(overrides)
        tree = self._trees(choosing)
        return {"values": tree.resolved(values), "choices": tree.choices}

    def save(self) -> None:
        """Store what was composed anew and drop caches of other configuration trees.

        A read-only or full folder costs time, not correctness; what has to be written there says
        what is wrong.
        """
        if not self._dirty:
            return
        text = json.dumps(self._stored)
        try:
            write_atomic(self._path, f"{_checksum(text)}\n{text}")
            for old in self._path.parent.glob("composed-*.json"):
                if old != self._path:
                    old.unlink(missing_ok=True)
        except OSError as error:
            log.info("%s: composed configs not cached (%s)", self._path, error.strerror)
        self._dirty = False


def _digest(conf_dir: Path) -> str:
    known = hashlib.sha256(tree_digest(conf_dir).encode())
    for path in sorted(Path(composition.__file__).parent.glob("*.py")):
        known.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return known.hexdigest()[:12]


def _read(path: Path) -> dict[str, Any]:
    """Return what was stored; nothing if any byte has changed."""
    try:
        checksum, _, text = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, ValueError):
        return {}
    return json.loads(text) if checksum == _checksum(text) else {}


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
