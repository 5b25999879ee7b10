"""The copies of a run elsewhere: W&B, if its configuration asks for it. Imports no torch.

Also the door through which launching and dashboards reach the copy itself, in ``engine/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scaledrelu.config.identity import canonical, run_id
from scaledrelu.config.naming import readable_name, row_group
from scaledrelu.config.run import RunConfig, plain
from scaledrelu.config.stem_options import option_name
from scaledrelu.engine.mirror import DISABLED, WandbMirror
from scaledrelu.engine.mirror import ONLINE as ONLINE
from scaledrelu.engine.mirror import check_online as check_online
from scaledrelu.engine.mirror import mode_here as mode_here
from scaledrelu.engine.mirror_afterwards import Sender as Sender
from scaledrelu.engine.wandb_run import from_environment
from scaledrelu.runs.planned import config_or_none
from scaledrelu.runs.record import times_redone

LABELLED = ("model", "stem", "ffn", "optimizer", "lr", "warmup", "precision")


def open_mirrors(config: RunConfig, folder: Path) -> list[WandbMirror]:
    """Start copying a run to W&B if its configuration asks for it; returns at once.

    Args:
        config: the run's configuration.
        folder: run directory.
    """
    mode = mode_here(config.wandb.mode)
    if mode == DISABLED:
        return []
    return [WandbMirror(folder, mode=mode, **told_of(config))]


def told_of(config: RunConfig, upstream: RunConfig | None = None) -> dict[str, Any]:
    """Return what W&B is told of a run beside its files; see ``WandbMirror``.

    Args:
        config: the run's configuration.
        upstream: configuration of the run that it starts from; None = as it lies on disk.
    """
    results, wandb, name = config.paths.results, config.wandb, run_id(config)
    redone = times_redone(results, name)
    upstream = upstream or upstream_of(config)
    return {
        "run_id": f"{name}-r{redone}" if redone else name,
        "name": readable_name(config, upstream),
        "project": wandb.project,
        "entity": wandb.entity,
        "group": row_group(config, upstream),
        "job_type": config.method,
        "tags": [*wandb.tags, config.profile.name],
        "paper": dict(map(_printed, wandb.paper)),
        "config": shown_config(config),
    }


def project_of(config: RunConfig) -> tuple[str | None, str]:
    """Return entity and project at W&B: those of the configuration, else of the environment."""
    told = from_environment(told_of(config))
    return told["entity"], told["project"]


def upstream_of(config: RunConfig) -> RunConfig | None:
    """Return the configuration of the run that a run starts from; None if it is not on disk."""
    if config.init.run is None:
        return None
    return config_or_none(config.paths.results, config.init.run)


def shown_config(config: RunConfig) -> dict[str, Any]:
    """Return the scientific part of a configuration with the labels that people group by.

    It stays nested: W&B stores ``stem: {label: ...}`` under ``stem.label`` for groups, filters and
    columns, while a flat key with a dot in it is a different, ambiguous one. ``stem.name`` tells
    apart the stems that share a label.
    """
    shown = canonical(config)
    for group in LABELLED:
        shown[group] = {"label": getattr(config, group).label, **shown[group]}
    shown["stem"]["name"] = option_name(plain(config.stem))
    shown["profile"] = {"name": config.profile.name, **shown["profile"]}
    effective = {"lr": config.peak_lr, "epochs": config.run_epochs}
    return {"method": config.method, **shown, "effective": effective}


def _printed(item: str) -> tuple[str, float | str]:
    place, _, value = item.partition("=")
    try:
        return place, float(value)
    except ValueError:
        return place, value
