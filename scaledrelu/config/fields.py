"""How a field of a group declares what it may hold: its range, its words, what it names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scaledrelu.config.ranges import Range


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a field may hold besides values of its type.

    Attributes:
        range: what a number, or every number of a list, may be.
        words: the words that a text, or every text of a list, may be.
        build: a dictionary with ``_target_``, which names other code, may stand for a word.
        arguments: argument -> range or words, for the known arguments of an open dictionary.
        names_folder: the text becomes a folder.
        names_file: the text becomes part of a file name.
    """

    range: Range | None = None
    words: tuple[str, ...] = ()
    build: bool = False
    arguments: Mapping[str, Range | tuple[str, ...]] = dataclasses.field(default_factory=dict)
    names_folder: bool = False
    names_file: bool = False


def number(allowed: Range) -> Any:
    """Declare a number, or a list of numbers, that lies in a range."""
    return _declared(range=allowed)


def word(*allowed: str, or_build: bool = False) -> Any:
    """Declare a text, or a list of texts, of a closed set.

    Args:
        allowed: the words.
        or_build: a dictionary with ``_target_`` may stand for a word, so that code from elsewhere
            needs no new word here.
    """
    return _declared(words=allowed, build=or_build)


def build(**arguments: Range | tuple[str, ...]) -> Any:
    """Declare an open dictionary that names code (``_target_``) and holds its arguments.

    Args:
        arguments: ranges and words of the arguments that are known, wherever they occur in it.
    """
    return _declared(arguments=arguments)


def folder() -> Any:
    """Declare a text that names a folder below the results."""
    return _declared(names_folder=True)


def part_of_path() -> Any:
    """Declare a text that becomes part of a file name."""
    return _declared(names_file=True)


def _declared(**facts: Any) -> Any:
    return dataclasses.field(metadata={"allowed": Allowed(**facts)})
