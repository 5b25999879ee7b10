"""One image file to a tensor of bytes: torchvision decodes ordinary JPEGs, Pillow all others.

Both decode with libjpeg-turbo, so the bytes are the same; torchvision needs less time for them.
Pillow still reads every header and has the last word on files that are not as they should be.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scaledrelu.data.decoding import read_image, to_rgb


def decode_pixels(path: str, content: bytes | None = None) -> Tensor:
    """Decode a file to 3 x H x W, uint8, RGB, the three values of a pixel side by side in memory.

    The pixels, and the errors, are those of ``decoding.decode``.

    Args:
        path: the file.
        content: its bytes, where they are at hand; the path is then only for messages.

    Raises:
        DataError, BadImageError: as ``decoding.decode``.
    """
    return read_image(path, _decoded, content)


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
    """Return the pixels of an open JPEG; None if Pillow has to read it."""
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
