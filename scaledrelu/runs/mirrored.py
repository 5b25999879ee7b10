"""The copies of a run elsewhere: W&B, if its configuration asks for it."""

from __future__ import annotations

from pathlib import Path

from scaledrelu.config.identity import canonical, run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.mirror import WandbMirror
from scaledrelu.engine.mirror import check_online as check_online
from scaledrelu.runs.record import times_redone


def open_mirrors(config: RunConfig, folder: Path) -> list[WandbMirror]:
    """Start copying a run to W&B if its configuration asks for it; returns at once.

    Args:
        config: the run's configuration.
        folder: run directory.
    """
    wandb = config.wandb
    if wandb.mode == "disabled":
        return []
    name = run_id(config)
    redone = times_redone(config.paths.results, name)
    mirror = WandbMirror(
        folder,
        run_id=f"{name}-r{redone}" if redone else name,
        mode=wandb.mode,
        project=wandb.project,
        entity=wandb.entity,
        group=config.method,
        tags=list(wandb.tags),
        config=canonical(config),
    )
    return [mirror]
