"""Leaves a picture alone that shows the same already: drawing costs more than a whole report.

What a picture on disk was drawn from is noted in ``<results>/.cache``: what it shows, the code of
the reports, and matplotlib's version. Anything else than the noted bytes is drawn anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from scaledrelu.files import write_atomic
from scaledrelu.reports.drawing import SUFFIXES

CODE = Path(__file__).parent
log = logging.getLogger(__name__)


def draw_changed(
    place: Path, shown: object, draw: Callable[[], list[Path]], *, results: Path
) -> list[Path]:
    """Draw a picture, unless the one on disk was drawn from the same by the same code.

    Args:
        place: path of the picture without suffix, below the results.
        shown: everything that the picture is a function of; its ``repr`` tells it all.
        draw: writes the files of the picture and returns them.
        results: results folder.
    """
    name = "-".join(place.relative_to(results).parts)
    note = results / ".cache" / f"drawn-{name}.json"
    key = hashlib.sha256(f"{_code()}\0{shown!r}".encode()).hexdigest()
    drawn = [place.with_name(f"{place.name}.{suffix}") for suffix in SUFFIXES]
    there = _digests(drawn)
    if len(there) == len(drawn) and _read(note) == {"key": key, "files": there}:
        return drawn
    written = draw()
    text = json.dumps({"key": key, "files": _digests(written)}, indent=1)
    try:
        write_atomic(note, f"{text}\n")
    except OSError as error:  # a read-only folder costs time, not correctness
        log.info("%s: not noted (%s)", note, error.strerror)
    return written


@cache
def _code() -> str:
    """Return what is another one when pictures may look different."""
    found = hashlib.sha256(version("matplotlib").encode())
    for path in sorted(CODE.rglob("*.py")):
        found.update(path.read_bytes() + b"\0")
    return found.hexdigest()


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    """Return name -> digest of the files that are there."""
    there = (path for path in paths if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in there}


def _read(note: Path) -> object:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
