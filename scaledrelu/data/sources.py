"""Sources of labelled images: class folders, decoded when asked, and tensors in memory.

Says what an image is and what a bad image means; leaves cropping and order to others.
"""

from __future__ import annotations

import copy
import logging
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from PIL import Image

from scaledrelu.data.decoding import BadImageError, decode
from scaledrelu.errors import DataError, printable
from scaledrelu.inputs.hashes import Part, digest_files
from scaledrelu.randomness import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


class ImageSource(Protocol):
    """Labelled images by position.

    Attributes:
        targets: N class indices, int64.
        classes: class names; ``targets`` counts in them.
        skipped: names of bad images that were replaced so far (``data.on_bad_image=skip``).
    """

    targets: np.ndarray
    classes: tuple[str, ...]
    skipped: list[str]

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def load(self, index: int) -> Image.Image:
        """Return one image in RGB; DataError if it cannot be decoded."""
        ...

    def position_of(self, index: int) -> int:
        """Return which image ``load`` returns: another position if a bad image was replaced."""
        ...

    def name_of(self, index: int) -> str:
        """Return the name of an image in messages, relative to the root of its data set."""
        ...

    def select(self, indices: np.ndarray) -> Self:
        """Return a source of these images only, with the same classes."""
        ...


class FolderSource:
    """Images in class folders, decoded when asked.

    A bad image is an error, or with ``on_bad_image="skip"`` it is replaced by the next good
    image of its class: the set keeps its size and its class balance, and the replacement
    depends on nothing but the files.

    Args:
        root: folder that the names are relative to.
        names: N paths, or their bytes as one array.
        targets: N class indices, int64.
        classes: class names; ``targets`` counts in them.
        on_bad_image: raise | skip.
    """

    def __init__(
        self,
        root: Path | str,
        names: list[str] | np.ndarray,
        targets: np.ndarray,
        classes: tuple[str, ...],
        *,
        on_bad_image: str = "raise",
    ):
        self.root = str(root)
        # One block of bytes: a million str objects would be copied into every loader process.
        whole = isinstance(names, np.ndarray)
        self._names = names if whole else np.array([os.fsencode(name) for name in names])
        self.targets = np.asarray(targets, dtype=np.int64)
        self.classes = tuple(classes)
        self.on_bad_image = on_bad_image
        self.skipped: list[str] = []
        self._replaced: dict[int, int] = {}
        self._decode: Callable[..., Any] = decode

    def __len__(self) -> int:
        return len(self._names)

    def name_of(self, index: int) -> str:
        """Return the path relative to the root."""
        return os.fsdecode(self._names[index])

    def position_of(self, index: int) -> int:
        """Return which image ``load`` returns: another position if a bad image was replaced."""
        return self._replaced.get(index, index)

    def path_of(self, index: int) -> str:
        """Return the path of the file."""
        return os.path.join(self.root, self.name_of(index))

    def select(self, indices: np.ndarray) -> Self:
        """Return a source of these images only, with the same classes."""
        chosen = copy.copy(self)
        chosen._names, chosen.targets = self._names[indices], self.targets[indices]
        chosen.skipped, chosen._replaced = [], {}
        return chosen

    def decoded_by(self, decode: Callable[..., Any]) -> Self:
        """Return the same images, which another function decodes; both note what they skip.

        Args:
            decode: path -> image in RGB; BadImageError for a bad one. It gets the bytes of the
                file as well where they are at hand.
        """
        other = copy.copy(self)
        other._decode = decode
        return other

    def load(self, index: int) -> Any:
        """Return one image in RGB: Pillow's, unless ``decoded_by`` says otherwise.

        Raises:
            DataError: if the file is missing or unreadable, or bad and not to be skipped.
        """
        index = self.position_of(index)
        try:
            return self._decoded(index)
        except BadImageError:
            if self.on_bad_image != "skip":
                raise
        return self._replace(index)

    def files(self) -> Part:
        """Return the files, for a digest."""
        names = [self.name_of(index) for index in range(len(self))]
        return Part("images", os.path.abspath(self.root), names)

    def _decoded(self, index: int) -> Any:
        return self._decode(self.path_of(index))

    def _replace(self, index: int) -> Any:
        same_class = np.flatnonzero(self.targets == self.targets[index])
        start = int(np.searchsorted(same_class, index))
        self._skip(index)
        for candidate in np.roll(same_class, -start)[1:].tolist():
            try:
                image = self._decoded(candidate)
            except BadImageError:
                self._skip(candidate)
                continue
            self._replaced[index] = candidate
            return image
        name = self.classes[self.targets[index]]
        raise DataError(
            f"{self.root}: class '{name}' has no readable image left; restore its files, or remove "
            "the class folder from every split"
        )

    def _skip(self, index: int) -> None:
        name = self.name_of(index)
        if name not in self.skipped:
            self.skipped.append(name)
            path = printable(self.path_of(index))
            log.warning("%s: bad image, replaced by another of its class", path)


