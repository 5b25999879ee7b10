"""Images for evaluation that are decoded once a run: their crops stay in memory, as bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from scaledrelu.data.batch import RawBatch
from scaledrelu.data.loaders import EvalLoader

MOST = 0.1  # of the free memory; more, and a few runs on one machine could fill it
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


class KeptBatches:
    """The batches of a loader, read by it in the first whole pass and from memory in later ones.

    Args:
        loader: yields batches of bytes, the same in every pass; its processes end with the first.
        pin: put batches in page-locked memory; those that are kept lie in ordinary memory.
    """

    def __init__(self, loader: EvalLoader, *, pin: bool):
        self._loader, self._pin = loader, pin
        self._kept: list[RawBatch] | None = None

    def __iter__(self) -> Iterator[RawBatch]:
        if self._kept is not None:
            for raw in self._kept:
                yield raw.pin_memory() if self._pin else raw
            return
        kept = []
        for raw in self._loader:
            # The loader needs its buffer again, and other programs page-locked memory.
            images = raw.images.clone(memory_format=torch.contiguous_format)
            kept.append(replace(raw, images=images, targets=raw.targets.clone()))
            yield raw
        self._kept = kept
        self._loader.close()

    def close(self) -> None:
        """End the loader processes and forget the images."""
        self._loader.close()
        self._kept = None


def free_memory() -> int:
    """Return how many bytes this machine, and the limit of the job or container, leave to a run.

    Where the system does not tell what is free, all memory counts as free.
    """
    try:
        told = (_PROC / "meminfo").read_text()
    except OSError:
        told = ""
    free = re.search(r"^MemAvailable: *(\d+) kB", told, re.MULTILINE)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(1024 * int(free[1]) if free else whole, *_limits(), whole)


def _limits() -> list[int]:
    """Return the memory limits of the control groups that this process is in."""
    try:
        groups = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for _, kind, path in (line.split(":", 2) for line in groups):
        if kind and "memory" not in kind.split(","):
            continue
        top, name = (
            (_CGROUPS / "memory", "memory.limit_in_bytes") if kind else (_CGROUPS, "memory.max")
        )
        inner = Path(path.lstrip("/"))
        for place in (inner, *inner.parents):
            try:
                text = (top / place / name).read_text().strip()
            except OSError:
                continue
            found += [int(text)] if text.isdecimal() else []
    return found
