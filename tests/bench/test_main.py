from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaledrelu.bench import main as bench
from scaledrelu.bench.session import Session
from scaledrelu.bench.table import Row
from scaledrelu.errors import ConfigError, DataError


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return ["--device", "cpu", "--out", str(tmp_path / "out")]


def rows_in(folder: Path) -> list[dict[str, str]]:
    files = list((folder / "out").glob("*.csv"))
    return [row for path in files for row in csv.DictReader(path.open())]


def test_the_help_says_where_the_table_goes(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        bench.parse(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert f"default: {bench.parse([]).out}, which git tracks" in told


@pytest.mark.slow
def test_a_spent_budget_measures_nothing_and_says_so(
    arguments: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level("INFO"):
        assert bench.main([*arguments, "--budget", "0"]) == 0
    assert rows_in(tmp_path) == []
    assert "not measured, the budget is used up: mini patchify adamw" in caplog.text
    assert "nothing was measured, so nothing was written\n" in caplog.text
    assert ".csv" not in caplog.text


def test_rows_are_on_disk_before_the_next_measurement(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def measure(session: Session) -> None:
        def rows() -> Iterator[Row]:
            yield Row("startup", name="first", seconds=1.0)
            assert [row["name"] for row in rows_in(tmp_path)] == ["first"]
            raise MemoryError("too large")

        session.attempt("startup", 0.0, Row("startup", name="second"), rows)

    monkeypatch.setitem(bench.MEASURES, "startup", measure)
    assert bench.main([*arguments, "--only", "startup"]) == 1
    first, second = rows_in(tmp_path)
    assert first["seconds"] == "1"
    assert second["problem"] == "MemoryError: too large"
    assert first["date"]
    assert first["device"].startswith("CPU")


def test_a_table_that_is_cut_off_is_refused_before_anything_is_measured(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    measured = []

    def measure(session: Session) -> None:
        measured.append(session.path)
        session.keep(Row("startup", name="x", seconds=1.0))

    monkeypatch.setitem(bench.MEASURES, "startup", measure)
    bench.main([*arguments, "--only", "startup"])
    (path,) = measured
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(DataError, match=r"\.csv, line 2: .*remove it and measure again"):
        bench.main([*arguments, "--only", "startup"])
    assert measured == [path]
    assert path.read_bytes() == whole[:-40]


def test_published_commands_hold_no_folder_of_this_machine(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def measure(session: Session) -> None:
        session.keep(Row("startup", name="x", seconds=1.0))

    monkeypatch.setitem(bench.MEASURES, "startup", measure)
    bench.main([*arguments, "--only", "startup"])
    assert rows_in(tmp_path)[0]["command"].endswith("--out out --only startup")


def test_the_picture_lies_beside_the_table_and_is_shown_on_the_page(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def measure(session: Session) -> None:
        session.keep(Row("startup", name="x", seconds=1.0))
        assert "![" not in session.path.with_suffix(".md").read_text()
        session.keep(Row("end", peer="DeiT's script", profile="paper", ratios=[2.0, 3.0]))

    monkeypatch.setitem(bench.MEASURES, "end", measure)
    assert bench.main([*arguments, "--only", "end"]) == 0
    (page,) = (tmp_path / "out").glob("*.md")
    for suffix in (".csv", ".png", ".svg"):
        assert page.with_suffix(suffix).stat().st_size
    assert f"]({page.stem}.png)" in page.read_text()
    assert "2.500 [2.000, 3.000]" in page.read_text()


def test_a_folder_without_images_is_refused_before_anything_is_written(tmp_path):
    arguments = ["--only", "loader", "--images", str(tmp_path / "none"), "--out", str(tmp_path)]
    with pytest.raises(ConfigError, match=r"--images: .*none: holds 0 JPEG files"):
        bench.main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_words_choose_cases():
    options = bench.parse(["--match", " sam ", "--match", "compile"])
    cases = bench.chosen_cases(options, "cuda")
    assert cases
    assert all(case.optimizer == "sam" and case.compiled for case in cases)
    ends = bench.chosen_ends(bench.parse(["--match", "DeiT"]), "cuda")
    assert ends
    assert all(case.script == "DeiT's script" for case in ends)


def test_help_and_lists_do_not_wait_for_torch():
    code = (
        "import sys; from scaledrelu.bench.main import main; main(['--list']);"
        "assert not {'torch', 'timm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mini conv sam fp32" in done.stderr


def test_to_compile_nothing_is_refused():
    with pytest.raises(ConfigError, match="--compile-only: no step that is chosen on a cpu is"):
        bench.main(["--compile-only", "3", "--device", "cpu", "--profile", "mini"])
