"""What Hydra composes from ``conf/``: a tree that is neither checked nor resolved yet.

Hydra takes a sixth of a second. So a tree is kept as plain values, into which single values are set
as Hydra would set them; and the options of groups that nothing else depends on are composed once
each and put into what Hydra made without them (`Trees`).
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from scaledrelu.config.group import TARGET, fields_of, parent_of
from scaledrelu.config.overrides import parse_overrides, schema_group
from scaledrelu.config.yaml_file import read_yaml, yaml_line
from scaledrelu.errors import ConfigError, nearest

FULL_SIZE = "paper"  # the profile that changes nothing
UNSAID = "unsaid"  # of the group ``sizes``, in train.yaml
SPECIALISED = ("recipe", "model", "data")  # groups whose options every other profile has a file for
BY_OPTIMIZER = "profile_optimizer"  # holds the radius of SAM at a profile
APART = ("stem", "ffn", "init")  # groups that no defaults list of conf/ chooses or asks about


@dataclass(frozen=True, slots=True)
class Tree:
    """A composed tree.

    Attributes:
        values: plain dictionaries and lists; interpolations stand as they are written.
        choices: the option that each group took, e.g. ``{"stem": "conv"}``.
    """

    values: dict[str, Any]
    choices: dict[str, str]

    def resolved(self, changes: Sequence[tuple[str, Any]] = ()) -> dict[str, Any]:
        """Return plain values with some changed, everything resolved.

        Args:
            changes: (dotted key, value), set as Hydra sets ``key=value``.

        Raises:
            ConfigError: a key that is not there, an interpolation that leads nowhere, or ``???``.
        """
        values = copy.deepcopy(self.values)
        if all(_set(values, key, value) for key, value in changes) and _is_plain(values):
            return values
        config = OmegaConf.create(self.values, flags={"struct": True})
        try:
            with places_in_lists([key for key, _ in changes]):
                for key, value in changes:
                    OmegaConf.update(config, key, value, merge=True)
            return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            raise ConfigError(one_line(error)) from error


class Trees:
    """Trees of one configuration folder, each composed once.

    Args:
        conf_dir: holds ``train.yaml`` and the groups.
    """

    def __init__(self, conf_dir: Path) -> None:
        self._conf_dir = conf_dir
        self._known: dict[tuple[str, ...], Tree] = {}
        self._options: dict[str, dict[str, Any] | None] = {}

    def __call__(self, overrides: Sequence[str]) -> Tree:
        """Return the tree of some overrides.

        Options of the groups ``APART`` are put into what Hydra composes without them, since a
        table's rows differ in them most: a plan of all tables takes 45 compositions and 5.4 s so,
        and 130 and 17.0 s without.

        Raises:
            ConfigError: one line, as the shell would say it.
        """
        apart = [text for text in overrides if text.partition("=")[0] in APART]
        others = [text for text in overrides if text not in apart]
        # Of two options of one group Hydra takes the last.
        apart = list({text.partition("=")[0]: text for text in apart}.values())
        options = {text.replace("=", "/", 1): self._option(text) for text in apart}
        if not apart or None in options.values():
            return self._tree(tuple(overrides))
        groups = [text.partition("=")[0] for text in apart]
        try:
            frame = self._tree((*others, *(f"~{group}" for group in groups)))
        except ConfigError:  # some file wants one of these groups to be there
            return self._tree(tuple(overrides))
        values = dict(frame.values)
        for group, option in zip(groups, options.values(), strict=True):
            own = OmegaConf.create(option)
            over = values.get(group)
            merged = own if over is None else OmegaConf.merge(own, over)
            values[group] = OmegaConf.to_container(merged)
        chosen = dict(text.split("=", 1) for text in apart)
        return Tree(values, dict(sorted({**frame.choices, **chosen}.items())))

    def _tree(self, overrides: tuple[str, ...]) -> Tree:
        if overrides not in self._known:
            self._known[overrides] = compose_tree(overrides, self._conf_dir)
        return self._known[overrides]

    def _option(self, text: str) -> dict[str, Any] | None:
        """Return what an option alone puts into its group; None if it reaches beyond that."""
        if text not in self._options:
            group, _, option = text.partition("=")
            try:
                with _own_hydra(self._conf_dir):
                    alone = _compose(f"{group}/{option}", ())
            except ConfigError:  # no single option: the whole composition says what is wrong
                alone = DictConfig({})
            parts = {key for key in alone if key != "hydra"}
            self._options[text] = OmegaConf.to_container(alone[group]) if parts == {group} else None
        return self._options[text]


def compose_tree(overrides: Sequence[str], conf_dir: Path) -> Tree:
    """Let Hydra compose ``train.yaml`` with overrides.

    Args:
        overrides: Hydra overrides, already checked by ``config.overrides``.
        conf_dir: the configuration tree.

    Raises:
        ConfigError: one line naming the key, the value and what is allowed.
    """
    with _own_hydra(conf_dir):
        composed = _compose("train", overrides)
    check_specialisations(composed.hydra.runtime)
    choices = {
        group: str(option)
        for group, option in sorted(composed.hydra.runtime.choices.items())
        if option and not group.startswith("hydra/")
    }
    with open_dict(composed):
        del composed["hydra"]
    return Tree(OmegaConf.to_container(composed), choices)


def split_overrides(overrides: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, Any]]]:
    """Separate what Hydra has to see from plain values, which are set afterwards as Hydra would."""
    from hydra.core.override_parser.types import OverrideType

    choosing, values = [], []
    for text, override in zip(overrides, parse_overrides(overrides), strict=True):
        key = override.key_or_group
        plain = override.type is OverrideType.CHANGE and not override.is_sweep_override()
        if plain and "." in key and not key.startswith("hydra.") and override.package is None:
            values.append((key, override.value()))
        else:
            choosing.append(text)
    return tuple(choosing), values


def is_order_free(choosing: Sequence[str], values: Sequence[tuple[str, Any]]) -> bool:
    """Say whether values set after everything else are what Hydra would set in the order typed.

    Args:
        choosing: what :func:`split_overrides` leaves to Hydra.
        values: what it sets afterwards.
    """
    from hydra.core.override_parser.types import OverrideType

    found = parse_overrides(choosing)
    if any(one.type is not OverrideType.CHANGE for one in found):
        return False
    whole = {one.key_or_group for one in found if not isinstance(one.value(), str)}
    return not any(key.split(".")[0] in whole for key, _ in values)


def tree_digest(conf_dir: Path) -> str:
    """Return a digest of every file of a configuration folder."""
    known = hashlib.sha256()
    for path in sorted(conf_dir.rglob("*.yaml")):
        known.update(f"{path.relative_to(conf_dir)}\0".encode() + path.read_bytes() + b"\0")
    return known.hexdigest()


def check_specialisations(runtime: DictConfig) -> None:
    """Refuse a profile without a file for the chosen recipe, model or data set.

    Without its file the option would silently compose at the size of the paper; SAM around another
    optimizer than the paper's with the radius of the paper.

    Args:
        runtime: ``hydra.runtime`` of a composed configuration: its choices and search path.

    Raises:
        ConfigError: one line that names the files to add.
    """
    choices = runtime.choices
    profile, sizes = choices.get("profile"), choices.get("sizes")
    if profile is None or sizes == FULL_SIZE:
        return
    if sizes == UNSAID:
        raise ConfigError(
            f"profile={profile}: does not say which sizes it uses; add `- override /sizes: "
            f"{profile}` to the defaults of conf/profile/{profile}.yaml, or name another profile "
            "there to share its files"
        )
    folders = [Path(source.path) for source in runtime.config_sources if source.schema == "file"]
    needed = {
        f"profile_{group}/{sizes}_{choices[group]}.yaml": f"{group}={choices[group]}"
        for group in SPECIALISED
        if choices.get(group)
    }
    lacking = [file for file in needed if not any((path / file).is_file() for path in folders)]
    if lacking:
        raise ConfigError(
            f"profile={profile}: has no sizes for "
            f"{', '.join(needed[file] for file in lacking)}; add "
            f"{', '.join(f'conf/{file}' for file in lacking)} (the files beside it are examples), "
            f"or choose profile={FULL_SIZE}"
        )
    _check_radius(str(choices.get("optimizer")), str(sizes), profile, folders)


def _check_radius(optimizer: str, sizes: str, profile: str, folders: Sequence[Path]) -> None:
    """Refuse an optimizer with SAM that lacks the radius which sizes give to others with SAM.

    Raises:
        ConfigError: one line that names the file to add.
    """
    given = [path for folder in folders for path in folder.glob(f"{BY_OPTIMIZER}/{sizes}_*.yaml")]
    file = f"{BY_OPTIMIZER}/{sizes}_{optimizer}.yaml"
    is_there = any(path.name == Path(file).name for path in given)
    if given and not is_there and _has_sam(optimizer, folders):
        raise ConfigError(
            f"profile={profile}: has no radius of SAM for optimizer={optimizer}; add conf/{file} "
            f"({given[0].name} beside it is an example), or choose profile={FULL_SIZE}"
        )


def _has_sam(optimizer: str, folders: Sequence[Path]) -> bool:
    """Say whether an option of ``optimizer`` sets ``sam``, itself or in what it builds on."""
    paths = (folder / "optimizer" / f"{optimizer}.yaml" for folder in folders)
    path = next((path for path in paths if path.is_file()), None)
    raw = {} if path is None else read_yaml(path, str(path)) or {}
    if "sam" in raw:
        return raw["sam"] is not None
    names = [name for name in raw.get("defaults", []) if isinstance(name, str) and name != "_self_"]
    return any(_has_sam(name, folders) for name in reversed(names))


def one_line(error: Exception) -> str:
    """Return a library's error message as one line without its type table."""
    reason = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(reason, ConfigAttributeError | ConfigKeyError) and reason.full_key:
        return _no_such_key(reason, str(error))
    texts = [str(error)]
    if isinstance(error.__cause__, OmegaConfBaseException) and str(error.__cause__) not in texts[0]:
        texts.append(str(error.__cause__))  # Hydra names the override, OmegaConf the reason
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    keep = [line for line in lines if not line.startswith(("reference_type", "object_type"))]
    return "; ".join(keep).rstrip(".") + "; see conf/ for what is allowed, or run with --cfg job"


