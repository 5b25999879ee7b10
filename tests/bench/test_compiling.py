from __future__ import annotations

import logging
import shutil
from dataclasses import replace

import pytest

from scaledrelu.bench.cases import Case, list_cases
from scaledrelu.bench.compiling import compile_ahead, to_compile

CASE = Case("paper", "conv", batch=128, compiled=True)
SMALL = Case("smoke", "patchify", batch=4, compiled=True, more=("model.depth=1",))


def test_a_network_is_compiled_once_whatever_it_is_timed_beside():
    others = [replace(CASE, defaults=True), replace(CASE, eager_peer=True)]
    assert to_compile([replace(CASE, compiled=False), *others, CASE]) == [CASE]
    sam = replace(CASE, optimizer="sam")
    assert to_compile([CASE, sam]) == [CASE, sam]
    assert {case.compiled for case in to_compile(list_cases(["paper"], "cuda"))} == {True}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="the code for a CPU has to be compiled")
def test_what_cannot_be_compiled_is_told_and_stops_no_other(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert compile_ahead([SMALL, replace(SMALL, stem="none_such")], "cpu") == 1
    told = [record.message for record in caplog.records]
    assert any(f"{SMALL.label}: compiled in" in line for line in told)
    assert any("none_such" in line and "compiled in" not in line for line in told)
    assert list(tmp_path.rglob("*.cpp"))
