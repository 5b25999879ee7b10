"""Who follows the page on methods gets the network of a run, as it was trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.engine.checkpoint import read_checkpoint
from scaledrelu.runs.record import run_directory
from scaledrelu.runs.spawn import run_job
from tests.helpers.documents import FENCE, ROOT

PAGE = (ROOT / "docs" / "methods.md").read_text()
SECTION = PAGE.partition("## Taking a network out\n")[2].partition("\n## ")[0]
BUILD, AS_TIMM = (block for language, block in FENCE.findall(SECTION) if language == "python")
SHORT = ("profile=smoke", "profile.epoch_scale=0.01", "data.fraction=0.1")
OTHERS = {
    "conv": ("stem=conv",),
    "dino": ("recipe=dino", "batch.group=16", "batch.total=256"),
    "volo": ("recipe=volo", "model=volo_d1", "data.token_labels=none"),
}


def train(results: str, *overrides: str) -> str:
    """Train a run; return its id."""
    config = compose([*overrides, f"paths.results={results}"])
    assert run_job(config).ended == "ok"
    return run_id(config)


def test_the_network_of_the_page_is_built_and_is_timms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"# python scripts/train.py (.*)", BUILD)
    assert f'"{train("results", *command.split())}"' in BUILD
    exec(BUILD + AS_TIMM, {})


@pytest.mark.parametrize("kind", OTHERS)
def test_the_network_of_any_other_run_is_built_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = train("results", *OTHERS[kind], *SHORT)
    found: dict[str, Any] = {}
    exec(re.sub(r"deit-[0-9a-f]{12}", name, BUILD), found)
    state = read_checkpoint(run_directory("results", name) / "last.pt")["task"]
    inner = "teacher." if kind == "dino" else "backbone."
    for key, value in torch.load("network.pth", weights_only=True).items():
        assert torch.equal(value, state[f"{inner}{key}"])
