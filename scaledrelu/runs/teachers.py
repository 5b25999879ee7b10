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
from torch import nn

from scaledrelu.data.fetch import Transform
from scaledrelu.data.sources import ImageSource
from scaledrelu.data.transforms import eval_transform
from scaledrelu.errors import CheckpointError
from scaledrelu.runs.build import build_task
from scaledrelu.runs.feed import open_data
from scaledrelu.runs.initial import finished_run


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


def run_teacher(results: str | Path, run_id: str, *, trust: Sequence[str] = ()) -> Teacher:
    """Return a finished run of our own, with its raw weights and its training images.

    The images are seen as in its evaluation, without augmentation, in fp32.

    Args:
        results: folder that holds ``runs/<run_id>``.
        run_id: of the run.
        trust: see ``initial.finished_run``.

    Raises:
        ConfigError: if its configuration names code that nobody trusts.
        RunError: if the run is missing, unfinished or crashed.
        CheckpointError: if its weights are gone or not the last ones.
    """
    run = finished_run(results, run_id, trust=trust)
    config, data = run.config, run.config.data
    splits = open_data(config)
    task = build_task(config, splits.num_classes)
    try:
        task.load_state_dict(run.state["task"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{run_id}: its weights do not fit the model that its config.yaml builds now; "
            f"train the run again with redo={run_id}"
        ) from error
    pixels = {"mean": data.mean, "std": data.std}
    in_memory = hasattr(splits.train, "images")
    return Teacher(
        name=run_id,
        model=task.backbone.eval(),
        num_classes=splits.num_classes,
        source=splits.train,
        image_size=data.image_size,
        transform=None
        if in_memory
        else eval_transform(image_size=data.image_size, crop=config.evaluation.crop, **pixels),
        threads=config.launch.threads,
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
