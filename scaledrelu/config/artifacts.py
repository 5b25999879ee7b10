"""File trees that a command makes before a run can start: what they are called and made from.

An artifact's id is a function of how it is made, so that a plan can name it, and the runs that
need it, before it exists. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scaledrelu.config.data import MADE, UNLABELLED
from scaledrelu.config.digest import Known, label_digest
from scaledrelu.config.group import folder_name
from scaledrelu.config.identity import run_id
from scaledrelu.config.openers import opener_of
from scaledrelu.config.overrides import quoted
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig
from scaledrelu.config.yaml_file import read_yaml
from scaledrelu.errors import ConfigError, DataError

ComposeFunction = Callable[[Sequence[str]], RunConfig]

MANIFEST = "artifact.json"  # written last: its existence is "done"
SAME_IMAGES = ("name", "digest", "image_size", "num_classes", "fraction", "fraction_seed")
VERSION = 1  # raise it when the code changes what a making of label maps means
MINI_DATA_VERSION = 1  # raise it when the code changes an image or a name of generated data


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file tree to make: its id, the script, and the run whose result it is made from, if any."""

    artifact_id: str
    script: str
    options: tuple[str, ...] = ()  # of the script; where it writes is added
    teacher: tuple[str, ...] = ()  # overrides, the profile left out
    teacher_id: str | None = None

    @property
    def upstream(self) -> tuple[str, ...]:
        """The runs that must have finished before it is made."""
        return () if self.teacher_id is None else (self.teacher_id,)

    def arguments(self, results: Path) -> list[str]:
        """Return what the script is called with."""
        if self.teacher_id is None:
            return [*self.options, "--out", str(artifact_directory(results, self.artifact_id))]
        place = ["--results", str(results), "--artifact-id", self.artifact_id]
        return ["--run", self.teacher_id, *place, *self.options]


def artifacts_root(results: str | Path) -> Path:
    """Return the folder that holds every artifact."""
    return Path(results) / "artifacts"


def artifact_directory(results: str | Path, artifact_id: str) -> Path:
    """Return ``<results>/artifacts/<id>``.

    Args:
        results: results folder.
        artifact_id: the artifact's id, e.g. ``labels-0123456789ab``.

    Raises:
        ConfigError: if the id is not a plain name.
    """
    return artifacts_root(results) / folder_name(artifact_id, what="artifact id")


def pin_label_digest(
    config: RunConfig, conf_dir: Path, compose: ComposeFunction, *, known: Known
) -> RunConfig:
    """Fill in ``data.token_labels_digest``: the artifact's id, or a digest of the folder's maps.

    A digest that is set already is kept: it names maps that this machine cannot see.

    Args:
        config: a run's configuration without the digest of its label maps.
        conf_dir: the configuration tree.
        compose: overrides -> configuration, for the teacher of ``data.token_labels=made``.
        known: digests found so far, by what they are of; filled in, so that a plan of many runs
            reads every file once.
    """
    data = config.data
    if not data.has_labels or data.token_labels_digest is not None:
        return config
    if data.token_labels == MADE:
        digest = label_artifact(config, conf_dir, compose).artifact_id
    else:
        digest = label_digest(config, known=known)
    return replace(config, data=replace(data, token_labels_digest=digest))


def label_artifact(config: RunConfig, conf_dir: Path, compose: ComposeFunction) -> Artifact:
    """Return the label maps that a run with ``data.token_labels=made`` learns from.

    Args:
        config: the run's configuration.
        conf_dir: the configuration tree.
        compose: overrides -> configuration, for the teacher.

    Raises:
        ConfigError: if the teacher was trained on other images than the run, or the file of the
            artifact is damaged.
    """
    making = _making(conf_dir / "artifact" / "token_labels.yaml", "teacher")
    teacher = _teacher(config, making["teacher"], compose)
    for name in SAME_IMAGES:
        mine, its = getattr(config.data, name), getattr(teacher.data, name)
        if mine != its:
            raise ConfigError(
                f"data.{name}={mine}: with data.token_labels=made the teacher must use the same "
                f"images, but it has data.{name}={its}; make the label maps with "
                f"{making['script']} and set data.token_labels=<folder>, or set {UNLABELLED}"
            )
    teacher_id = run_id(teacher)
    return Artifact(
        named_by("labels", kind="token_labels", teacher=teacher_id, version=VERSION),
        making["script"],
        options=tuple(f"--trust={module}" for module in config.trust),
        teacher=tuple(making["teacher"]),
        teacher_id=teacher_id,
    )


