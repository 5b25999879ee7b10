"""No change of the code changes a result: one run of each method, against what it gave before.

To the last bit of every weight on the kind of processor and with the torch that it was recorded
with, and to rounding on other processors. Another minor version of torch may draw other initial
weights from a seed (``trunc_normal_`` of 2.11 does). Where a change is meant to change results
(SCIENCE_VERSION), ``python -m tests.runs.test_same_results`` records them anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from scaledrelu.config.artifacts import artifact_directory, data_artifact
from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.places import CONF_DIR
from scaledrelu.data.people.folder import write_mini_reid
from scaledrelu.data.people.sightings import PRESETS
from scaledrelu.engine.checkpoint import read_checkpoint
from scaledrelu.runs.record import read_result, run_directory
from scaledrelu.runs.spawn import run_job

KNOWN = Path(__file__).parent.parent / "fixtures" / "run_results.json"
COMMON = ("profile=smoke", "stem=conv", "data.fraction=0.2", "launch.device=cpu")
SMALL = (*COMMON, "stem.hidden=4", "model.depth=2", "model.width=16", "model.heads=2")
RUNS = {
    "deit": (*SMALL, "augment.mixup=0.8", "augment.cutmix=1.0", "model.drop_path=0.1"),
    "deit with SAM": (*SMALL, "optimizer=sam", "ffn=conv1d_bn"),
    "volo": (*COMMON, "recipe=volo", "model=volo_d1", "data.token_labels=none"),
    "dino": (*SMALL, "recipe=dino", "batch.total=256", "batch.group=16"),
    "reid": (*SMALL, "recipe=reid", "data.fraction=1", "lr.base=1e-4"),
    "linear_probe": (*SMALL, "recipe=linear_probe", "task.num_blocks=2", "init=run"),
}
UPSTREAM = {"linear_probe": "dino"}


def train(name: str, results: Path) -> dict[str, Any]:
    """Train a run and those it starts from; return what is compared."""
    overrides = [*RUNS[name], f"paths.results={results}"]
    if name in UPSTREAM:
        train(UPSTREAM[name], results)
        dino = compose([*RUNS[UPSTREAM[name]], f"paths.results={results}"])
        overrides.append(f"init.run={run_id(dino)}")
    config = compose(overrides)
    if name == "reid":
        artifact = data_artifact(config, CONF_DIR)
        place = artifact_directory(results, artifact.artifact_id)
        if not place.exists():
            write_mini_reid(PRESETS["market"], place, seed=0)
    run_job(config)
    folder = run_directory(results, run_id(config))
    weights = read_checkpoint(folder / "last.pt")["task"]
    digest = hashlib.sha256()
    for key, value in sorted(weights.items()):
        digest.update(key.encode() + value.numpy().tobytes())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "run_id": run_id(config),
        "metrics": read_result(folder).metrics,
        "losses": [row["train/loss"] for row in rows if "train/loss" in row],
        "norms": {key: float(value.double().norm()) for key, value in sorted(weights.items())},
        "sha256": digest.hexdigest(),
    }


def machine() -> dict[str, str]:
    """What the last bits of a result hang on."""
    names = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model")]
    return {
        "processor": " ".join(sorted({x.partition(":")[2].strip() for x in names})),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def minor(version: str) -> list[str]:
    """Major and minor part of a version."""
    return version.split(".")[:2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One results folder for all runs: what another run starts from is trained once."""
    return tmp_path_factory.mktemp("same") / "results"


@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_what_it_gave(name, results, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    recorded = json.loads(KNOWN.read_text())
    if minor(torch.__version__) != minor(recorded["machine"]["torch"]):
        pytest.skip(f"recorded with torch {recorded['machine']['torch']}")
    known, found = recorded["runs"][name], train(name, results)
    assert found["run_id"] == known["run_id"]
    if recorded["machine"] == machine():
        assert found == known
        return
    assert found["metrics"].keys() == known["metrics"].keys()
    assert found["losses"] == pytest.approx(known["losses"], rel=1e-4)
    assert found["norms"] == pytest.approx(known["norms"], rel=1e-4, abs=2e-3)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        found = {name: train(name, Path(folder)) for name in RUNS}
    KNOWN.write_text(json.dumps({"machine": machine(), "runs": found}, indent=1) + "\n")
    sys.stdout.write(f"wrote {KNOWN}\n")
