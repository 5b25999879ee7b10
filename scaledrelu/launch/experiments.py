"""Generated ``experiment/<run_id>.yaml`` files: a planned run as a readable, rerunnable option."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.files import write_atomic
from scaledrelu.tables.plan import PlannedRun


def searchpath(results: Path) -> Path:
    """Return the folder that holds the generated group ``experiment``."""
    return results.resolve() / ".cache"


def write_experiment(
    run: PlannedRun, *, results: Path, groups: Sequence[str], tables: Sequence[str] = ()
) -> Path:
    """Write one run's overrides as a Hydra option of the group ``experiment``.

    Args:
        run: what to train.
        results: results folder; the file goes below its cache.
        groups: names of config groups: their overrides become defaults, the others values.
        tables: tables that the run serves: its tags in W&B.
    """
    choices, values = _split(run.overrides, groups)
    lines = [
        "# @package _global_",
        f"# Generated from a table row; planned as {run.run_id}.",
        "defaults:",
        *(f"  - override /{group}: {option}" for group, option in choices),
        "  - _self_",
    ]
    fixed = {"planned_id": run.run_id, "seed": run.seed, "wandb": {"tags": list(tables)}}
    body = yaml.safe_dump({**fixed, **values}, sort_keys=False, width=10_000)
    path = searchpath(results) / "experiment" / f"{run.run_id}.yaml"
    write_atomic(path, "\n".join(lines) + "\n" + body)
    return path


def _split(
    overrides: Sequence[str], groups: Sequence[str]
) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    choices: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if key in groups:
            choices.append((key, str(override.value())))
            continue
        *parents, leaf = key.split(".")
        place = values
        for part in parents:
            place = place.setdefault(part, {})
        place[leaf] = override.value()
    return choices, values