def content_digest(source: FolderSource, *, store: Path | None = None) -> str:
    """Return a SHA-256 of the names and contents of a source's files.

    Args:
        source: images in files.
        store: the file that hashes are kept in; None = hash every file.
    """
    return digest_files([source.files()], store=store)


class MemorySource:
    """Images as one uint8 tensor of shape N x 3 x H x W.

    Args:
        images: N x 3 x H x W, uint8.
        targets: N class indices, int64.
        classes: class names; ``targets`` counts in them.
        names: N names, for messages.
    """

    def __init__(
        self,
        images: Tensor,
        targets: np.ndarray,
        classes: tuple[str, ...],
        *,
        names: list[str],
    ):
        self.images = images
        self.targets = np.asarray(targets, dtype=np.int64)
        self.classes = tuple(classes)
        self.skipped: list[str] = []
        self._names = names
        self._moved: dict[str, weakref.ref[Tensor]] = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_moved": {}}  # references to copies belong to this process

    def images_on(self, device: Any) -> Tensor:
        """Return the images on a device: one copy for all who hold it at a time.

        Nothing may be written into it. It is freed when nobody holds it any longer.

        Args:
            device: where; None = where they are.
        """
        held = self._moved.get(str(device))
        images = held() if held is not None else None
        if images is None:
            images = self.images if device is None else self.images.to(device)
            self._moved[str(device)] = weakref.ref(images)
        return images

    def name_of(self, index: int) -> str:
        """Return the name of the image in its original data set."""
        return self._names[index]

    def position_of(self, index: int) -> int:
        """Return the position itself: nothing is replaced in memory."""
        return index

    def load(self, index: int) -> Image.Image:
        """Return one image in RGB."""
        return Image.fromarray(self.images[index].permute(1, 2, 0).contiguous().cpu().numpy())

    def select(self, indices: np.ndarray) -> MemorySource:
        """Return a source of these images only, with the same classes."""
        names = [self._names[i] for i in indices]
        chosen = MemorySource(
            self.images[indices], self.targets[indices], self.classes, names=names
        )
        chosen.skipped = list(self.skipped)  # found while the whole set was decoded
        return chosen


def subset(source: ImageSource, fraction: float, seed: int) -> ImageSource:
    """Return a stratified fraction of a source; smaller fractions lie inside larger ones.

    Args:
        source: the whole set.
        fraction: share to keep, in (0, 1]; every class keeps round(fraction x its images), at
            least one.
        seed: seed of the choice, the same for every fraction of a series.

    Source: Table 7; recipes F (sampling of fractions is an assumption).
    """
    if fraction == 1:
        return source
    chosen = []
    for label, name in enumerate(source.classes):
        members = np.flatnonzero(source.targets == label)
        rng = np.random.RandomState(derive_seed(seed, "fraction", name) % 2**32)
        keep = max(1, round(fraction * len(members)))
        chosen.append(rng.permutation(members)[:keep])
    return source.select(np.sort(np.concatenate(chosen)))
