"""Pack an image folder: the files of each split, byte for byte, in one file that is read faster.

python scripts/pack_images.py --data data/imagenet1k --out /fast/imagenet1k
python scripts/pack_images.py --data data/cifar10 --splits train test --out /fast/cifar10
python scripts/pack_images.py --check /fast/imagenet1k
Then data.root=/fast/imagenet1k reads the packs; runs keep their ids. A pack gets its name only when
it is complete: after an interruption, the same command packs what is missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.command_line import option_parser
from scaledrelu.errors import DataError
from scaledrelu.inputs.pack import SUFFIX
from scaledrelu.text import data_size
from scripts._resumable import run_resumable

SPLITS = ("train", "val")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = option_parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help="folder with <split>/<class>/<images>")
    source.add_argument(
        "--check",
        metavar="OUT",
        help="write nothing; check that every image of the packs in OUT is as it was",
    )
    parser.add_argument("--out", help="with --data: folder to write <split>.pack to")
    parser.add_argument(
        "--splits",
        nargs="+",
        default=SPLITS,
        metavar="SPLIT",
        help=f"with --data: folders to pack, default: {' '.join(SPLITS)}",
    )
    options = parser.parse_args(arguments)
    if (options.data is None) != (options.out is None):
        parser.error("--data and --out belong together")
    return options


def main(options: argparse.Namespace) -> None:
    """Pack or check, and print one line a pack."""
    from scaledrelu.data.packing import check_pack, pack_folder

    if options.check:
        for path in _packs_in(Path(options.check)):
            found = check_pack(path)
            print(f"{path}: {found.images:,} images, as they were packed")
        return
    for split in options.splits:
        found = pack_folder(Path(options.data) / split, Path(options.out))
        print(
            f"{found.path}: {found.images:,} images in {found.classes:,} classes, "
            f"{data_size(found.size)}{'' if found.is_new else ', there already'}"
        )


def _packs_in(folder: Path) -> list[Path]:
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if not found:
        raise DataError(f"--check={folder}: holds no packs; give the folder of <split>{SUFFIX}")
    return found


if __name__ == "__main__":
    sys.exit(run_resumable(lambda: main(parse(sys.argv[1:]))))
