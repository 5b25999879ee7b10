"""The options of the configuration tree: its YAML files, by folder."""

from __future__ import annotations

from pathlib import Path


def group_options(conf_dir: Path, *more: Path) -> dict[str, list[str]]:
    """Return every config group that a person may choose from, and its options.

    Left out are specialisations of profiles, what other scripts read, and shared bases: options
    with ``_`` in front.

    Args:
        conf_dir: the configuration tree.
        more: folders with further options.
    """
    found: dict[str, set[str]] = {}
    for folder in (folder for top in (conf_dir, *more) for folder in top.iterdir()):
        if folder.is_dir() and not folder.name.startswith(
            ("profile_", "table", "figure", "stability", "artifact", "hydra", ".")
        ):
            options = {path.stem for path in folder.glob("*.yaml")}
            found.setdefault(folder.name, set()).update(o for o in options if o[:1] != "_")
    return {name: sorted(found[name]) for name in sorted(found)}


def options_of(conf_dir: Path, group: str) -> tuple[str, ...]:
    """Return the names of a folder's YAML files, such as the options of a group.

    Args:
        conf_dir: the configuration tree.
        group: folder in it.
    """
    return tuple(sorted(path.stem for path in (conf_dir / group).glob("*.yaml")))
