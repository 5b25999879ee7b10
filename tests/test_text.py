from pathlib import Path

import pytest

from scaledrelu.errors import DataError
from scaledrelu.text import (
    capital,
    data_size,
    duration,
    markdown_table,
    measured_rows,
    plural,
)


def test_one_thing_has_no_ending_and_several_have_the_ending_of_their_word() -> None:
    found = [plural(n, word) for word in ("row", "class") for n in (0, 1, 3)]
    assert found == ["0 rows", "1 row", "3 rows", "0 classes", "1 class", "3 classes"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (204, "3m 24s"),
        (3600, "1h 00m"),
        (7500, "2h 05m"),
    ],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0.0 kB"),
        (4096, "4.1 kB"),
        (99_900, "99.9 kB"),
        (100_000, "0.1 MB"),
        (45_957_000, "46.0 MB"),
        (999_949_999, "999.9 MB"),
        (7_526_400_000, "7.5 GB"),
    ],
)
def test_sizes_are_readable(num_bytes: int, text: str) -> None:
    assert data_size(num_bytes) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a table of our own", "A table of our own"), ("DINO's rows", "DINO's rows"), ("", "")],
)
def test_only_the_first_letter_becomes_a_capital(text: str, shown: str) -> None:
    assert capital(text) == shown


def test_a_bar_in_a_cell_of_a_markdown_table_does_not_end_the_cell() -> None:
    assert markdown_table(["a", "b"], [["x|y", ""]]) == "| a | b |\n| --- | --- |\n| x\\|y |  |"


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
