"""Checkpoints that survive a kill at any moment: written atomically, kept twice, then checked."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from scaledrelu.engine.saved import LAST, PREVIOUS
from scaledrelu.errors import CheckpointError
from scaledrelu.files import atomic_file
from scaledrelu.integrity import find_damage, has_seal, seal_of

log = logging.getLogger(__name__)

DAMAGED = "damaged.pt"  # a last.pt that could not be read, set aside
RUN_ID = "run_id"  # whose state it is; absent in checkpoints of older versions
COMPLETE = "complete"  # the marker of a complete state, added last
SEALED = "sealed"  # so that a lost checksum is noticed; absent in checkpoints of older versions


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``last.pt`` atomically and keep the one before as ``previous.pt``.

    A seal behind the archive shows any later change of its bytes; torch ignores it.

    Args:
        folder: the run directory.
        state: tensors, numbers, strings and containers of them.

    Raises:
        OSError: disk full or not writable; the older checkpoints are then intact.
    """
    buffer = io.BytesIO()
    torch.save({**state, COMPLETE: True, SEALED: True}, buffer)
    with atomic_file(folder / LAST, one_writer=True, keep_old_as=folder / PREVIOUS) as stream:
        stream.write(buffer.getbuffer())
        stream.write(seal_of(buffer.getbuffer()))


def load_latest(
    folder: Path,
    *,
    entries: Iterable[str] = (),
    run_id: str | None = None,
    set_aside: bool = True,
) -> dict[str, Any] | None:
    """Return the newest readable checkpoint of a run, or None if there never was one.

    Args:
        folder: the run directory.
        entries: names that a checkpoint of this run has.
        run_id: the run; None accepts that of any.
        set_aside: rename a ``last.pt`` that cannot be read, or is another run's, to
            ``damaged.pt``, so that the next save does not replace the good ``previous.pt`` with
            it; for the rank that saves.

    Raises:
        CheckpointError: if checkpoints exist and none can be read: a run never restarts silently
            from step zero.
    """
    found = [folder / name for name in (LAST, PREVIOUS) if os.path.lexists(folder / name)]
    reasons = []
    for path in found:
        try:
            state = read_checkpoint(path, entries=entries, run_id=run_id)
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        if reasons:
            log.warning("%s Resuming from %s instead.", reasons[0], path.name)
            if set_aside:
                with contextlib.suppress(OSError):
                    os.replace(folder / LAST, folder / DAMAGED)
        return state
    if found:
        raise CheckpointError(
            f"no checkpoint of this run can be read: {' '.join(reasons)} Restore one from a copy, "
            "or move them away to train this run from the start."
        )
    return None


def read_checkpoint(
    path: Path, *, entries: Iterable[str] = (), run_id: str | None = None
) -> dict[str, Any]:
    """Read one checkpoint file onto the CPU.

    Args:
        path: a file of :func:`save_checkpoint`, possibly of an older version, which had neither
            checksum nor the run's id.
        entries: names that it must have.
        run_id: the run that it must be of, as far as it says so; None accepts that of any.

    Raises:
        CheckpointError: if it is missing, damaged, of another run or not one of ours.
    """
    try:
        damage = find_damage(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such checkpoint.") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from error
    if damage is not None:
        raise CheckpointError(f"{path}: {damage}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path}: damaged, or not a checkpoint ({type(error).__name__})."
        ) from error
    if not isinstance(state, dict) or state.get(COMPLETE) is not True:
        raise CheckpointError(f"{path}: incomplete (its completeness marker is missing).")
    if state.get(SEALED) and not has_seal(path):
        raise CheckpointError(f"{path}: damaged (its checksum is missing).")
    missing = [name for name in entries if name not in state]
    if missing:
        raise CheckpointError(f"{path}: not a checkpoint of this run (no {', '.join(missing)}).")
    found = state.get(RUN_ID)
    if None not in (run_id, found) and found != run_id:
        raise CheckpointError(f"{path}: is the checkpoint of {found}, not of {run_id}.")
    return state
