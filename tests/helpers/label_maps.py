"""Label maps that tell which image they belong to, and one of many values."""

from pathlib import Path

import torch

from scaledrelu.labels.maps import label_path


def label_map(number, *, classes=3, side=4, depth=5):
    """Return a map that says which image it belongs to: its first logit is the number."""
    generator = torch.Generator().manual_seed(number)
    logits = torch.randn(depth, side, side, generator=generator)
    logits[0] = float(number)
    order = torch.rand(max(classes, depth), side, side, generator=generator).topk(depth, 0).indices
    return torch.stack((logits, (order % classes).float())).half()


def write_maps(root, source, **kwargs):
    """Write the map of every image of a source, and return their folder."""
    for index in range(len(source)):
        path = Path(root) / label_path(source, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(label_map(index, **kwargs), path)
    return Path(root)


def some_map(depth=5, side=6):
    """Return a map of ten classes: random numbers, the same at every call."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(depth, side, side, generator=generator)
    classes = torch.randint(10, (depth, side, side), generator=generator).float()
    return torch.stack((logits, classes)).half()
