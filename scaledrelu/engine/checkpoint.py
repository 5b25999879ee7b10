"""Checkpoints that survive a kill at any moment: written whole, kept twice, read with suspicion."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import Any

import torch

from scaledrelu.errors import CheckpointError

log = logging.getLogger(__name__)

LAST = "last.pt"
PREVIOUS = "previous.pt"
COMPLETE = "complete"  # the marker: the last thing a writer puts in


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``last.pt`` atomically and keep the one before as ``previous.pt``.

    Args:
        folder: the run directory.
        state: tensors, numbers, strings and containers of them.

    Raises:
        OSError: disk full or not writable; the older checkpoints are then intact.
    """
    temporary = folder / f".{LAST}.tmp"
    buffer = io.BytesIO()
    torch.save({**state, COMPLETE: True}, buffer)
    try:
        with temporary.open("wb") as stream:
            stream.write(buffer.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if (folder / LAST).exists():
        os.replace(folder / LAST, folder / PREVIOUS)
    os.replace(temporary, folder / LAST)


def load_latest(folder: Path) -> dict[str, Any] | None:
    """Return the newest readable checkpoint of a run, or None if there never was one.

    Raises:
        CheckpointError: if checkpoints exist and none can be read: a run never restarts from step
            zero in silence.
    """
    found = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for path in found:
        try:
            return read_checkpoint(path)
        except CheckpointError as error:
            log.warning("%s Trying the one before.", error)
    if found:
        names = ", ".join(path.name for path in found)
        raise CheckpointError(
            f"{folder}: none of {names} can be read; delete them to train this run from the start"
        )
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint file onto the CPU.

    Raises:
        CheckpointError: if it is missing, torn or not one of ours.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such checkpoint.") from error
    except Exception as error:
        raise CheckpointError(
            f"{path}: torn or not a checkpoint ({type(error).__name__})."
        ) from error
    if not isinstance(state, dict) or state.get(COMPLETE) is not True:
        raise CheckpointError(f"{path}: incomplete (no completeness marker).")
    return state
