"""Which files of a folder are data: one answer for those who read and those who hash them.

Hidden files and folders (``.ipynb_checkpoints``, ``._x.png``, an editor's ``.#x.png``) never are.
Looks at names only, opens no image, imports neither torch nor numpy.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from scaledrelu.errors import DataError

log = logging.getLogger(__name__)

# What torchvision's ImageFolder accepts.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
LABEL_SUFFIX = ".pt"  # of a label map


def _is_image_name(name: str) -> bool:
    """Say whether a file of this name is taken for an image."""
    return name[0] != "." and name.lower().endswith(IMAGE_SUFFIXES)


def class_images(
    folder: Path | str, *, left_out: Counter[str] | None = None
) -> dict[str, list[str]]:
    """Return the images of each class folder, in the order of torchvision's ImageFolder.

    Paths are relative to the folder and lie at any depth below that of their class. A broken link
    with the name of an image counts: an image is missing there. A link to one of its own parent
    folders is skipped.

    Args:
        folder: holds the class folders.
        left_out: filled in: how many files there are with which other ending, in lower case.

    Raises:
        DataError: if a folder cannot be listed.
    """
    left_out = Counter() if left_out is None else left_out
    return {name: _images_below(str(folder), name, left_out) for name in class_names(folder)}


def holds_image(folder: Path | str, name: str) -> bool:
    """Say whether a class folder holds an image at any depth; looks no further than the first.

    Args:
        folder: holds the class folders.
        name: one of them.

    Raises:
        DataError: if a folder cannot be listed.
    """
    entries = _visible(os.path.join(folder, name))
    if any(_is_image_name(entry.name) and _is_file(entry) for entry in entries):
        return True
    places = _places(str(folder), name)
    return any(path.lower().endswith(IMAGE_SUFFIXES) for _, files in places for path in files)


def class_sizes(folder: Path | str) -> Iterator[int]:
    """Yield the number of images of each class folder, listed when it is asked for.

    Raises:
        DataError: if a folder cannot be listed.
    """
    for name in class_names(folder):
        yield len(_images_below(str(folder), name, Counter()))


def class_names(folder: Path | str) -> list[str]:
    """Return the names of the class folders of a folder, sorted.

    Raises:
        DataError: if the folder cannot be listed.
    """
    top = str(folder)
    around = (os.path.realpath(top),)
    return sorted(
        entry.name
        for entry in _visible(top)
        if _is_folder(entry) and _place_of(entry, around) is not None
    )


def label_files(folder: Path | str) -> list[str]:
    """Return the label maps ``<class>/<image>.pt`` of a folder, relative to it, sorted.

    Raises:
        DataError: if a folder cannot be listed.
    """
    return list(_label_files(folder))


def first_label_file(folder: Path | str) -> str | None:
    """Return the first of :func:`label_files`, None if there is none; lists no more than it needs.

    Raises:
        DataError: if a folder cannot be listed.
    """
    return next(_label_files(folder), None)


def _label_files(folder: Path | str) -> Iterator[str]:
    for name in class_names(folder):
        for file in sorted(entry.name for entry in _visible(os.path.join(folder, name))):
            if file.endswith(LABEL_SUFFIX):
                yield f"{name}/{file}"


def all_files(folder: Path | str) -> list[str]:
    """Return every file below a folder that is not hidden, relative to it, in a fixed order.

    Raises:
        DataError: if a folder cannot be listed.
    """
    return [name for _, names in _walk(str(folder), "") for name in names]


def image_names(folder: Path | str) -> list[str]:
    """Return the names of the images that lie in one folder, sorted.

    Raises:
        DataError: if the folder cannot be listed.
    """
    return sorted(entry.name for entry in _visible(str(folder)) if _is_image_name(entry.name))


def _images_below(top: str, name: str, left_out: Counter[str]) -> list[str]:
    paths = [path for _, found in _walk(top, name) for path in found]
    images = [path for path in paths if path.lower().endswith(IMAGE_SUFFIXES)]
    if len(images) < len(paths):
        others = set(paths).difference(images)
        left_out.update(os.path.splitext(path)[1].lower() for path in others)
    return images


def _walk(top: str, start: str) -> list[tuple[str, list[str]]]:
    """Return the folders from ``top/start`` on, sorted, each with its files; relative to top."""
    return sorted(_places(top, start))


def _places(top: str, start: str) -> Iterator[tuple[str, list[str]]]:
    real = os.path.realpath(os.path.join(top, start))
    around = tuple(dict.fromkeys((os.path.realpath(top), real)))
    waiting = [(start, around)]
    while waiting:
        place, around = waiting.pop()
        prefix = f"{place}/" if place else ""
        files = []
        for entry in _visible(os.path.join(top, place)):
            if _is_folder(entry):
                inner = _place_of(entry, around)
                if inner is not None:
                    waiting.append((prefix + entry.name, (*around, inner)))
            elif _is_file(entry):
                files.append(prefix + entry.name)
        yield place, sorted(files)


def _visible(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.name[0] != ".")
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be listed ({error.strerror}); check that the folder exists and that "
            "you may read it"
        ) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a file or a broken link; pipes and sockets are neither."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True


def _place_of(entry: os.DirEntry[str], around: tuple[str, ...]) -> str | None:
    """Return where a folder really is; None for a link to one of its own parent folders."""
    if not entry.is_symlink():
        return os.path.join(around[-1], entry.name)
    real = os.path.realpath(entry.path)
    if any(f"{place}/".startswith(f"{real.rstrip('/')}/") for place in around):
        _warn_of_loop(entry.path)
        return None
    return real


@cache
def _warn_of_loop(path: str) -> None:
    log.warning("%s: skipped, since it is a link to one of its own parent folders", path)
