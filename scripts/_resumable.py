"""What scripts share that go on where they were left: progress in lines, one line for the end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from scaledrelu.config.compose import readable_errors


def run_resumable(work: Callable[[], None]) -> None:
    """Do the work with progress on standard output; a mistake is one line and exit 2.

    Args:
        work: what a script does; done again after Ctrl-C, it goes on.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        with readable_errors():
            work()
    except KeyboardInterrupt:
        sys.exit("error: interrupted; run the same command again to continue")
