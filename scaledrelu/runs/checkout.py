"""Which code lies here: the commit of this checkout, and whether a result is of the same one."""

from __future__ import annotations

import subprocess
from pathlib import Path

EDITED = "-dirty"  # behind a commit from which files differ


def git_commit() -> str | None:
    """Return the commit of this checkout, marked if files differ from it; None outside git."""
    describe = ("describe", "--always", f"--dirty={EDITED}", "--abbrev=12", "--exclude=*")
    args = ["git", "-C", str(Path(__file__).parent), *describe]
    try:
        done = subprocess.run(args, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def trained_elsewhere(commit: str | None) -> str:
    """Return from which commit a result was trained where this checkout may be other code; else "".

    Outside git nothing is known of this one's code, and nothing is said.

    Args:
        commit: what the provenance of the result says.
    """
    differs = other_code(commit or "unknown", git_commit())
    return f"trained {differs}" if differs else ""


def other_code(made: str, here: str | None) -> str:
    """Return how this checkout may be other code than that of a commit; "" where it is not.

    Args:
        made: a commit that :func:`git_commit` gave.
        here: what it gives now; None outside git.
    """
    if here is None:
        return ""
    if made != here:
        return f"from commit {made}; this checkout is at {here}"
    return f"from commit {made}, with edits then and now" if here.endswith(EDITED) else ""
