"""Label maps on disk: a teacher's classes for every cell of a training image, one file per image.

Knows the published format and what can be wrong with such a folder; transforms nothing.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scaledrelu.config.data import UNLABELLED
from scaledrelu.config.first_look import find_labels
from scaledrelu.data.sources import ImageSource
from scaledrelu.errors import DataError
from scaledrelu.inputs.listing import LABEL_SUFFIX

_MEMORY_BYTES = 2**29  # maps of images in memory are kept there too, up to this size
_WHERE = f"set data.token_labels to the label maps of this data set, or {UNLABELLED}"


def label_path(source: ImageSource, index: int) -> str:
    """Return the file of an image's label map, relative to the root of the maps.

    Args:
        source: the images.
        index: position of the image.

    Source: recipes B.4: class folder / image name up to the first dot, suffix .pt.
    """
    name = os.path.basename(source.name_of(index)).split(".")[0]
    return f"{source.classes[source.targets[index]]}/{name}{LABEL_SUFFIX}"


class LabelMaps:
    """The label maps of a source's images by position: 2 x K x h x w, half precision.

    Plane 0 holds the K largest logits of every cell, plane 1 the classes they belong to. Maps of
    images in memory are read once, the others on demand.

    Args:
        folder: root of the maps.
        source: the training images.
        num_classes: classes of the data set.

    Attributes:
        shape: 2 x K x h x w, the same for every image.

    Raises:
        DataError: if the folder or some of its files are missing, or two images share one.
    Source: recipes B.4 (format of the TokenLabeling label maps).
    """

    def __init__(self, folder: Path | str, source: ImageSource, *, num_classes: int):
        self._root, self._source, self._num_classes = find_labels(folder), source, num_classes
        self._whole: Tensor | None = None
        self.shape: tuple[int, ...] | None = None
        _check_files(self._root, source)
        self.shape = tuple(self._read(0).shape)
        size = 2 * len(source) * torch.Size(self.shape).numel()
        if hasattr(source, "images") and size <= _MEMORY_BYTES:
            self._whole = torch.stack([self._read(i) for i in range(len(source))])

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Tensor:
        """Return the label map of one image; it may be a view, so do not change it.

        Raises:
            DataError: if the file is not a label map of this data set.
        """
        return self._read(index) if self._whole is None else self._whole[index]

    def _read(self, index: int) -> Tensor:
        path = self._root / label_path(self._source, index)
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"{path}: not a label map ({reason}); restore the file") from None
        self._check(path, found)
        return found

    def _check(self, path: Path, found: object) -> None:
        what = _describe(found)
        whole = isinstance(found, Tensor) and found.ndim == 4 and len(found) == 2
        if not whole or found.dtype != torch.float16 or 0 in found.shape:
            raise DataError(
                f"{path}: holds {what}, but a label map is a half-precision tensor of shape "
                f"2 x K x h x w (published: 2 x 5 x 18 x 18); {_WHERE}"
            )
        if self.shape is not None and tuple(found.shape) != self.shape:
            raise DataError(
                f"{path}: holds {what}, but the other label maps have shape "
                f"{' x '.join(map(str, self.shape))}; make all of them with one teacher"
            )
        low, high = (float(x) for x in torch.aminmax(found[1].float()))
        if not (low >= 0 and high < self._num_classes):
            raise DataError(
                f"{path}: names class {high if low >= 0 else low:g}, but the images have "
                f"{self._num_classes} classes (0-{self._num_classes - 1}), so these are maps of "
                f"another data set; {_WHERE}"
            )
        if not torch.isfinite(found[0]).all():
            raise DataError(f"{path}: holds logits that are not finite; make the map again")


def _describe(found: object) -> str:
    if not isinstance(found, Tensor):
        return f"a {type(found).__name__}"
    shape = " x ".join(map(str, found.shape)) or "()"
    return f"a {str(found.dtype).removeprefix('torch.')} tensor of shape {shape}"


def _check_files(root: Path, source: ImageSource) -> None:
    """Refuse missing files and files that two images share; lists each class folder once."""
    missing, first = 0, ""
    for label, folder in enumerate(source.classes):
        files: dict[str, str] = {}
        for index in np.flatnonzero(source.targets == label).tolist():
            file, name = label_path(source, index).split("/")[1], source.name_of(index)
            if files.setdefault(file, name) != name:
                raise DataError(
                    f"{root / folder / file}: would be the label map of two images ({files[file]} "
                    f"and {name}), since maps are named up to the first dot; rename one image"
                )
        found = set(os.listdir(root / folder)) if files and (root / folder).is_dir() else set()
        lacking = files.keys() - found
        first = first or (f"{folder}/{min(lacking)}" if lacking else "")
        missing += len(lacking)
    if missing:
        raise DataError(
            f"{root}: no label maps for {missing:,} of {len(source):,} training images "
            f"(first: {first}); {_WHERE}"
        )
