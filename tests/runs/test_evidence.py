"""What a run recorded comes back whole, or is called damaged in a few words without a path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.evidence import read_arrays, read_metrics


def test_arrays_that_were_not_recorded_are_not_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "evidence.npz", one=np.arange(3), two=np.zeros(1))
    found = read_arrays(tmp_path, ("one", "three"))
    assert {name: array.tolist() for name, array in found.items()} == {"one": [0, 1, 2]}


def test_no_file_is_no_damage(tmp_path: Path) -> None:
    assert read_arrays(tmp_path / "nowhere", ("one",)) is None
    assert read_metrics(tmp_path / "nowhere") is None


def test_damage_is_a_few_words_without_a_path(tmp_path: Path) -> None:
    np.savez(tmp_path / "evidence.npz", one=np.arange(1000))
    whole = (tmp_path / "evidence.npz").read_bytes()
    pickled = np.array([{}], dtype=object)
    np.savez(tmp_path / "objects.npz", one=pickled)
    for content in (b"", b"{", whole[:400], (tmp_path / "objects.npz").read_bytes()):
        (tmp_path / "evidence.npz").write_bytes(content)
        with pytest.raises(RecordError, match=r"^evidence\.npz damaged$"):
            read_arrays(tmp_path, ("one",))
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 0, "step": 1}\n{"epoch": 0}\n')
    with pytest.raises(RecordError, match=r"^metrics\.jsonl damaged in line 2 \(no 'step'\)$"):
        read_metrics(tmp_path)
