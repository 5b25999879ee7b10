"""Train what is missing of some tables and write them: `make table1` is this, with profile=mini.

python scripts/sweep.py tables=[table1] profile=mini seeds=0,1,2
python scripts/sweep.py dry_run=true                       # the plan only
python scripts/sweep.py tables=[table1] redo=deit-0123456789ab
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.errors import ScaledReluError, reader_may_leave
from scaledrelu.launch.sweep import run_sweep
from scaledrelu.tables.settings import Settings, load_settings, settings_help

say = partial(print, flush=True)


@reader_may_leave()
def main(work: Callable[[Settings, Callable[[str], None]], int], text: str) -> int:
    """Read ``key=value`` arguments, do the work, turn a user's mistake into one line and exit 2."""
    arguments = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in arguments):
        say(f"{text}\n{settings_help()}")
        return 0
    try:
        return work(load_settings(arguments), say)
    except ScaledReluError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(run_sweep, __doc__))
