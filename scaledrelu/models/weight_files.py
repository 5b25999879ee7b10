"""Reads a file of weights that anybody may have written, without running any code in it."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from scaledrelu.errors import CheckpointError

SAFETENSORS = ".safetensors"


def open_weights(path: str | Path) -> dict[str, Any]:
    """Return what a checkpoint file holds, on the CPU.

    Args:
        path: of ``torch.save``, or ``*.safetensors``.

    Raises:
        CheckpointError: if it is missing, torn, not a checkpoint, or cannot be read as plain data.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {found}; give the path of one checkpoint file")
    try:
        state = _read_safetensors(path) if path.suffix == SAFETENSORS else _read_torch(path)
    except CheckpointError:
        raise
    except Exception as error:  # torch and safetensors raise many kinds for a torn file
        raise CheckpointError(f"{path}: {_reason(error)}") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"{path}: holds a {type(state).__name__}, not weights by name; allowed: a state dict, "
            "or a checkpoint around one"
        )
    return dict(state)


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        with Path(path).expanduser().open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _read_torch(path: Path) -> Any:
    # The official scripts store their command line beside the weights: plain data in a Namespace.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f"{path}: needs the package safetensors (it comes with timm)"
        ) from error
    return load_file(path)


def _reason(error: Exception) -> str:
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    if asked:
        return (
            f"holds an object of {asked[1]}, which only its own code could read; save its tensors "
            "alone (state_dict) and give that file"
        )
    return f"torn or not a checkpoint ({type(error).__name__}); fetch or save it again"
