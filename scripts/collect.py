"""Show runs on disk as a table: how they ended, their metrics, and the settings that differ.

python scripts/collect.py                                        every run in results/runs
python scripts/collect.py stem.label=ViT_c,ViT_p 'lr.base>=1e-3' outcome=crash tags=table1
python scripts/collect.py tags=table1 --by stem.label,lr.base --metric val/top1 --pivot
python scripts/collect.py tags=table1 --by stem.label,lr.base --plot rates --csv rates.csv
python scripts/collect.py --multirun results/runs/.hydra/2026-01-31_12-00-00-000000
python scripts/collect.py --results results/published/mini method=deit --markdown deit.md

A filter is key=value. A key is one of
  outcome (ok, crash, failed, damaged, running, missing), method, tags, seed, or a metric
  stem.name: the option of conf/stem with the stem's layers (stem.label is what tables print, and
    several stems share it)
  any key that `train.py --cfg job` prints
Separate several values by commas. * stands for any letters; !=, >, >=, < and <= compare. Quote a
filter that contains > or <.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.command_line import option_parser
from scaledrelu.reports.collect.main import Asked, collect
from scaledrelu.reports.collect.multirun import results_of
from scaledrelu.runs.ending import concluded

ENDING = "Exit status: 0 a table was printed; 1 no run matches; 2 wrong input; 130 interrupted."


def parse(arguments: Sequence[str]) -> Asked:
    """Read the command line."""
    parser = option_parser(__doc__, prog="collect.py", epilog=ENDING)
    parser.add_argument("filters", nargs="*", metavar="key=value")
    parser.add_argument(
        "--results", help="results folder, default: that of the multirun, else results"
    )
    parser.add_argument(
        "--multirun", type=Path, metavar="FOLDER", help="only the runs of one multirun"
    )
    parser.add_argument(
        "--keys", help="settings to show, e.g. stem.label,lr.base; all shows every one"
    )
    parser.add_argument("--by", help="one line for each group of runs, e.g. stem.label,lr.base")
    parser.add_argument("--metric", help="e.g. val/top1 or val/top1_best; with --by only one")
    parser.add_argument(
        "--pivot", action="store_true", help="turn the last key of --by into columns"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write unrounded values there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as PNG and SVG")
    options = parser.parse_intermixed_args(arguments)
    options.results = options.results or results_of(options.multirun)
    return Asked(**vars(options))


def main() -> int:
    """Print what is asked for; return the exit status."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return concluded(lambda: collect(parse(sys.argv[1:]), print, width=width))


if __name__ == "__main__":
    sys.exit(main())
