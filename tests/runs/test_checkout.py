"""A run that is done says so, and of which code it speaks: code is no part of an id."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from scaledrelu.runs import checkout, spawn
from scaledrelu.runs.checkout import trained_elsewhere
from scaledrelu.runs.ending import Ended
from tests.helpers.tiny_runs import folder_of


def commit_of(folder: Path, commit: str | None) -> None:
    """Let a result say from which commit it was trained."""
    path = folder / "result.json"
    stored = json.loads(path.read_text())
    stored["provenance"]["commit"] = commit
    path.write_text(json.dumps(stored))


def test_a_run_that_is_done_names_the_commit_where_the_checkout_is_another(
    smoke, caplog, monkeypatch
) -> None:
    config = smoke()
    assert spawn.run_job(config).ended is Ended.OK
    folder = folder_of(config)
    for made, here, said in (
        ("0a1b2c3d4e5f", "0a1b2c3d4e5f", "is done already (ok)"),
        ("0a1b2c3d4e5f", "aaaaaaaaaaaa", "trained from commit 0a1b2c3d4e5f; this checkout"),
    ):
        commit_of(folder, made)
        monkeypatch.setattr(checkout, "git_commit", lambda here=here: here)
        caplog.clear()
        with caplog.at_level(logging.INFO, logger=spawn.__name__):
            assert spawn.run_job(config).ended is Ended.OK
        assert said in caplog.text
        assert ("trained from" in caplog.text) == (made != here)


@pytest.mark.parametrize(
    ("made", "here", "said"),
    [
        ("a1", "a1", ""),
        ("a1", "b2", "trained from commit a1; this checkout is at b2"),
        ("a1", "a1-dirty", "trained from commit a1; this checkout is at a1-dirty"),
        ("a1-dirty", "a1-dirty", "trained from commit a1-dirty, with edits then and now"),
        (None, "a1", "trained from commit unknown; this checkout is at a1"),
        ("a1", None, ""),
        (None, None, ""),
    ],
)
def test_code_that_may_differ_is_named(made, here, said, monkeypatch) -> None:
    monkeypatch.setattr(checkout, "git_commit", lambda: here)
    assert trained_elsewhere(made) == said
