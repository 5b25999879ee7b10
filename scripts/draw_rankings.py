"""Draw queries of a finished re-identification run and the gallery images that it ranks first.

python scripts/draw_rankings.py --run reid-0123456789ab --out ranked.png
Correct images have a green frame, wrong ones a red one; the number below is the person.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.command_line import option_parser
from scaledrelu.config.ranges import FEW, within
from scaledrelu.runs.ending import concluded
from scripts._runs import add_place_of_run


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = option_parser(__doc__)
    parser.add_argument(
        "--run",
        metavar="ID",
        required=True,
        help="id of a finished re-identification run (Table 4)",
    )
    add_place_of_run(parser)
    parser.add_argument("--out", metavar="FILE", required=True, help="PNG file to write")
    parser.add_argument(
        "--count", type=within(FEW), default=8, help="number of queries, default: 8"
    )
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> None:
    """Draw and save the picture."""
    from scaledrelu.runs.rankings import ranking_picture

    picture = ranking_picture(
        options.results, options.run, count=options.count, trust=options.trust
    )
    picture.save(options.out)
    print(f"drew {options.out}")


if __name__ == "__main__":
    sys.exit(concluded(lambda: main(parse(sys.argv[1:]))))
