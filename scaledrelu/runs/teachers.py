"""A network that writes token labels, the images it labels and how it sees them.

Here: finished runs of our own. Leaves timm's models to ``timm_teacher.py``, the maps to
``label_maps.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from scaledrelu.data.fetch import Transform
from scaledrelu.data.sources import ImageSource
from scaledrelu.data.transforms import eval_transform
from scaledrelu.engine.checkpoint import LAST, read_checkpoint
from scaledrelu.errors import CheckpointError, RunError
from scaledrelu.runs.build import build_task
from scaledrelu.runs.feed import open_data
from scaledrelu.runs.record import (
    Result,
    Status,
    read_error,
    read_result,
    read_status,
    run_directory,
)


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained network and the images it is to label.

    Attributes:
        name: run id, or timm's name of the model.
        model: in evaluation mode.
        num_classes: of its output and of the images.
        source: the images, in the order of the data set.
        image_size: pixels.
        mean: of the normalisation, for images in memory.
        std: of the normalisation, for images in memory.
        transform: PIL image -> normalised tensor; None for images in memory.
        threads: of torch on the CPU, as the run was trained; 0 = torch's choice.
        settings: what else decides the maps, for the artifact's id; empty for a run of our own,
            whose id says everything.
    """

    name: str
    model: nn.Module
    num_classes: int
    source: ImageSource
    image_size: int
    mean: Sequence[float]
    std: Sequence[float]
    transform: Transform | None
    threads: int
    settings: dict[str, Any]


def run_teacher(results: str | Path, run_id: str) -> Teacher:
    """Return a finished run of our own, with its raw weights and its training images.

    The images are seen as in its evaluation, without augmentation, in fp32.

    Args:
        results: folder that holds ``runs/<run_id>``.
        run_id: of the run.

    Raises:
        RunError: if the run is missing, unfinished or crashed.
        CheckpointError: if its weights are gone or not the last ones.
    """
    folder = run_directory(results, run_id)
    result = _finished(folder)
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=True)
    weights = _last_weights(folder, result)
    data = config["data"]
    splits = open_data(config)
    task = build_task(config, splits.num_classes)
    try:
        task.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder / LAST}: these weights do not fit the model that config.yaml builds now; "
            f"train the run again with redo={run_id}"
        ) from error
    pixels = {"mean": data["mean"], "std": data["std"]}
    in_memory = hasattr(splits.train, "images")
    return Teacher(
        name=run_id,
        model=task.backbone.eval(),
        num_classes=splits.num_classes,
        source=splits.train,
        image_size=data["image_size"],
        transform=None
        if in_memory
        else eval_transform(
            image_size=data["image_size"], crop=config["evaluation"]["crop"], **pixels
        ),
        threads=config["launch"]["threads"],
        settings={},
        **pixels,
    )


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 over the names and bytes of all weights."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(f"{name}\0{tuple(value.shape)}\0{value.dtype}\0".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _finished(folder: Path) -> Result:
    status = read_status(folder)
    if status == Status.CRASH:
        raise RunError(
            f"{folder}: upstream crashed: the weights of a crash teach nothing; choose another "
            "teacher"
        )
    if status == Status.OK:
        return read_result(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run; train it first, or set --results")
    reason = read_error(folder)
    raise RunError(
        f"{folder}: this run is not finished ({status.value if reason is None else reason}); "
        "the command that trains it goes on from its checkpoint"
    )


def _last_weights(folder: Path, result: Result) -> dict[str, Any]:
    if not (folder / LAST).exists():
        raise CheckpointError(
            f"{folder / LAST}: the weights of this finished run are gone; "
            f"train it again with redo={result.run_id}"
        )
    state = read_checkpoint(folder / LAST)
    step, steps = state["cursor"]["step"], result.provenance.get("steps")
    if step != steps:
        raise CheckpointError(
            f"{folder / LAST}: weights of step {step}, but the run ended at step {steps}; "
            f"train it again with redo={result.run_id}"
        )
    return state["task"]
