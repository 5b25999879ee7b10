"""Whatever a results folder is called, Hydra reads it as the sweep wrote it."""

from __future__ import annotations

import pytest

from scaledrelu.config.overrides import parse_overrides
from scaledrelu.launch.launch import _quoted


@pytest.mark.parametrize(
    "path", ["results", "a b/c", "M\u00fcller/\u65e5\u672c", "it's", "x=1,[y]", "~/r#1"]
)
def test_a_quoted_path_is_read_as_it_is(path: str) -> None:
    results, search = parse_overrides(
        [f"paths.results={_quoted(path)}", f"hydra.searchpath=[{_quoted(f'file://{path}')}]"]
    )
    assert results.value() == path
    assert search.value() == [f"file://{path}"]
