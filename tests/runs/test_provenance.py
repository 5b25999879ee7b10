"""A result says where it was made and which images were missing, whichever process met them."""

from __future__ import annotations

import json
import logging
import os
from itertools import count
from pathlib import Path

import pytest
import torch

from scaledrelu.runs import checkout, provenance
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.provenance import Share, describe_devices, device_name, skipped_images
from scaledrelu.runs.record import read_result
from scaledrelu.runs.spawn import run_job
from tests.helpers.tiny_runs import folder_of

BAD = {"train/a/1.jpg", "train/b/30.jpg", "val/a/0.jpg", "val/b/1.jpg"}


@pytest.fixture
def damaged(image_folder) -> Path:
    """A folder data set; two images of each split are no images."""
    root = image_folder({"train": 40, "val": 4}, classes="ab", pixels=(16, 16))
    for name in BAD:
        (root / name).write_bytes(b"no image")
    return root


def folder_run(smoke, damaged: Path, *overrides: str) -> dict:
    return smoke(
        "data=imagefolder", f"data.root={damaged}", "data.image_size=16", "model.depth=1",
        "data.on_bad_image=skip", "batch.group=32", "launch.device=cpu", *overrides,
    )  # fmt: skip


@pytest.mark.usefixtures("forked_ranks")
def test_bad_images_of_all_ranks_stand_once_in_the_result(smoke, damaged) -> None:
    config = folder_run(smoke, damaged, "launch.nproc=2")
    assert run_job(config).ended == Ended.OK
    found = read_result(folder_of(config)).provenance
    # Each rank evaluates every other image: val/a/0 and val/b/1 are met by different ranks.
    assert {name for name in found["skipped_images"] if name.startswith("val/")} == {
        name for name in BAD if name.startswith("val/")
    }
    assert set(found["skipped_images"]) == BAD
    assert found["num_skipped_images"] == len(found["skipped_images"]) == len(BAD)


def test_bad_images_are_reported_from_memory_and_from_a_fraction_too(
    smoke, damaged, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("SCALEDRELU_CACHE", str(tmp_path / "cache"))
    config = folder_run(smoke, damaged, "data.in_memory=true", "data.fraction=0.9")
    assert run_job(config).ended == Ended.OK
    assert set(read_result(folder_of(config)).provenance["skipped_images"]) == BAD


def test_the_last_line_of_a_run_counts_its_bad_images(smoke, damaged, caplog) -> None:
    caplog.set_level(logging.INFO)
    assert run_job(folder_run(smoke, damaged)).ended == Ended.OK
    (last,) = [line for line in caplog.messages if ": ok; " in line]
    assert last.endswith("; 4 images were damaged and replaced")


def test_the_last_line_of_a_run_without_bad_images_does_not_speak_of_them(smoke, caplog) -> None:
    caplog.set_level(logging.INFO)
    assert run_job(smoke("launch.device=cpu", "model.depth=1")).ended == Ended.OK
    (last,) = [line for line in caplog.messages if ": ok; " in line]
    assert "image" not in last


def test_the_count_is_whole_where_the_names_are_too_many_to_list() -> None:
    names = tuple(f"train/{i}" for i in range(250))
    found = skipped_images([Share("x", "s", names), Share("x", "s", names[:3])])
    assert found["num_skipped_images"] == 250
    assert len(found["skipped_images"]) == provenance.LISTED


def test_a_result_names_the_processor_and_its_cores(smoke) -> None:
    config = smoke("launch.device=cpu", "model.depth=1")
    run_job(config)
    text = (folder_of(config) / "result.json").read_text()
    assert json.loads(text)["provenance"]["device"] == device_name(torch.device("cpu"))


def test_a_result_names_the_commit_that_trained_it_though_files_change_meanwhile(
    smoke, monkeypatch
) -> None:
    asked = count()

    def git(command: str, *_: str, limit_s: float) -> str:
        return f"commit {next(asked)}" if command == "describe" else ""

    monkeypatch.setattr(checkout, "_git", git)
    config = smoke("launch.device=cpu", "model.depth=1")
    run_job(config)
    assert read_result(folder_of(config)).provenance["commit"] == "commit 0"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9 \nflags\t: fpu\n", "CPU AMD EPYC 9, 3 cores"),
        ("processor\t: 0\nBogoMIPS\t: 50\n", "CPU arm64, 3 cores"),
        (None, "CPU arm64, 3 cores"),
    ],
)
def test_the_processor_has_a_name_even_where_the_kernel_tells_none(
    cpuinfo, expected, monkeypatch
) -> None:
    def read(_path: Path) -> str:
        if cpuinfo is None:
            raise FileNotFoundError
        return cpuinfo

    monkeypatch.setattr(provenance.Path, "read_text", read)
    monkeypatch.setattr(provenance.platform, "processor", lambda: "")
    monkeypatch.setattr(provenance.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2}, raising=False)
    assert device_name(torch.device("cpu")) == expected


def test_a_gpu_has_the_name_that_cuda_gives_it(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert device_name(torch.device("cuda", 1)) == "GPU 1"


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ([("CPU X, 2 cores", "host")] * 2, "CPU X, 2 cores"),
        ([("CPU X, 2 cores", "one"), ("CPU X, 2 cores", "two")], "2 x CPU X, 2 cores"),
        ([("H100", f"rank {rank}") for rank in range(8)], "8 x H100"),
        ([("H100", "rank 0"), ("A100", "rank 1")], "A100; H100"),
        ([("H100", "rank 0")], "H100"),
    ],
)
def test_processes_of_a_host_share_its_processor_and_gpus_are_counted(owners, expected) -> None:
    assert describe_devices([Share(device, owner, ()) for device, owner in owners]) == expected
