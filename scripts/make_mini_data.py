"""Generate a small person re-identification data set in the layout of Market-1501 (seconds).

python scripts/make_mini_data.py --preset market --out data/mini_market --picture market.png
The same preset and seed give the same files. Existing files are overwritten.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.command_line import option_parser
from scaledrelu.config.ranges import SEED, within
from scaledrelu.data.people.folder import write_mini_reid
from scaledrelu.data.people.sheet import save_sheet
from scaledrelu.data.people.sightings import PRESETS
from scaledrelu.runs.ending import concluded


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = option_parser(__doc__)
    parser.add_argument(
        "--preset",
        required=True,
        choices=PRESETS,
        help="size and difficulty; msmt is the harder one",
    )
    parser.add_argument("--out", required=True, help="folder to write the data set to")
    parser.add_argument(
        "--seed", type=within(SEED), default=0, help="seed of the people, default: 0"
    )
    parser.add_argument("--picture", metavar="FILE", help="also draw a contact sheet (PNG)")
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> None:
    """Write the data set and, where asked, its contact sheet."""
    made = write_mini_reid(PRESETS[options.preset], options.out, seed=options.seed)
    counts = ", ".join(f"{count} {what}" for what, count in made["counts"].items())
    print(f"made {options.out}: {counts}; sha256 {made['sha256'][:12]}")
    if options.picture:
        save_sheet(options.out, options.picture)
        print(f"drew {options.picture}")


if __name__ == "__main__":
    sys.exit(concluded(lambda: main(parse(sys.argv[1:]))))
