"""The run's line names the process that met the error, not the one that left first."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from scaledrelu.engine.distributed import World
from scaledrelu.errors import DataError
from scaledrelu.runs import blame
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.feed import Validation, open_data
from scaledrelu.runs.record import read_error
from scaledrelu.runs.spawn import run_job
from tests.helpers.tiny_runs import folder_of

TRAIN = Path(__file__).resolve().parents[2] / "scripts" / "train.py"
CLOSED = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection reset")
WAITED = RuntimeError(
    "[/pytorch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting "
    "600000ms for recv operation to complete"
)
WAITED_BY_NCCL = torch.distributed.DistBackendError(
    "[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=8, OpType=ALLREDUCE, "
    "NumelIn=4, NumelOut=4, Timeout(ms)=600000) ran for 600004 milliseconds before timing out."
)


@pytest.fixture
def images(image_folder: Callable[..., Path]) -> Path:
    return image_folder({"train": 40, "val": 4}, classes="ab", pixels=(16, 16))


def options(images: Path, *more: str) -> list[str]:
    return [
        "data=imagefolder", f"data.root={images}", "data.image_size=16", "model.depth=1",
        "batch.group=16", "launch.device=cpu", "launch.workers=0", "data.in_memory=false",
        "data.fraction=1.0", *more,
    ]  # fmt: skip


def damage_what_only_rank_one_sees(images: Path) -> None:
    (images / "val" / "a" / "1.jpg").write_bytes(b"no image")  # each rank reads every other image


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.usefixtures("forked_ranks")
def test_the_process_that_met_the_error_is_named_whoever_leaves_first(smoke, images) -> None:
    damage_what_only_rank_one_sees(images)
    config = smoke(*options(images, "launch.nproc=2"))
    agent, said = logging.getLogger("torch.distributed.elastic.multiprocessing.api"), []
    listener = logging.Handler(logging.ERROR)
    listener.emit = said.append
    agent.addHandler(listener)
    report = run_job(config)
    agent.removeHandler(listener)
    assert said == [], "no traceback for a spoilt image"
    assert not agent.disabled
    assert report.ended == Ended.FAILED
    assert report.reason.startswith("process 1 of 2 failed: ")
    assert "val/a/1.jpg" in report.reason
    assert "rank1.log" in report.reason
    assert read_error(folder_of(config)) == report.reason


def torchrun(*typed: str) -> None:
    """Let torchrun start anew what a person starts with it."""
    command = [sys.executable, "-m", "torch.distributed.run", *typed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode != 0


def forked_torchrun(*typed: str) -> None:
    """Let torchrun fork this process instead, which has loaded everything."""
    from torch.distributed.run import main

    start_method = "spawn" if torch.cuda.is_available() else "fork"
    with pytest.raises(ChildFailedError):
        main(["--run-path", f"--start-method={start_method}", *typed])


@pytest.mark.parametrize("start", [forked_torchrun, pytest.param(torchrun, marks=pytest.mark.slow)])
def test_torchrun_records_the_error_of_the_process_that_met_it(images, tmp_path, start) -> None:
    damage_what_only_rank_one_sees(images)
    results = tmp_path / "torchrun"
    start(
        "--standalone", "--nproc-per-node=2", str(TRAIN), "profile=smoke", *options(images),
        f"paths.results={results}",
    )  # fmt: skip
    (error,) = (results / "runs").glob("deit-*/error.txt")
    assert error.read_text().startswith("process 1 of 2 failed: ")
    assert "val/a/1.jpg" in error.read_text()


def test_more_processes_than_validation_images_is_one_clear_line(smoke, images) -> None:
    config = smoke(*options(images))
    splits = open_data(config)
    with pytest.raises(DataError, match="8 validation images cannot be divided among 9 processes"):
        Validation(config, splits.val, World(8, 9, torch.device("cpu")))
    Validation(config, splits.val, World(7, 8, torch.device("cpu"))).close()


def test_a_lost_connection_is_never_the_cause_however_early_it_was_noted(tmp_path) -> None:
    blame.write_note(tmp_path, 0, CLOSED)
    blame.write_note(tmp_path, 2, ValueError("the cause"))
    blame.write_note(
        tmp_path, 1, torch.distributed.DistBackendError("NCCL communicator was aborted")
    )
    found = blame.first_note(tmp_path, 3)
    assert (found.rank, found.reason) == (2, "ValueError: the cause")
    assert blame.wait_for_note(tmp_path, 3, limit_s=0.0) == found
    assert blame.first_note(tmp_path, 2) is None


def test_of_several_causes_the_first_is_named_and_its_own_first_words_stay(tmp_path) -> None:
    blame.write_note(tmp_path, 1, ValueError("first"))
    blame.write_note(tmp_path, 0, ValueError("second"))
    blame.write_note(tmp_path, 1, CLOSED)
    assert blame.first_note(tmp_path, 2).reason == "ValueError: first"
    blame.clear_note(tmp_path, 1)
    assert blame.first_note(tmp_path, 2).reason == "ValueError: second"


def test_a_torn_note_is_no_note(tmp_path) -> None:
    (tmp_path / "rank0.error").write_bytes(os.urandom(64))
    (tmp_path / "rank1.error").write_text("[]")
    assert blame.first_note(tmp_path, 2) is None


@pytest.mark.parametrize("waited", [WAITED, WAITED_BY_NCCL], ids=["gloo", "nccl"])
def test_a_process_that_waited_in_vain_is_not_told_that_memory_ran_out(tmp_path, waited) -> None:
    blame.write_note(tmp_path, 1, waited)
    blame.write_note(tmp_path, 0, CLOSED)  # it came at last, when the other had left
    said = blame.whose_fault([(1, 1)], 2, tmp_path)
    assert said.startswith(f"process 1 of 2 failed: {blame.WAITED}; see ")
    blame.write_note(tmp_path, 2, ValueError("the cause"))
    assert "process 2 of 3 failed: ValueError: the cause" in blame.whose_fault(
        [(1, 1)], 3, tmp_path
    )


def test_a_process_of_torchrun_that_waited_in_vain_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(blame, "wait_for_note", blame.first_note)  # in no time
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    blame.write_note(tmp_path, 1, WAITED)
    line, _ = blame.cause(CLOSED, tmp_path)
    assert line.startswith(f"process 1 of 2 failed: {blame.WAITED}; see ")


@pytest.mark.parametrize(("code", "words"), [(-6, "launch.timeout_s"), (-9, "out of memory?")])
def test_the_signal_that_ends_a_process_hints_at_the_reason(tmp_path, code, words) -> None:
    assert words in blame.whose_fault([(0, code)], 2, tmp_path)


def test_a_line_that_only_announces_the_next_is_joined_to_it() -> None:
    error = RuntimeError(
        "backend='inductor' raised:\n\nRuntimeError: no C compiler\n\nSet VERBOSE=1"
    )
    found = blame.in_one_line(error)
    assert found == "RuntimeError: backend='inductor' raised: RuntimeError: no C compiler"
    assert blame.in_one_line(ValueError("of shape:")) == "ValueError: of shape:"


def fails(code: str, path: Path, **names: Any) -> Callable[[], None]:
    """Make a function ``build`` that lies in a file of this name."""
    exec(compile(f"def build():\n    {code}\n", str(path), "exec"), names)
    return names["build"]


@pytest.mark.parametrize(
    ("beside", "place"),
    [
        ("my_stems.py", "my_stems.py:2"),
        ("my_code/stems.py", "my_code/stems.py:2"),
        (".venv/lib/python3.11/site-packages/timm/vit.py", "runs/build.py:2"),
        ("/elsewhere/library.py", "runs/build.py:2"),
    ],
)
def test_an_error_in_code_of_ones_own_names_its_line_and_what_the_run_did(beside, place) -> None:
    inner = fails("raise NameError('nn')", blame.ROOT / beside)
    outer = fails("inner()", blame.PACKAGE / "runs" / "build.py", inner=inner)
    try:
        outer()
    except NameError as error:
        found = blame.in_one_line(error)
    assert found == f"while building the run ({place}): NameError: nn"


@pytest.mark.parametrize(
    ("codes", "rank"),
    [
        ([(0, 1), (3, -9)], 3),
        ([(0, -15), (1, -11)], 1),
        ([(0, -15), (1, 1)], None),  # SIGTERM came from the parent
    ],
)
def test_a_killed_process_is_told_from_those_that_were_sent_away(codes, rank) -> None:
    assert blame.killed_first(codes) == rank


def test_every_step_that_an_error_can_name_is_a_function() -> None:
    source = "".join(path.read_text() for path in blame.PACKAGE.rglob("*.py"))
    assert [name for name in blame.DOING if f"def {name}(" not in source] == []


@pytest.mark.parametrize(
    "launched",
    [
        {"SLURM_PROCID": "0"},
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0"},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
    ],
)
def test_a_torch_that_cannot_be_imported_is_the_reason_and_not_that_it_was_tried_twice(
    tmp_path: Path, launched: dict[str, str]
) -> None:
    broken = tmp_path / "broken" / "torch.py"
    broken.parent.mkdir()
    broken.write_text(
        "import os\n"
        "again, os.environ['TRIED'] = os.environ.get('TRIED'), 'yes'\n"
        "raise ImportError('can only be initialized once' if again else 'libcudart.so is missing')"
    )
    path = os.pathsep.join([str(broken.parent), str(TRAIN.parents[1])])
    command = [sys.executable, str(TRAIN), "profile=smoke", f"paths.results={tmp_path}"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **launched, "PYTHONPATH": path}
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = (tmp_path / "runs").glob("deit-*")
    reason = read_error(folder)
    assert "ImportError: libcudart.so is missing" in reason
    assert reason.startswith("process 0 of 2 failed: ") is (len(launched) > 1)
