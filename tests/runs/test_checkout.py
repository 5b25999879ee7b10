"""A run that is done says so, and of which code it speaks: code is no part of an id."""

from __future__ import annotations

import json
import logging
import subprocess
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


@pytest.fixture
def repository(tmp_path: Path, monkeypatch) -> Path:
    """A checkout of one commit, which this module takes for its own."""
    for name in ("scaledrelu/stem.py", "conf/stem/conv.yaml", ".gitignore"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("/ignored/\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "all")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "marked"),
    [
        ("scaledrelu/stem.py", True),
        ("my_stems.py", True),
        ("my_code/deep/stems.py", True),
        ("scaledrelu/data/mine.py", True),
        ("conf/stem/mine.yaml", True),
        ("notes.txt", False),
        ("ignored/mine.py", False),
        ("results/runs/a/copy.py", False),
        ("data/images/script.py", False),
    ],
)
def test_code_that_git_does_not_know_marks_the_commit_as_edits_do(repository, name, marked) -> None:
    commit = checkout.git_commit()
    assert not commit.endswith("-dirty")
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).write_text("x = 1\n")
    assert checkout.git_commit() == commit + "-dirty" * marked


def test_a_commit_is_known_where_the_files_beside_it_cannot_be_listed(
    repository, monkeypatch
) -> None:
    commit = checkout.git_commit()
    monkeypatch.setattr(checkout, "UNKNOWN", ("no-such-command",))
    assert checkout.git_commit() == commit


def test_outside_git_there_is_no_commit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    assert checkout.git_commit() is None


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
