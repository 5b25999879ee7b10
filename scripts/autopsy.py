"""Replay the last steps of a run that crashed, and name the first module that goes bad.

python scripts/autopsy.py --run deit-0123456789ab
The steps since its last checkpoint are trained again, in the run's precision and in fp32, with
every module watched; each replay takes as long as those steps took. The run's folder is only read.
If a run collapsed with a finite loss, the script shows how the dead network differs from the same
network while it was alive.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.command_line import option_parser
from scaledrelu.config.ranges import Range, within
from scaledrelu.runs.ending import concluded
from scripts._runs import add_place_of_run

FACTORS = Range("(1, 1000000000]")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = option_parser(__doc__)
    parser.add_argument("--run", metavar="ID", required=True, help="id of a run that crashed")
    add_place_of_run(parser)
    parser.add_argument(
        "--factor",
        type=within(FACTORS),
        default=100.0,
        help="name what grew or shrank by more than this factor, default: 100",
    )
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> None:
    """Examine the run and print what was found."""
    from scaledrelu.runs.autopsy import examine
    from scaledrelu.runs.autopsy_text import autopsy_text
    from scaledrelu.runs.replay import find_crashed

    crashed = find_crashed(options.results, options.run, trust=options.trust)
    print(autopsy_text(examine(crashed), factor=options.factor))


if __name__ == "__main__":
    sys.exit(concluded(lambda: main(parse(sys.argv[1:]))))
