"""Networks that write label maps: what a teacher is, and timm models on a folder of images.

Finished runs of our own are in ``runs/teachers.py``, which can build them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scaledrelu.data.datasets import scan_folder
from scaledrelu.data.sources import ImageSource
from scaledrelu.data.workers import Transform
from scaledrelu.errors import CheckpointError, ConfigError, DataError, nearest
from scaledrelu.inputs.pack import is_image_folder
from scaledrelu.models.weight_files import check_whole


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained network and the images it is to label.

    Attributes:
        name: run id, or timm's name of the model.
        model: the network, in evaluation mode.
        num_classes: classes of its output and of the images.
        source: the images, in the order of the data set.
        image_size: side in pixels.
        mean: 3 channel means in [0, 1], for images in memory.
        std: 3 channel standard deviations, for images in memory.
        transform: PIL image -> normalised tensor; None for images in memory.
        threads: torch's threads on the CPU, as the run was trained; 0 = torch's choice.
        settings: what else decides the maps, for the artifact's id; empty for a run of our own,
            whose id covers everything.
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


def timm_teacher(
    name: str,
    *,
    data: str | Path | None,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    image_size: int | None = None,
    crop: float | None = None,
    crop_mode: str = "center",
    on_bad_image: str = "raise",
) -> Teacher:
    """Return a timm model and the images of a folder of class folders.

    Mean, std, interpolation and what is not given come from timm's configuration of the model.

    Args:
        name: timm's name of the model, e.g. ``dm_nfnet_f6.dm_in1k``.
        data: ``<data>/<class>/*``, or where that folder is missing ``<data>.pack``.
        pretrained: take timm's weights of that name (downloaded if missing).
        checkpoint: file of weights instead; it must have as many classes as the folder.
        image_size: side in pixels; None = the model's.
        crop: short side resized to ``image_size / crop``; None = the model's.
        crop_mode: center (as the published maps were made; it loses the ends of long images) |
            squash (the whole image, distorted; what timm now prefers for NFNets) | border.
        on_bad_image: raise | skip.

    Raises:
        ConfigError: an unknown model, or neither or both of ``pretrained`` and ``checkpoint``.
        CheckpointError: weights that cannot be loaded.
        DataError: a folder without class folders, or with other classes than the model's.
    Source: recipes B.4 (NFNet-F6 at 576 pixels, crop 1.0).
    """
    if data is None or not is_image_folder(data):
        raise DataError(f"--data={data}: no such folder; give the folder of the class folders")
    if pretrained == (checkpoint is not None):
        raise ConfigError(
            f"--timm={name}: needs weights; give one of --pretrained and --checkpoint=<file>"
        )
    source = scan_folder(data, on_bad_image=on_bad_image)
    view = timm_view(name, image_size=image_size, crop=crop, crop_mode=crop_mode)
    size = view["input_size"][-1]
    model = _timm_model(name, checkpoint, size, num_classes=len(source.classes))
    if model.num_classes != len(source.classes):
        raise DataError(
            f"{data}: has {len(source.classes)} class folders, but {name} has {model.num_classes} "
            "classes; use the data set that the model was trained on"
        )
    from timm.data import create_transform

    return Teacher(
        name=name,
        model=model.eval(),
        num_classes=model.num_classes,
        source=source,
        image_size=size,
        mean=view["mean"],
        std=view["std"],
        transform=create_transform(**view, is_training=False),
        threads=0,
        settings={key: str(value) for key, value in view.items()},
    )


def timm_view(
    name: str, *, image_size: int | None, crop: float | None, crop_mode: str = "center"
) -> dict[str, Any]:
    """Return size, interpolation, mean, std and crop as timm's ``create_transform`` takes them.

    Args:
        name: timm's name of the model.
        image_size: side in pixels; None = the model's.
        crop: share of the resized short side that is kept; None = the model's.
        crop_mode: center | squash | border.

    Raises:
        ConfigError: an unknown model, or one that does not take square colour images.
    """
    import timm
    from timm.data import resolve_data_config

    if not timm.is_model(name):
        known = nearest(name.split(".")[0], timm.list_models())
        raise ConfigError(f"--timm={name}: timm {timm.__version__} has no such model{known}")
    cfg = timm.get_pretrained_cfg(name)
    wanted = {"img_size": image_size, "crop_pct": crop, "crop_mode": crop_mode}
    view = resolve_data_config(wanted, cfg.to_dict() if cfg else {}, use_test_size=True)
    channels, height, width = view["input_size"]
    if channels != 3 or height != width:
        raise ConfigError(
            f"--timm={name}: takes images of {channels} x {height} x {width}, but they must be "
            "square with 3 channels; set --image-size or choose another model"
        )
    return view


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 over the names and bytes of all weights."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(f"{name}\0{tuple(value.shape)}\0{value.dtype}\0".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _timm_model(
    name: str, checkpoint: str | Path | None, size: int, *, num_classes: int
) -> nn.Module:
    """Build the model at this size; with a checkpoint, with the folder's number of classes."""
    import timm

    if checkpoint is not None and not Path(checkpoint).is_file():
        raise CheckpointError(f"--checkpoint={checkpoint}: no such file")
    if checkpoint is not None:
        check_whole(Path(checkpoint))
    cfg = timm.get_pretrained_cfg(name)
    fixed = cfg is not None and cfg.fixed_input_size  # else the network takes any size
    try:
        return timm.create_model(
            name,
            pretrained=checkpoint is None,
            checkpoint_path=checkpoint,
            num_classes=None if checkpoint is None else num_classes,
            img_size=size if fixed else None,
        )
    except Exception as error:  # download, cache, file or shapes: timm raises many kinds
        reason = (str(error).splitlines() or [""])[0]
        what = "the pretrained weights" if checkpoint is None else str(checkpoint)
        raise CheckpointError(
            f"{what} of {name} cannot be loaded ({type(error).__name__}: {reason}); "
            "give the file of its weights with --checkpoint"
        ) from error
