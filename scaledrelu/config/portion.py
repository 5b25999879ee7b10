"""What a portion of CIFAR-10 may be: words and ranges of its opener that need no file to check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaledrelu.config.group import require, typed
from scaledrelu.errors import nearest

JUDGED = TEST, HELD_OUT = "test", "held_out"
RANGES = ("train_files", "held_out_files", "test_files")


def check_portion(build: Mapping[str, Any]) -> None:
    """Refuse what is not a portion, whatever files there are.

    Args:
        build: fields of ``data.build``, at least ``val``, the three ranges and ``train_images``.

    Raises:
        ConfigError: a word, a range or a number that is not allowed, or ranges that overlap.
    """
    val, wanted = build.get("val"), build.get("train_images")
    require(
        val in JUDGED,
        f"data.build.val={typed(val)}: is neither of the words for what runs are judged on"
        f"{nearest(str(val), JUDGED)}; allowed: {', '.join(JUDGED)}",
    )
    for name in RANGES:
        found = build.get(name)
        require(
            _is_range(found),
            f"data.build.{name}={typed(found)}: must be [first,end], two whole numbers with "
            "0 <= first < end",
        )
    require(
        _is_whole(wanted) and wanted > 0,
        f"data.build.train_images={typed(wanted)}: must be a whole number of at least 1",
    )
    _refuse_overlap(build["train_files"], build["held_out_files"])


def _refuse_overlap(train_files: list[int], held_out_files: list[int]) -> None:
    (first, end), (start, stop) = train_files, held_out_files
    require(
        stop <= first or end <= start,
        f"data.build.held_out_files={typed(held_out_files)}: overlaps with train_files="
        f"{typed(train_files)}; held-out images must not be trained on",
    )


def _is_range(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    return all(map(_is_whole, value)) and 0 <= value[0] < value[1]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
