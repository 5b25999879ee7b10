"""W&B offline: our id, our steps, only what a checkpoint covers, read back from its own files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("wandb")
from scaledrelu.engine.mirror import WandbMirror


def read_back(folder: Path) -> list[dict]:
    """Read an offline run with W&B's own reader."""
    logs = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    tool = shutil.which("wandb", path=str(Path(sys.executable).parent))
    rows: list[dict] = []
    for log in logs:
        done = subprocess.run(
            [tool, "leet", "inspect", "--json", str(log)],
            capture_output=True,
            text=True,
            check=True,
        )
        rows += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return rows


def test_an_offline_run_can_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    mirror = WandbMirror(
        folder=tmp_path, run_id="deit-0123456789ab", mode="offline", project="scaledrelu",
        entity=None, group="deit", tags=["table1", "table2"], config={"lr": 1},
    )  # fmt: skip
    mirror.add({"step": 10, "epoch": 0, "train/loss": 2.0})
    mirror.commit()
    mirror.add({"step": 20, "epoch": 1, "train/loss": 1234.5})  # no checkpoint covers it
    mirror.summarise({"outcome": "ok"})
    mirror.close()
    text = json.dumps(read_back(tmp_path))
    for expected in ("deit-0123456789ab", "table1", "table2", "global_step", "train/loss"):
        assert expected in text
    assert "1234.5" not in text
