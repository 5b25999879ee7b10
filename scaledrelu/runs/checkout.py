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

    Args:
        commit: what the provenance of the result says.
    """
    here = git_commit()
    if commit == here and here is not None and not here.endswith(EDITED):
        return ""
    made = f"commit {commit}" if commit else "an unknown commit"
    return f"trained from {made}; this checkout is at {here or 'an unknown one'}"