def _no_such_key(error: OmegaConfBaseException, said: str) -> str:
    """Return that a dictionary has no such key, in the words of ``config.overrides``.

    Args:
        error: OmegaConf's reason.
        said: what Hydra made of it; after the shell it names the override that adds a key.
    """
    place, _, key = error.full_key.rpartition(".")
    known = list(error.parent_node) if isinstance(error.parent_node, DictConfig) else []
    if not known:
        return f"{place}: has no key '{key}', since it is {_not_a_dictionary(place, key)}"
    add = re.search(r"use (\+.+)$", said, re.MULTILINE)
    adding = f"to add an argument use {add[1]}" if add else f"to add an argument set all of {place}"
    near = nearest(key, known)
    return f"{place}: no such key '{key}'{near}; allowed: {', '.join(known)}; {adding}"


def _compose(name: str, overrides: Sequence[str]) -> DictConfig:
    from hydra import compose
    from hydra.errors import HydraException

    try:
        with places_in_lists(overrides):
            return compose(name, overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error
    except yaml.YAMLError as error:
        raise ConfigError(yaml_line(error)) from error


def _not_a_dictionary(place: str, key: str) -> str:
    group = schema_group(place)
    if group is None:
        whole = f"{place}={{{TARGET}: <class>, {key}: <value>}}"
        return f"not a dictionary; set all of it, e.g. {whole}"
    whole = ", ".join(f"{one.name}: <value>" for one in fields_of(group))
    outer = place.rpartition(".")[0]
    option = f", or choose an option of {outer} that has it" if outer else ""
    return f"null here; set all of it: {place}={{{whole}}}{option}"


@contextlib.contextmanager
def places_in_lists(overrides: Sequence[str]) -> Iterator[None]:
    """Say which key names a place of a list by a word; OmegaConf reads it as a number, and fails.

    Args:
        overrides: those that are composed here, or their keys.

    Raises:
        ConfigError: one line with the key.
    """
    try:
        yield
    except ValueError as error:
        word = str(error).partition("invalid literal for int() with base 10: ")[2].strip("'")
        keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
        place = next((key for key in keys if word and key.endswith(f".{word}")), None)
        if place is None:
            raise
        whole = place.rpartition(".")[0]
        raise ConfigError(
            f"{place}: {whole} is a list, whose places are numbers from 0; write "
            f"{whole}.0=<value>, or set all of it: {whole}=[<value>, ...]"
        ) from error


@contextlib.contextmanager
def _own_hydra(conf_dir: Path) -> Iterator[None]:
    """Let Hydra compose from a folder, also inside a job that Hydra itself started."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


def _set(values: dict[str, Any], key: str, value: Any) -> bool:
    """Set a value that is there already and holds no others; say whether it could be set so."""
    place, leaf = parent_of(values, key), key.rpartition(".")[2]
    if place is None or leaf not in place:
        return False
    if isinstance(value, dict) or isinstance(place[leaf], dict):
        return False
    place[leaf] = value
    return True


def _is_plain(values: Mapping[str, Any]) -> bool:
    text = json.dumps(values)
    return "${" not in text and '"???"' not in text
