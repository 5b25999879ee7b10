"""One image file to a tensor of bytes: an ordinary JPEG by simplejpeg, others by Pillow.

Both decode with libjpeg-turbo, so the bytes are the same; only the time differs. Pillow has the
last word on files that are not as they should be, and decodes all on a machine without simplejpeg.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scaledrelu.data.decoding import MOST_PIXELS, read_image, to_rgb

COLOURS = ("YCbCr", "Gray", "RGB")  # simplejpeg's words for what Pillow decodes alike


def decode_pixels(path: str, content: bytes | None = None) -> Tensor:
    """Decode a file to 3 x H x W, uint8, RGB, the three values of a pixel side by side in memory.

    The pixels, and the errors, are those of ``decoding.decode``.

    Args:
        path: the file.
        content: its bytes, where they are at hand; the path is then only for messages.

    Raises:
        DataError, BadImageError: as ``decoding.decode``.
    """
    pixels = _by_simplejpeg(path, content)
    return read_image(path, _decoded, content) if pixels is None else pixels


def to_pixels(image: Image.Image | Tensor) -> Tensor:
    """Return an image in RGB as ``decode_pixels`` does; a tensor as it is."""
    if isinstance(image, Tensor):
        return image
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _decoded(path: str, image: Image.Image) -> Tensor:
    return to_pixels(to_rgb(path, image))


def jpeg_decoder() -> str:
    """Return the library that decodes ordinary JPEGs."""
    return "Pillow" if _simplejpeg() is None else "simplejpeg"


@cache
def _simplejpeg() -> ModuleType | None:
    """Return simplejpeg where it is installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


@dataclass(frozen=True, slots=True)
class Jpeg:
    """An ordinary JPEG: bytes that simplejpeg decodes to what Pillow would.

    Attributes:
        content: the bytes of the file.
        height: rows of the image.
        width: columns of the image.
    """

    content: bytes
    height: int
    width: int


def ordinary_jpeg(path: str, content: bytes | None = None) -> Jpeg | None:
    """Read the header of a file; None if it is not an ordinary JPEG, or without simplejpeg.

    Args:
        path: the file.
        content: its bytes, where they are at hand.
    """
    library = _simplejpeg()
    if library is None:
        return None
    try:
        if content is None:
            with open(path, "rb") as stream:
                content = stream.read()
        height, width, colours, _ = library.decode_jpeg_header(content)
    except (OSError, ValueError):
        return None
    # Pillow refuses larger images, and turns CMYK into RGB by a formula of its own.
    if height * width > 2 * (Image.MAX_IMAGE_PIXELS or MOST_PIXELS) or colours not in COLOURS:
        return None
    return Jpeg(content, height, width)


def _by_simplejpeg(path: str, content: bytes | None) -> Tensor | None:
    """Return the pixels of an ordinary JPEG; None without simplejpeg, or for Pillow to judge."""
    jpeg = ordinary_jpeg(path, content)
    if jpeg is None:
        return None
    try:
        pixels = _simplejpeg().decode_jpeg(jpeg.content, colorspace="RGB")
    except ValueError:  # also bytes that it would decode with a warning only
        return None
    return torch.from_numpy(pixels).permute(2, 0, 1)
