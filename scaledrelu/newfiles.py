"""Files that are written under a temporary name first: never through a link that lies in wait."""

from __future__ import annotations

from pathlib import Path
from typing import IO


def open_new(path: Path) -> IO[bytes]:
    """Open a file for writing that is ours alone: whatever has its name goes, a link unfollowed.

    Run folders travel, and a link under a name that can be guessed would let a run write anywhere.

    Raises:
        OSError: something that is no file has the name, or the folder cannot be written.
    """
    path.unlink(missing_ok=True)
    return path.open("xb")
