"""One image file to a tensor of bytes: an ordinary JPEG by the fastest decoder, others by Pillow.

That is simplejpeg, or torchvision on a machine that lacks it. All decode with libjpeg-turbo, so the
bytes are the same; only the time differs. Pillow has the last word on files that are not as they
should be.
"""

from __future__ import annotations

import io
import warnings
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
    # Pillow turns CMYK into RGB by a formula of its own.
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        pixels = _decoded_jpeg(image)
        if pixels is not None:
            return pixels
    return to_pixels(to_rgb(path, image))


def _decoded_jpeg(image: Image.Image) -> Tensor | None:
    """Return the pixels of an open JPEG by torchvision; None if Pillow has to read it."""
    image.fp.seek(0)
    at_hand = isinstance(image.fp, io.BytesIO)
    content = (
        np.frombuffer(image.fp.getbuffer(), dtype=np.uint8)
        if at_hand
        else np.fromfile(image.fp, dtype=np.uint8)
    )
    try:
        with warnings.catch_warnings():
            # torchvision 0.29 announces that its decoders will go, in favour of TorchCodec.
            warnings.simplefilter("ignore", DeprecationWarning)
            from torchvision.io import ImageReadMode, decode_jpeg

            return decode_jpeg(torch.from_numpy(content), mode=ImageReadMode.RGB)
    except (ImportError, RuntimeError):  # no such decoder, or bytes that it refuses
        return None


def jpeg_decoder() -> str:
    """Return the library that decodes ordinary JPEGs."""
    return "torchvision" if _simplejpeg() is None else "simplejpeg"


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
