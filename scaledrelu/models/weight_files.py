"""Reads a file of weights from any source without running code in it."""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from scaledrelu.config.first_look import find_weights
from scaledrelu.errors import CheckpointError
from scaledrelu.integrity import find_damage, is_checked

log = logging.getLogger(__name__)

_LONGEST_HEADER = 100_000_000  # bytes that safetensors allows
_CONVERT = "torch.save(model.state_dict(), 'weights.pth') in the code that made it"


def open_weights(path: str | Path) -> dict[Any, Any]:
    """Return what a checkpoint file holds, on the CPU.

    The content of a file decides how it is read, not its name.

    Args:
        path: a file of ``torch.save`` or of safetensors.

    Raises:
        CheckpointError: if it is missing, damaged, not a checkpoint, or not plain data.
    """
    path = find_weights(path)
    try:
        check_whole(path)
        state = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # torch and safetensors raise many kinds of errors
        raise CheckpointError(f"{path}: {_reason(error)}") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"{path}: holds a {type(state).__name__}, not named weights; allowed: a state dict, or "
            "a checkpoint that contains one"
        )
    return dict(state)


def check_whole(path: Path) -> None:
    """Refuse a file whose checksums do not match its content.

    Raises:
        CheckpointError: if it is empty or damaged.
        OSError: if it cannot be read.
    """
    damage = find_damage(path)
    if damage is not None:
        raise CheckpointError(f"{path}: {damage}; fetch or copy it again")
    if not is_checked(path):
        log.info("%s: has no checksums; set init.sha256 to detect damage", path)


def sha256_or_error(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        with Path(path).expanduser().open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _plain_data() -> list[Any]:
    """Return what the official scripts store beside the weights, by the names in their files.

    Their command line is a Namespace, with a path in it where submitit started them; DINO's
    optimizer holds the rates of its schedules, which are numbers of numpy (1 or 2).
    """
    scalar, _of_a_number = np.float64(0).__reduce__()
    return [
        argparse.Namespace,
        np.dtype,
        *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)),
        *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("_core", "core")),
        *((PurePosixPath, f"{module}.PosixPath") for module in ("pathlib", "pathlib._local")),
    ]


def _read_torch(path: Path) -> Any:
    with torch.serialization.safe_globals(_plain_data()), path.open("rb") as stream:
        # Passed as a stream: torch would judge *.safetensors by its name.
        return torch.load(stream, map_location="cpu", weights_only=True)


def _is_safetensors(path: Path) -> bool:
    """Whether a file starts with the length of a JSON header and that header."""
    with path.open("rb") as stream:
        start = stream.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= _LONGEST_HEADER


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f"{path}: needs the package safetensors; run: pip install safetensors"
        ) from error
    return load_file(path)


def _reason(error: Exception) -> str:
    said = str(error)
    asked = re.search(r"GLOBAL ([\w.]+)", said) or re.search(r"[Uu]nsupported class (\S+)", said)
    if asked:
        return (
            f"holds an object of {asked[1]}, which is not plain data; save the tensors alone with "
            f"{_CONVERT}, and give that file"
        )
    if "TorchScript" in said:
        return f"is a TorchScript program; save the tensors alone with {_CONVERT}, and give it"
    return f"damaged, or not a checkpoint ({type(error).__name__}); fetch or save it again"
