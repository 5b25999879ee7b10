"""An ordinary JPEG of which only a box is decoded: its pixels are those of the whole image.

The rows and columns outside of the box are read, but not turned into pixels. That is NVIDIA's
nvImageCodec on the host; where it is not installed, the whole image is decoded (``pixels``).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scaledrelu.data.pixels import decode_pixels, jpeg_decoder, ordinary_jpeg

_ENDS = b"\xff\xd9"  # a file that is cut off anywhere lacks it
_NARROW = 16  # columns; libjpeg-turbo smooths colours otherwise where a box has only one or two


class Encoded:
    """A JPEG in memory, not decoded yet.

    Args:
        path: its file, for messages.
        content: the bytes of the file.
        height: rows of the image.
        width: columns of the image.

    Attributes:
        outline: 3 x height x width, uint8, without memory of its own: the size of the image, for
            whoever draws a box.
    """

    def __init__(self, path: str, content: bytes, *, height: int, width: int):
        self._path, self._content = path, content
        self.outline = torch.empty(1, dtype=torch.uint8).expand(3, height, width)

    def crop(self, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a box of the image: 3 x height x width, uint8, pixel by pixel in memory.

        Args:
            top: first row.
            left: first column.
            height: rows.
            width: columns.

        Raises:
            DataError, BadImageError: as ``decode_pixels``, where the box cannot be decoded alone.
        """
        box = (top, left, top + height, left + width)
        alone = _decode(self._content, box) if width > _NARROW else None
        if alone is not None:
            return torch.from_numpy(alone).permute(2, 0, 1)
        whole = decode_pixels(self._path, self._content)  # Pillow has the last word on damage
        return whole[:, top : top + height, left : left + width]


def open_regions(path: str, content: bytes | None = None) -> Encoded | Tensor:
    """Return an ordinary JPEG undecoded, anything else as ``decode_pixels`` does.

    A file that is cut off is refused here; other damage is noticed by ``Encoded.crop``, and only
    where it matters to the box.

    Args:
        path: the file.
        content: its bytes, where they are at hand; the path is then only for messages.

    Raises:
        DataError, BadImageError: as ``decode_pixels``.
    """
    if _library() is not None:
        found = ordinary_jpeg(path, content)
        if found is not None and found.content.endswith(_ENDS):
            return Encoded(path, found.content, height=found.height, width=found.width)
    return decode_pixels(path, content)


def region_decoder() -> str:
    """Return the library that decodes a box of an ordinary JPEG."""
    return jpeg_decoder() if _library() is None else "nvImageCodec"


@cache
def _library() -> Any:
    """Return nvImageCodec where it is installed; None elsewhere.

    It loads its decoder of JPEGs on the host and no other: those for GPUs complain in several lines
    where there is no CUDA, and would open the GPU in every loader process.
    """
    if sys.platform != "linux":
        return None
    try:
        import nvidia
    except ImportError:
        return None
    places = [Path(folder, "nvimgcodec", "extensions") for folder in nvidia.__path__]
    found = [path for place in places for path in place.glob("libjpeg_turbo_ext.so*")]
    try:
        with tempfile.TemporaryDirectory() as folder:
            for path in found:
                Path(folder, path.name).symlink_to(path)
            with _environment(NVIMGCODEC_EXTENSIONS_PATH=folder, PYNVIMGCODEC_VERBOSITY="0"):
                from nvidia import nvimgcodec
    except (ImportError, OSError):  # not installed, or no place for a temporary folder
        return None
    return nvimgcodec if found else None


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables of this process's environment, and put back what was there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _decode(content: bytes, box: tuple[int, int, int, int]) -> np.ndarray | None:
    """Return a box of a JPEG, height x width x 3; None if it cannot be decoded.

    Args:
        content: the bytes of the file.
        box: first row and column, and those after the last.
    """
    library, decoder = _library(), _decoder(os.getpid())
    stream = library.CodeStream(content).get_sub_code_stream(region=library.Region(*box))
    upright = library.DecodeParams(apply_exif_orientation=False)  # Pillow turns nothing either
    found = decoder.decode(stream, params=upright)
    return None if found is None else np.asarray(found)


@cache
def _decoder(process: int) -> Any:
    """Return the decoder of a process: one thread, no GPU, the arithmetic of simplejpeg.

    Args:
        process: id of this process; a forked one does not use its parent's.
    """
    library = _library()
    return library.Decoder(
        device_id=library.NVIMGCODEC_DEVICE_CPU_ONLY,
        max_num_cpu_threads=1,
        backends=[library.Backend(library.CPU_ONLY)],
        options=":fancy_upsampling=1 :fast_idct=0",
    )
