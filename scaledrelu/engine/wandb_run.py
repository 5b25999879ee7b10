"""One run at W&B: opened under our id, sent row by row, closed with the run's own state.

Only the process of ``mirror_process.py`` opens one: whatever hangs or fails in wandb happens there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scaledrelu.engine.mirror_files import (
    MARK,
    RECORD,
    SENT,
    Rows,
    read_mark,
    record_of,
    summary_of,
)

PROJECT = "scaledrelu"  # where neither the configuration nor WANDB_PROJECT names one
BY_STEP = ("train", "images_per_s")  # drawn over updates; everything else over epochs


class WandbRun:
    """A run at W&B and the rows that it does not have yet.

    Args:
        spec: the arguments of ``WandbMirror``; the environment fills and changes some.
        folder: run directory.
        live: the run is training now, in the process ``spec["trainer"]``.
    """

    def __init__(self, spec: Mapping[str, Any], folder: Path, *, live: bool = True) -> None:
        self._spec, self._folder = spec, folder
        self._online = spec["mode"] == "online"
        self.run = open_run(spec, folder, trainer=spec["trainer"] if live else None)
        self._drawn: set[str] = set()
        for _, row in Rows(folder).upto():  # also those of earlier attempts: W&B forgets their axes
            self._define_axes(row)
        place = place_of(folder)
        self._copy = Path(self.run.dir).parent
        after = _clear_copies(place / "wandb", spec["run_id"], keep=self._copy)
        after = max(after, read_mark(folder / "wandb" / SENT).get("last_step", 0))
        self.rows = Rows(folder, after=self.run.starting_step - 1 if self._online else after)

    @property
    def address(self) -> str:
        """Where people find it."""
        return self.run.url if self._online else str(self._copy)

    def send(self, rows: Iterator[tuple[int, dict[str, Any]]]) -> int:
        """Log rows under our own steps, which W&B accepts only once; return how many.

        Args:
            rows: steps and their values.
        """
        count = 0
        for step, row in rows:
            self._define_axes(row)
            self.run.log(row, step=step)
            count += 1
        return count

    def finish(self, *, exit_code: int, preempted: bool) -> int:
        """Send the rest and close the W&B run with the state that the run has.

        Args:
            exit_code: 0 = finished: all rows stand behind the result; else failed.
            preempted: stopped on request; the run continues later.

        Returns:
            How many rows were sent.
        """
        done, mark = exit_code == 0, {}
        count = self.send(self.rows.upto() if done else self.rows.committed())
        if done:
            mark = {RECORD: record_of(self._spec, self._folder)}
            self.run.summary.update({**summary_of(self._folder, self._spec["paper"]), **mark})
        if preempted:
            self.run.mark_preempting()
        mark["last_step"] = self.rows.last
        (self._copy / MARK).write_text(json.dumps(mark))
        self.run.finish(exit_code=exit_code)
        if self._online:
            (self._folder / "wandb").mkdir(parents=True, exist_ok=True)
            (self._folder / "wandb" / SENT).write_text(json.dumps(mark))
        return count

    def _define_axes(self, row: Mapping[str, Any]) -> None:
        """Say over what each new kind of value is drawn: updates or epochs."""
        for kind in {name.partition("/")[0] for name in row} - self._drawn:
            self._drawn.add(kind)
            if kind in ("global_step", "epoch"):
                self.run.define_metric(kind)
                continue
            over = "global_step" if kind in BY_STEP else "epoch"
            pattern = f"{kind}/*" if any(n.startswith(f"{kind}/") for n in row) else kind
            self.run.define_metric(pattern, step_metric=over)


def open_run(spec: Mapping[str, Any], folder: Path, *, trainer: int | None) -> Any:
    """Open the run at W&B, or continue it.

    Args:
        spec: what it is called, and its configuration.
        folder: run directory, for what W&B writes unless WANDB_DIR says where.
        trainer: the process whose use of the machine is shown; None shows none.
    """
    import wandb

    told = from_environment(spec)
    place = place_of(folder)
    place.mkdir(parents=True, exist_ok=True)
    return wandb.init(
        dir=place,
        id=spec["run_id"],
        mode=spec["mode"],
        config=spec["config"],
        resume="allow",
        settings=wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=trainer is None,
            **({"x_stats_pid": trainer} if trainer is not None else {}),
        ),
        **told,
    )


def from_environment(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run is called at W&B: WANDB_* come before our words, not before the config.

    Args:
        spec: project and entity of the configuration, None where it names none; our own words.
    """
    env = os.environ
    more = [tag.strip() for tag in env.get("WANDB_TAGS", "").split(",")]
    return {
        "project": spec["project"] or env.get("WANDB_PROJECT") or PROJECT,
        "entity": spec["entity"] or env.get("WANDB_ENTITY") or None,
        "name": env.get("WANDB_NAME") or spec["name"],
        "group": env.get("WANDB_RUN_GROUP") or spec["group"],
        "job_type": env.get("WANDB_JOB_TYPE") or spec["job_type"],
        "tags": list(dict.fromkeys([*spec["tags"], *filter(None, more)])),
    }


def place_of(folder: Path) -> Path:
    """Return the folder in which W&B makes its own: the run's, unless WANDB_DIR names one."""
    return Path(os.environ.get("WANDB_DIR") or folder)


def copies_of(place: Path, run_id: str) -> list[Path]:
    """Return the folders of a run's copies, those of other attempts too.

    Args:
        place: the folder ``wandb`` that holds them.
        run_id: the run's id.
    """
    # W&B numbers the second copy of the same second, and those after it.
    names = [f"{kind}-*-{run_id}" for kind in ("offline-run", "run")]
    kinds = [f"{name}{number}" for name in names for number in ("", "-[0-9]", "-[0-9][0-9]")]
    return [copy for kind in kinds for copy in sorted(place.glob(kind))]


def is_synced(copy: Path) -> bool:
    """Whether `wandb sync` has sent an offline copy."""
    return any(copy.glob("*.synced"))


def _clear_copies(place: Path, run_id: str, *, keep: Path) -> int:
    """Remove unsent copies of earlier attempts: the new one holds all their rows.

    An incomplete one would make `wandb sync` fail.

    Returns:
        The last step of the copies that were sent, which must not be sent again.
    """
    sent = 0
    for copy in copies_of(place, run_id):
        if copy == keep:
            continue
        if is_synced(copy):
            sent = max(sent, read_mark(copy / MARK).get("last_step", 0))
        else:
            shutil.rmtree(copy, ignore_errors=True)
    return sent
