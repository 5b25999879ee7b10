"""Digests of files that this machine does not have, from runs on disk that were trained on them.

Results are also read where the images are not: on a laptop, on a login node. What a run is called
there rests on the digest of its files all the same. For plans and reports alone: a run that is
about to be trained on files that are missing has no name, and is refused.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.config.digest import Known
from scaledrelu.config.identity import canonical
from scaledrelu.config.places import CONFIG, runs_root
from scaledrelu.config.run import RunConfig
from scaledrelu.config.stored import CONFIG_YAML, from_yaml

log = logging.getLogger(__name__)

# Any two folders have this name: of images that lay elsewhere nothing says that they are the same.
# The others name one data set, which lies in another place on every machine.
WITHOUT_A_NAME = "imagefolder"

Science = Mapping[str, Any]  # of a config.json; where its images lay, too, if that may count


def pin_recorded_files(config: RunConfig, *, known: Known) -> RunConfig:
    """Fill in ``data.digest`` and ``init.sha256`` where their files are missing and runs tell them.

    Args:
        config: a run's configuration with the digests of the files that are here.
        known: digests found so far, by what they are of; filled in.
    """
    data, init = config.data, config.init
    if data.digest is None and _is_missing(data.root):
        what = ("data.root", data.root, data.name, repr(sorted(data.build.items(), key=str)))
        digest = _recorded(config, "data.digest", what, _same_images, known)
        config = replace(config, data=replace(data, digest=digest))
    if init.kind == "checkpoint" and init.sha256 is None and _is_missing(init.path):
        what = ("init.path", init.path, repr(config.stem), repr(config.model))
        digest = _recorded(config, "init.sha256", what, _same_start, known)
        config = replace(config, init=replace(init, sha256=digest))
    return config


def pin_recorded_labels(config: RunConfig, *, known: Known) -> RunConfig:
    """Fill in ``data.token_labels_digest`` where the folder is missing and runs tell it.

    Args:
        config: a run's configuration with the digest of its images.
        known: digests found so far, by what they are of; filled in.
    """
    data = config.data
    if not data.has_labels or data.token_labels_digest or not _is_missing(data.token_labels):
        return config
    what = ("data.token_labels", data.token_labels, str(data.digest))
    digest = _recorded(config, "data.token_labels_digest", what, _same_labels, known)
    return replace(config, data=replace(data, token_labels_digest=digest))


def _recorded(
    config: RunConfig,
    key: str,
    what: tuple[str, ...],
    is_alike: Callable[[Science, Science], bool],
    known: Known,
) -> str | None:
    """Return the digest that runs alike were trained with, if it is one; say so once.

    Args:
        config: the configuration that lacks it.
        key: where it stands in a configuration.
        what: key and value of the place that is missing, and all else that decides.
        is_alike: (science of a run, that of this configuration) -> whether they share the files.
        known: digests found so far.
    """
    if what in known:
        return known[what]
    group, field = key.split(".")
    runs, science = runs_root(config.paths.results), canonical(config)
    science["data"]["root"] = _place(config.data.root)
    found = {one[group].get(field) for one in _sciences(runs) if is_alike(one, science)} - {None}
    known[what] = found.pop() if len(found) == 1 else None
    if known[what] is not None:
        _say(
            f"{what[0]}={what[1]}: not on this machine; taken for what the runs in {runs} were "
            f"trained with (digest {known[what]})"
        )
    elif found:
        _say(
            f"{what[0]}={what[1]}: not on this machine, and the runs in {runs} were trained with "
            f"different files; set {key} to one of {', '.join(sorted(found))}"
        )
    return known[what]


@cache
def _say(message: str) -> None:
    """Log a line once, however many plans a command makes."""
    log.warning("%s", message)


def _same_images(one: Science, other: Science) -> bool:
    place = ("root",) if other["data"]["name"] == WITHOUT_A_NAME else ()
    keys = ("name", "build", *place)
    return all(one["data"].get(key) == other["data"].get(key) for key in keys)


def _same_labels(one: Science, other: Science) -> bool:
    keys = ("name", "build", "digest", "token_labels")
    by_a_run_of_ours = str(one["data"].get("token_labels_digest")).startswith("labels-")
    return not by_a_run_of_ours and all(one["data"].get(k) == other["data"].get(k) for k in keys)


def _same_start(one: Science, other: Science) -> bool:
    same_network = all(one[group] == other[group] for group in ("stem", "model"))
    return same_network and {**one["init"], "sha256": None} == {**other["init"], "sha256": None}


def _is_missing(place: str | None) -> bool:
    return place is not None and not os.path.exists(place)


def _sciences(runs: Path) -> tuple[Science, ...]:
    try:
        return _read(runs, runs.stat().st_mtime_ns)
    except OSError:
        return ()


@lru_cache(maxsize=2)
def _read(runs: Path, _: int) -> tuple[Science, ...]:
    """Return what was trained in every run of a folder that has not changed since."""
    found = (_science(path) for path in sorted(runs.glob(f"[!.]*/{CONFIG}")))
    return tuple(science for science in found if science is not None)


def _science(path: Path) -> Science | None:
    """Return a run's science; None if the file is damaged, which reports say by themselves."""
    try:
        science = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    groups = ("data", "init", "stem", "model")
    if not isinstance(science, dict) or not all(isinstance(science.get(g), dict) for g in groups):
        return None
    if science["data"].get("name") == WITHOUT_A_NAME:
        science["data"]["root"] = _stored_place(path.with_name(CONFIG_YAML))
    return science


def _stored_place(path: Path) -> str | None:
    """Return where the images of a run lay when it was trained; None if no file says it."""
    try:
        return _place(from_yaml(path.read_text(encoding="utf-8"))["data"]["root"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return None


def _place(root: str | None) -> str | None:
    return root and os.path.normpath(root)
