"""A file is seen whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scaledrelu.errors import DataError, RunError
from scaledrelu.files import (
    atomic_file,
    cannot_read,
    cannot_use,
    measured_rows,
    write_atomic,
    writing_to,
)
from tests.helpers.permissions import closed


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_failed_write_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert names(tmp_path) == ["file"]
    assert path.read_text() == "old"


def test_a_reader_sees_the_old_file_until_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    with atomic_file(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


def test_writers_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_file(path) as first, atomic_file(path) as second:
        second.write(b"second")
        first.write(b"first")
    assert path.read_text() == "first"
    assert names(tmp_path) == ["file"]


def test_the_file_that_was_there_is_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "new"
    for content in (b"1", b"2", b"3"):
        with atomic_file(path, keep_old_as=tmp_path / "old") as stream:
            stream.write(content)
    assert path.read_bytes() == b"3"
    assert (tmp_path / "old").read_bytes() == b"2"
    assert names(tmp_path) == ["new", "old"]


def test_an_interrupted_write_keeps_both_files(tmp_path: Path) -> None:
    path = tmp_path / "new"
    for content in (b"1", b"2"):
        with atomic_file(path, keep_old_as=tmp_path / "old") as stream:
            stream.write(content)
    with (
        pytest.raises(KeyboardInterrupt),
        atomic_file(path, keep_old_as=tmp_path / "old") as stream,
    ):
        raise KeyboardInterrupt
    assert (path.read_bytes(), (tmp_path / "old").read_bytes()) == (b"2", b"1")
    assert names(tmp_path) == ["new", "old"]


def test_only_a_durable_file_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_atomic(tmp_path / "quick", "x", durable=False)
    assert not synced
    write_atomic(tmp_path / "safe", "x")
    assert len(synced) == 2, "the file and its folder"


def test_what_a_kill_left_is_replaced_where_one_process_writes(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("of somebody")
    (tmp_path / ".file.tmp").symlink_to(precious)
    with atomic_file(tmp_path / "file", one_writer=True) as stream:
        stream.write(b"new")
    assert names(tmp_path) == ["file", "precious"]
    assert precious.read_text() == "of somebody"


@pytest.mark.parametrize(
    ("shut", "mode"), [("runs", 0o000), ("runs", 0o600), ("runs/a", 0o000), ("runs/a/file", 0o000)]
)
def test_what_may_not_be_read_is_named_and_not_taken_for_a_write(
    tmp_path: Path, shut: str, mode: int
) -> None:
    path = tmp_path / "runs" / "a" / "file"
    path.parent.mkdir(parents=True)
    path.touch()
    said = f"{tmp_path / shut}: cannot be read (Permission denied); give read permission"
    with closed(tmp_path / shut, mode):
        with pytest.raises(RunError) as caught, writing_to(tmp_path):
            path.read_text()
        assert str(caught.value) == said
        assert cannot_use(caught.value.__cause__, tmp_path) == said


def test_what_may_be_read_but_not_written_is_no_trouble_with_reading(tmp_path: Path) -> None:
    with closed(tmp_path, 0o555):
        with pytest.raises(PermissionError) as caught:
            write_atomic(tmp_path / "file", "x")
        assert cannot_read(caught.value) is None
        assert "cannot write" in cannot_use(caught.value, tmp_path)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "make room, or "),
        (errno.EDQUOT, "make room, or "),
        (errno.EACCES, "give write permission there, or "),
        (errno.EPERM, "give write permission there, or "),
        (errno.EROFS, ""),
        (errno.ENAMETOOLONG, ""),
        (errno.ENOTDIR, "move away the file or folder that is in its place, or "),
    ],
)
def test_the_remedy_fits_the_reason(tmp_path: Path, code: int, remedy: str) -> None:
    error = OSError(code, os.strerror(code), str(tmp_path / "file"))
    said = f"({os.strerror(code)}); {remedy}set results=<folder>; finished runs are kept"
    with pytest.raises(RunError) as caught, writing_to(tmp_path):
        raise error
    assert str(caught.value).endswith(said)
    said = (
        f"{os.strerror(code)}; {remedy}choose another results folder (paths.results=<folder>; in "
        "a sweep results=<folder>)"
    )
    assert cannot_use(error, tmp_path).endswith(said)


MEASURED = b'kind,name,rate\nstep,"a, b",12.5\nloader,c,7\n'


@pytest.mark.parametrize("size", range(len(MEASURED)))
def test_measured_rows_that_are_cut_off_are_refused_wherever_it_was(
    size: int, tmp_path: Path
) -> None:
    path = tmp_path / "gpu.csv"
    path.write_bytes(MEASURED[:size])
    if size and MEASURED[:size].endswith(b"\n"):  # as a file that holds fewer rows
        assert len(measured_rows(path)) == MEASURED[:size].count(b"\n") - 1
        return
    line = max(1, len(MEASURED[:size].splitlines()))
    with pytest.raises(DataError, match=rf"gpu\.csv, line {line}: .*remove it and measure again"):
        measured_rows(path)


def test_a_measured_row_with_too_many_fields_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gpu.csv"
    path.write_text("kind,name,rate\nstep,a,12.5\nstep,b,12.5,9\n")
    with pytest.raises(DataError, match="line 3: holds 4 fields, but line 1 names 3; restore it"):
        measured_rows(path)


READ_ONLY = """
import sys
from pathlib import Path
from scaledrelu.config.openers import look_at_data
from scaledrelu.errors import DataError
from scaledrelu.files import cannot_use, make_writable
place = Path(sys.argv[1])
try:
    make_writable(place)
except OSError as error:
    print(cannot_use(error, place))
try:
    build = {"_target_": "scaledrelu.data.datasets.open_cifar10", "train": "train", "val": "test"}
    look_at_data(build, place / "data")
except DataError as error:
    print(error)
"""


def test_a_read_only_file_system_is_called_so_and_no_lack_of_permission(tmp_path: Path) -> None:
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && '
    inside = ["unshare", "-rm", "sh", "-c", mount + '"$2" -c "$3" "$1"', "sh", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true", ""]).returncode:
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(
        [*inside, sys.executable, READ_ONLY], capture_output=True, text=True, check=True
    )
    written, made = done.stdout.splitlines()
    assert written.startswith(f"cannot write {tmp_path}: Read-only file system; choose another")
    assert "no folder can be made there to download it to (Read-only file system)" in made
    assert "ermission" not in done.stdout
    assert names(tmp_path) == []
