"""What the scripts about one finished run share: where it lies, and whose code it may use."""

from __future__ import annotations

import argparse


def add_place_of_run(parser: argparse.ArgumentParser) -> None:
    """Add ``--results`` and ``--trust``."""
    parser.add_argument("--results", default="results", help="results folder, default: results")
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="MODULE",
        help="further module whose code the run may use; repeatable",
    )
