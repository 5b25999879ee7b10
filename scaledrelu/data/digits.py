"""scikit-learn's handwritten digits as small colour images, and a split that never changes."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from scaledrelu.data.sources import MemorySource


def load_digits(image_size: int) -> MemorySource:
    """Return all 1,797 digits: uint8, three equal channels, scaled bilinearly from 8 pixels.

    Args:
        image_size: pixels.
    """
    import torch

    table = _table()
    small = torch.from_numpy(table[:, :64].reshape(-1, 1, 8, 8)) * (255.0 / 16.0)
    large = torch.nn.functional.interpolate(
        small, size=(image_size, image_size), mode="bilinear", align_corners=False
    )
    images = large.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    names = [f"digits/{i:04d}" for i in range(len(images))]
    return MemorySource(images, table[:, 64].astype(np.int64), tuple("0123456789"), names=names)


def stratified_choice(targets: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Return sorted positions of ``count`` images, each class in proportion to its size.

    Shares are rounded by largest remainder, so that the total is exact.

    Args:
        targets: class of every image, int64.
        count: images to choose.
        seed: of the draw.
    """
    sizes = np.bincount(targets)
    share = sizes * (count / len(targets))
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: count - take.sum()]] += 1
    rng = np.random.RandomState(seed)
    chosen = [rng.permutation(np.flatnonzero(targets == label))[:n] for label, n in enumerate(take)]
    return np.sort(np.concatenate(chosen))


def _table() -> np.ndarray:
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
