"""What scripts share that go on where they were left: progress in lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from scaledrelu.runs.ending import concluded


def run_resumable(work: Callable[[], None]) -> int:
    """Do the work with progress on standard output and return the exit status.

    Args:
        work: what a script does; done again after Ctrl-C, it goes on.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return concluded(work)
