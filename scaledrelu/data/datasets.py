"""Openers of data sets: from a root folder to training and validation sources.

They check what a user can get wrong about files and folders, before any training starts.
"""

from __future__ import annotations

import gzip
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.config.first_look import (
    check_class_folders,
    check_same_classes,
    find_image_folders,
)
from scaledrelu.data.cifar import cifar10_batches, read_cifar10
from scaledrelu.data.memory import decode_all
from scaledrelu.data.packed import PackedSource
from scaledrelu.data.sources import FolderSource, ImageSource, MemorySource
from scaledrelu.errors import ConfigError
from scaledrelu.inputs.listing import IMAGE_SUFFIXES, class_images
from scaledrelu.inputs.pack import is_image_folder, pack_of, read_pack
from scaledrelu.text import plural

log = logging.getLogger(__name__)

_DIGITS_VAL = 360  # of 1,797


@dataclass(frozen=True, slots=True)
class Splits:
    """The training and validation images of a data set; both count in the same classes."""

    train: ImageSource
    val: ImageSource
    num_classes: int

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers of images per split and of classes."""
        return {"train": len(self.train), "val": len(self.val), "classes": self.num_classes}


def open_image_folder(
    *,
    root: str,
    train: str,
    val: str,
    expect: Mapping[str, int] | None = None,
    image_size: int,
    in_memory: bool = False,
    on_bad_image: str = "raise",
) -> Splits:
    """Open ``<root>/<train>/<class>/*`` and ``<root>/<val>/<class>/*``.

    Where there is no such folder, ``<root>/<train>.pack`` stands for it.

    Args:
        root: folder of the data set.
        train: folder of the training images, relative to the root.
        val: folder of the validation images, relative to the root.
        expect: published counts (train, val, classes); others are reported, not refused.
        image_size: pixels; used only for images in memory.
        in_memory: decode once, to ``image_size`` (short side resized, centre cropped).
        on_bad_image: raise | skip.

    Raises:
        DataError: a missing folder, an empty class, or classes that differ between splits.
    """
    folders = find_image_folders(Path(root), train, val)
    trained, judged = (scan_folder(folder, on_bad_image=on_bad_image) for folder in folders)
    check_same_classes((trained.root, trained.classes), (judged.root, judged.classes))
    splits = Splits(trained, judged, len(trained.classes))
    report_counts(root, splits, expect or {})
    if not in_memory:
        return splits
    return Splits(
        decode_all(splits.train, image_size=image_size),
        decode_all(splits.val, image_size=image_size),
        splits.num_classes,
    )


def open_digits(*, image_size: int, **_: Any) -> Splits:
    """Open scikit-learn's 1,797 handwritten digits: 1,437 for training, 360 for validation.

    The split is fixed and stratified. Images are scaled bilinearly from 8 to ``image_size``
    pixels and have three equal channels. They are always in memory and never bad.

    Args:
        image_size: pixels of a side.
        _: fields of another opener, ignored.

    Source: the mini protocol (a stand-in for ImageNet-1k that needs no download).
    """
    whole = _load_digits(image_size)
    val = stratified_choice(whole.targets, _DIGITS_VAL, seed=0)
    train = np.setdiff1d(np.arange(len(whole)), val)
    return Splits(train=whole.select(train), val=whole.select(val), num_classes=10)


def open_cifar10(
    *,
    root: str,
    train: str,
    val: str,
    expect: Mapping[str, int] | None = None,
    image_size: int = 32,
    in_memory: bool = True,
    on_bad_image: str = "raise",
) -> Splits:
    """Open CIFAR-10: class folders under the root, else its python batches, else a download.

    Args:
        root: folder of the data set.
        train: folder of the training images in a class-folder copy.
        val: folder of the test images in a class-folder copy.
        expect: published counts; others are reported, not refused.
        image_size: pixels; python batches are always 32.
        in_memory: decode a class-folder copy once; python batches are always in memory.
        on_bad_image: raise | skip, for a class-folder copy.

    Raises:
        DataError: if there is neither copy and the download fails, or a copy is damaged.
    """
    if is_image_folder(Path(root) / train):
        return open_image_folder(
            root=root,
            train=train,
            val=val,
            expect=expect,
            image_size=image_size,
            in_memory=in_memory,
            on_bad_image=on_bad_image,
        )
    batches = cifar10_batches(Path(root))
    if image_size != 32:
        raise ConfigError(
            f"data.image_size={image_size}: CIFAR-10's python batches have 32 pixels; set "
            "data.image_size=32, or provide class folders train/ and test/ instead"
        )
    splits = Splits(read_cifar10(batches, "train"), read_cifar10(batches, "test"), 10)
    report_counts(root, splits, expect or {})
    return splits


def scan_folder(folder: Path | str, *, on_bad_image: str = "raise") -> FolderSource:
    """List the images of a folder of class folders, in the order of torchvision's ImageFolder.

    Args:
        folder: ``<folder>/<class>/*``; where it is missing, ``<folder>.pack`` stands for it.
        on_bad_image: raise | skip.

    Raises:
        DataError: if there is no class folder, or one without images, or the pack is damaged.
    """
    folder = Path(folder)
    pack = pack_of(folder)
    if pack is not None:
        return PackedSource(read_pack(pack), on_bad_image=on_bad_image)
    left_out = Counter()
    images = class_images(folder, left_out=left_out)
    check_class_folders(folder, images)
    _say_left_out(folder, left_out)
    targets = np.repeat(np.arange(len(images)), [len(files) for files in images.values()])
    names = list(chain.from_iterable(images.values()))
    return FolderSource(folder, names, targets, tuple(images), on_bad_image=on_bad_image)


def _say_left_out(folder: Path, left_out: Counter[str]) -> None:
    if not left_out:
        return
    endings = [ending or "without ending" for ending in sorted(left_out, key=lambda e: (not e, e))]
    shown = ", ".join(endings[:5]) + (", ..." if len(endings) > 5 else "")
    log.info(
        "%s: %s left out (%s); images end in %s",
        folder, plural(left_out.total(), "file"), shown, " ".join(IMAGE_SUFFIXES),
    )  # fmt: skip


def stratified_choice(targets: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Return sorted positions of ``count`` images, each class in proportion to its size.

    Shares are rounded by largest remainder, so that the total is exact.

    Args:
        targets: N class indices, int64.
        count: positions to choose, at most N.
        seed: decides which images of each class are chosen.
    """
    sizes = np.bincount(targets)
    share = sizes * (count / len(targets))
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: count - take.sum()]] += 1
    rng = np.random.RandomState(seed)
    chosen = [rng.permutation(np.flatnonzero(targets == label))[:n] for label, n in enumerate(take)]
    return np.sort(np.concatenate(chosen))


def report_counts(root: str, splits: Splits, expect: Mapping[str, int]) -> None:
    """Warn where a data set has other counts than the published ones.

    Args:
        root: its folder, for the message.
        splits: what was opened.
        expect: published counts (train, val, classes).
    """
    for what, count in expect.items():
        found = splits.sizes[what]
        if found != count:
            log.warning(
                "%s: has %s %s, but the published data set has %s; results are not comparable",
                root, f"{found:,}", "classes" if what == "classes" else f"{what} images",
                f"{count:,}",
            )  # fmt: skip


def _load_digits(image_size: int) -> MemorySource:
    """Return all 1,797 digits: uint8, three equal channels, scaled bilinearly from 8 pixels."""
    import torch

    table = _digits_table()
    small = torch.from_numpy(table[:, :64].reshape(-1, 1, 8, 8)) * (255.0 / 16.0)
    large = torch.nn.functional.interpolate(
        small, size=(image_size, image_size), mode="bilinear", align_corners=False
    )
    images = large.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    names = [f"digits/{i:04d}" for i in range(len(images))]
    return MemorySource(images, table[:, 64].astype(np.int64), tuple("0123456789"), names=names)


def _digits_table() -> np.ndarray:
    """Return 1797 x 65: 64 grey values in 0..16 and the class."""
    spec = find_spec("sklearn")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        # Importing scikit-learn takes a second; its file of digits does not need it.
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            with gzip.open(path, "rt") as lines:
                return np.loadtxt(lines, delimiter=",", dtype=np.float32)
    from sklearn.datasets import load_digits as load_from_sklearn

    digits = load_from_sklearn()
    return np.column_stack([digits.data, digits.target]).astype(np.float32)
