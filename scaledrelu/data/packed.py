"""Images in a pack: decoded when asked, from a map of the file into memory.

Everything but where the bytes come from is as with the folder that was packed.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from dataclasses import replace
from typing import Any

import numpy as np

from scaledrelu.data.decoding import BadImageError
from scaledrelu.data.sources import FolderSource
from scaledrelu.errors import DataError
from scaledrelu.inputs.hash_store import HASH
from scaledrelu.inputs.hashes import Part
from scaledrelu.inputs.pack import Pack


class PackedSource(FolderSource):
    """Images in a pack, each compared with its SHA-256 when a process first reads it.

    Args:
        pack: the file and its index.
        on_bad_image: raise | skip.
    """

    def __init__(self, pack: Pack, *, on_bad_image: str = "raise"):
        counts = list(pack.counts.values())
        targets = np.repeat(np.arange(len(counts)), counts)
        super().__init__(
            pack.path, list(pack.names), targets, tuple(pack.counts), on_bad_image=on_bad_image
        )
        self._offsets = np.frombuffer(pack.offsets, dtype="<u8")
        self._hashes = np.frombuffer(pack.hashes, dtype=np.uint8).reshape(-1, HASH)
        self._places = np.arange(len(targets))  # in the pack
        self._sound = np.zeros(len(targets), dtype=bool)  # by place
        self._bytes: mmap.mmap | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None}  # every copy, in whichever process, maps it anew

    def select(self, indices: np.ndarray) -> PackedSource:
        """Return a source of these images only, with the same classes."""
        chosen = super().select(indices)
        chosen._places = self._places[indices]
        return chosen

    def files(self) -> Part:
        """Return names and hashes of the images, for a digest; no image is read."""
        return replace(super().files(), hashes=self._hashes[self._places].tobytes())

    def content(self, index: int) -> bytes:
        """Return the bytes of one image file.

        Raises:
            DataError: if they are not those that were packed.
        """
        place = int(self._places[index])
        if self._bytes is None:
            self._bytes = _mapped(self.root, least=int(self._offsets[-1]))
        start, end = self._offsets[place : place + 2].tolist()
        # Left alone, a system reads three times as much from the disk: it guesses around each page.
        page = start - start % mmap.PAGESIZE
        self._bytes.madvise(mmap.MADV_WILLNEED, page, end - page)
        content = self._bytes[start:end]
        if not self._sound[place]:
            if hashlib.sha256(content).digest() != self._hashes[place].tobytes():
                raise DataError(
                    f"{self.path_of(index)}: damaged: not the bytes that were packed; copy the "
                    "pack again, or remove it and run scripts/pack_images.py"
                )
            self._sound[place] = True
        return content

    def _decoded(self, index: int) -> Any:
        try:
            return self._decode(self.path_of(index), self.content(index))
        except BadImageError as error:
            remedy = f"{error.remedy} and pack the folder again"
            raise BadImageError(error.path, error.reason, remedy) from None


def _mapped(path: str, *, least: int) -> mmap.mmap:
    """Return a file in memory; DataError if it is gone, or now shorter than ``least`` bytes."""
    try:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size < least:
                raise DataError(f"{path}: was cut short since the run began; copy it again")
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore the file") from None
