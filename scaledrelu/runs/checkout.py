"""Which code lies here: the commit of this checkout, and whether a result is of the same one."""

from __future__ import annotations

import subprocess

from scaledrelu.config.places import ROOT

EDITED = "-dirty"  # behind a commit from which files differ
# Lists files that git neither has nor ignores. What runs read and write is no code.
CODE = ("*.py", "conf", ":(exclude)results", ":(exclude)data")
UNKNOWN = ("ls-files", "--others", "--exclude-standard", "--", *CODE)


def git_commit() -> str | None:
    """Return the commit of this checkout, marked if its code differs from it; None outside git.

    It differs by edits of any file, and by files of Python or in ``conf/`` that git does not have,
    where it can list them quickly.
    """
    describe = ("describe", "--always", f"--dirty={EDITED}", "--abbrev=12", "--exclude=*")
    commit = _git(*describe, limit_s=10.0)
    if commit is None or commit.endswith(EDITED):
        return commit
    return commit + EDITED if _git(*UNKNOWN, limit_s=3.0) else commit


def _git(*args: str, limit_s: float) -> str | None:
    """Return what git prints; None where it fails or takes too long."""
    command = ["git", "-C", str(ROOT), *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit_s)
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
