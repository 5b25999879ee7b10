"""The command lines of scripts that take ``--options``: how their parsers read and show them."""

from __future__ import annotations

import argparse
from typing import Any


def option_parser(text: str, **settings: Any) -> argparse.ArgumentParser:
    """Return a parser that knows an option by its whole name only, so that none is guessed.

    Args:
        text: what the help says, whose lines are kept.
        settings: further arguments of ``argparse.ArgumentParser``, such as ``epilog``.
    """
    return argparse.ArgumentParser(
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **settings,
    )
