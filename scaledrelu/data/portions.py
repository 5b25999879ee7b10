"""Part of CIFAR-10 as an experiment of its own: training images, images for choices, test images.

Which files these are is fixed by their order in each class, so that nothing that was chosen on
held-out images has seen a test image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scaledrelu.config.group import typed
from scaledrelu.config.portion import TEST, check_portion
from scaledrelu.data.datasets import Splits, open_cifar10, report_counts
from scaledrelu.data.memory import decode_all
from scaledrelu.data.sources import FolderSource, ImageSource, subset
from scaledrelu.errors import ConfigError

_CHOICE_SEED = 0  # of the training images


def open_cifar10_portion(
    *,
    root: str,
    train: str,
    val: str,
    test: str,
    train_files: Sequence[int],
    held_out_files: Sequence[int],
    test_files: Sequence[int],
    train_images: int,
    expect: Mapping[str, int] | None = None,
    image_size: int = 32,
    in_memory: bool = True,
    on_bad_image: str = "raise",
) -> Splits:
    """Open CIFAR-10 as ``open_cifar10`` does and keep part of it.

    A range ``[first, end]`` counts the images of each class in the order of their names (of the
    published batches: in the published order); ``end`` is not in it.

    Args:
        root: folder of the data set.
        train: folder of the training images in a class-folder copy.
        val: what runs are judged on: test | held_out (training images that no run trains on).
        test: folder of the test images in a class-folder copy.
        train_files: range of the training images.
        held_out_files: range of the images for choices, of the training set too.
        test_files: range of the test images.
        train_images: how many of the training images are kept, an equal share of every class.
        expect: counts of the whole portion; others are reported, not refused.
        image_size: pixels; published batches are always 32.
        in_memory: decode a class-folder copy once; published batches are always in memory.
        on_bad_image: raise | skip, for a class-folder copy.

    Raises:
        DataError: if CIFAR-10 is not there and the download fails, or it is damaged.
        ConfigError: a word, a range or a number that is not allowed.

    Source: the protocol measured for Table 2 on natural images (docs/cifar.md).
    """
    check_portion(
        {
            "val": val,
            "train_files": train_files,
            "held_out_files": held_out_files,
            "test_files": test_files,
            "train_images": train_images,
        }
    )
    whole = open_cifar10(
        root=root,
        train=train,
        val=test,
        image_size=image_size,
        in_memory=False,
        on_bad_image=on_bad_image,
    )
    pool = _of_each_class(whole.train, "train_files", train_files)
    if train_images > len(pool):
        raise ConfigError(
            f"data.build.train_images={train_images}: must lie in [1, {len(pool)}], the number of "
            "images in data.build.train_files"
        )
    judged = (
        _of_each_class(whole.val, "test_files", test_files)
        if val == TEST
        else _of_each_class(whole.train, "held_out_files", held_out_files)
    )
    chosen = subset(pool, train_images / len(pool), seed=_CHOICE_SEED)
    kept = [_in_memory(source, image_size, in_memory) for source in (chosen, judged)]
    splits = Splits(*kept, whole.num_classes)
    report_counts(root, splits, expect or {})
    return splits


def _of_each_class(source: ImageSource, name: str, wanted: Sequence[int]) -> ImageSource:
    """Return the images of a range of every class."""
    first, end = wanted
    least = int(np.bincount(source.targets).min())
    if end > least:
        raise ConfigError(
            f"data.build.{name}={typed(wanted)}: a class has {least:,} images only; end the range "
            f"at {least} or below"
        )
    places = [np.flatnonzero(source.targets == label) for label in range(len(source.classes))]
    return source.select(np.sort(np.concatenate([place[first:end] for place in places])))


def _in_memory(source: ImageSource, image_size: int, wanted: bool) -> ImageSource:
    if wanted and isinstance(source, FolderSource):
        return decode_all(source, image_size=image_size)
    return source
