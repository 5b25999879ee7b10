"""How far the checkpoint of a run is, readable without torch and without the checkpoint.

Written after the checkpoint, so it never claims more than is saved; read by planning.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.files import atomic_file

LAST = "last.pt"
PREVIOUS = "previous.pt"
PROGRESS = "progress.json"


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint: its step and the run's total steps; None where unknown."""

    step: int | None
    total_steps: int | None

    @property
    def share(self) -> float:
        """The share of the run that is done, in [0, 1]; 0 where unknown."""
        return self.step / self.total_steps if self.step is not None and self.total_steps else 0.0


def write_saved(folder: Path, *, step: int, total_steps: int) -> None:
    """Record that the checkpoint in ``folder``, already written, holds ``step`` of all steps.

    Args:
        folder: run directory.
        step: updates done.
        total_steps: updates of the whole run.
    """
    with atomic_file(folder / PROGRESS, durable=False, one_writer=True) as stream:
        stream.write(json.dumps({"step": step, "total_steps": total_steps}).encode() + b"\n")


def read_saved(folder: Path) -> Saved | None:
    """Return how far a run's checkpoint is; None without one, or where it may not be seen."""
    if not any(os.path.exists(folder / name) for name in (LAST, PREVIOUS)):
        return None
    try:
        raw = json.loads((folder / PROGRESS).read_bytes())
        step, total = raw["step"], raw["total_steps"]
    except (OSError, ValueError, KeyError, TypeError):
        return Saved(None, None)
    known = all(type(value) is int for value in (step, total)) and 0 <= step <= total and total > 0
    return Saved(step, total) if known else Saved(None, None)
