"""The W&B copy of a run's metrics: same id, explicit steps, only what a checkpoint covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class WandbMirror:
    """Sends rows to W&B; created only when ``wandb.mode`` asks for it.

    Args:
        folder: run directory; W&B writes below it.
        run_id: our id, also W&B's; a redone run carries the suffix ``-rN``.
        mode: offline or online.
        project: W&B project.
        entity: W&B team, or None for the default.
        group: what W&B groups by (the method).
        tags: tables the run serves.
        config: canonical configuration.
    """

    def __init__(
        self,
        *,
        folder: Path,
        run_id: str,
        mode: str,
        project: str,
        entity: str | None,
        group: str,
        tags: list[str],
        config: dict[str, Any],
    ) -> None:
        import wandb

        self._run = wandb.init(
            dir=folder,
            id=run_id,
            name=run_id,
            mode=mode,
            project=project,
            entity=entity,
            group=group,
            tags=tags,
            config=config,
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(silent=True),
        )
        # W&B's own step restarts when an offline run resumes, so every chart uses ours.
        self._run.define_metric("global_step")
        self._run.define_metric("*", step_metric="global_step")
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Keep one row until a checkpoint covers it."""
        self._rows.append(row)

    def commit(self) -> None:
        """Send the rows kept so far."""
        for row in self._rows:
            self._run.log(
                {"global_step" if key == "step" else key: value for key, value in row.items()}
            )
        self._rows.clear()

    def summarise(self, summary: dict[str, Any]) -> None:
        """Write the outcome into the W&B run's summary."""
        self._run.summary.update(summary)

    def close(self) -> None:
        """Close the W&B run; rows that no checkpoint covers are not sent."""
        self._run.finish()