def data_artifact(config: RunConfig, conf_dir: Path) -> Artifact:
    """Return the generated data set of a run with ``data.root=made``; its id begins with its name.

    Args:
        config: the run's configuration.
        conf_dir: the configuration tree.

    Raises:
        ConfigError: if there is no ``conf/artifact/<data.name>.yaml``, or it is damaged.
    """
    name = folder_name(config.data.name, what="data.name")
    path = conf_dir / "artifact" / f"{name}.yaml"
    if not path.exists():
        raise ConfigError(
            f"data.root=made: no script generates {name} (no conf/artifact/{name}.yaml); set "
            "data.root to the folder of the data set"
        )
    making = _making(path, "options")
    options = tuple(str(option) for option in making["options"])
    artifact_id = named_by("data", kind=name, options=options, version=MINI_DATA_VERSION)
    return Artifact(artifact_id, making["script"], options)


def pin_made_data(config: RunConfig, conf_dir: Path) -> RunConfig:
    """Fill in ``data.digest`` of ``data.root=made``: the artifact's id.

    Args:
        config: a run's configuration without the digest of its data.
        conf_dir: the configuration tree.
    """
    data = config.data
    if data.root != MADE or data.digest is not None:
        return config
    digest = data_artifact(config, conf_dir).artifact_id
    return replace(config, data=replace(data, digest=digest))


def data_root(config: RunConfig) -> str | None:
    """Return the folder of a run's data set.

    Raises:
        DataError: if it is an artifact that has not been made yet.
    """
    if config.data.root != MADE:
        return config.data.root
    making = data_artifact(config, CONF_DIR)
    command = shlex.join(["python", making.script, *making.arguments(Path(config.paths.results))])
    opener = opener_of(config.data.build)
    layout = f" {opener.layout}" if opener is not None and opener.layout else ""
    what = (
        f"data.root=made, but the data set has not been generated; run `{command}`, or set "
        f"data.root to a folder of your own{layout}"
    )
    return str(_made_folder(config, config.data.digest, what))


def label_folder(config: RunConfig) -> Path:
    """Return the folder that holds the label maps of a run.

    Raises:
        DataError: if they are an artifact that has not been made yet.
    """
    data = config.data
    if data.token_labels != MADE:
        return Path(data.token_labels)
    what = (
        "data.token_labels=made, but the label maps have not been made; run `python "
        "scripts/sweep.py tables=[<table of this run>]`, which trains their teacher and makes "
        f"them, or set {UNLABELLED}"
    )
    return _made_folder(config, data.token_labels_digest, what)


def _making(path: Path, listed: str) -> dict[str, Any]:
    """Return how an artifact is made: ``script``, and a list under one more key."""
    raw = read_yaml(path, str(path))
    whole = isinstance(raw, dict) and raw.keys() == {"script", listed}
    if not whole or not isinstance(raw["script"], str) or not isinstance(raw[listed], list):
        raise ConfigError(
            f"{path}: must hold script: <file> and {listed}: [...], and nothing else; restore it, "
            f"e.g. git checkout {path}"
        )
    return raw


def named_by(prefix: str, **facts: Any) -> str:
    """Return the id of an artifact: a prefix and a hash of how it is made.

    Args:
        prefix: its kind in short.
        facts: how it is made; their order counts.
    """
    return f"{prefix}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]}"


def _made_folder(config: RunConfig, artifact_id: str | None, missing: str) -> Path:
    folder = artifact_directory(config.paths.results, str(artifact_id))
    if not (folder / MANIFEST).exists():
        raise DataError(f"{folder}: {missing}")
    return folder


def _teacher(config: RunConfig, options: Sequence[str], compose: ComposeFunction) -> RunConfig:
    """Return the teacher at the run's profile, on the images in the run's folder if it can be."""
    options, root = (*options, f"profile={config.profile.name}"), config.data.root
    if root is None:
        return compose(options)
    try:
        return compose((*options, f"data.root={quoted(root)}"))
    except ConfigError:
        teacher = compose(options)
        if teacher.data.name == config.data.name:
            raise
        return teacher  # of other images, which have no folder
