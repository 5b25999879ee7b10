"""Judge the paper's claims by finished runs and by the paper's own numbers; train nothing.

python scripts/claims.py profile=mini
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.files import writing_to
from scaledrelu.reports.claims.page import counts_text
from scaledrelu.reports.claims.write import write_claims
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say
from scripts._tables import run_script


def claims(settings: Settings, say: Say) -> int:
    """Write the claims with their verdicts; claims that nothing was run for are no failure.

    Args:
        settings: profile, seeds, results folder and overrides.
        say: prints one line.
    """
    with writing_to(settings.results):
        written, judged = write_claims(settings)
    for path in written:
        say(f"wrote {path}")
    say(counts_text(judged))
    return 0


if __name__ == "__main__":
    sys.exit(run_script("claims", claims, __doc__))
