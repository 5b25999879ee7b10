"""What cannot be trained here is refused before anything starts; a plan says what is not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scaledrelu.config import launch
from scaledrelu.errors import RefusedError
from scaledrelu.launch import sweep as sweep_module
from scaledrelu.launch.obstacles import obstacles_here
from scaledrelu.runs.ending import concluded
from scaledrelu.runs.record import Status
from scaledrelu.tables.planner import plan_tables
from scripts.report import report
from tests.helpers.run_folders import leave
from tests.helpers.sandboxes import TABLE as TABLE
from tests.helpers.sandboxes import Sandbox, settings_in

IMAGES = "data=imagefolder,data.root={root}"


@pytest.fixture
def reasons(sandbox: Sandbox) -> Callable[..., tuple[str, ...]]:
    """Sweep; return why it was refused, after a look at what it left."""

    def refused(*arguments: str) -> tuple[str, ...]:
        with pytest.raises(RefusedError) as caught:
            sandbox.sweep(*arguments)
        assert sandbox.started() == []
        assert not (sandbox.base / "results" / "runs").exists(), "nothing is recorded"
        return caught.value.lines

    sandbox.behave()
    return refused


def overrides(*typed: str) -> str:
    return f"overrides=[{','.join(typed)}]"


def test_a_precision_that_no_device_here_has_is_one_line_for_all_runs(reasons) -> None:
    (line,) = reasons(overrides("precision=fp16"))
    assert line == (
        "precision.autocast=fp16: a CPU only emulates it (launch.device=auto); set precision=fp32 "
        "(a different run), or launch.fp16_on_cpu=true to use it anyway (3 of 3 runs to train)"
    )


def test_images_that_are_not_there_are_one_line_for_all_runs(reasons, tmp_path: Path) -> None:
    (line,) = reasons(overrides(IMAGES.format(root=tmp_path / "no")))
    assert line == (
        f"{tmp_path / 'no'}: no such folder; set data.root to a folder with "
        "train/<class>/<images>, or with train.pack, or link one there (3 of 3 runs to train)"
    )


def test_every_distinct_reason_has_its_own_line_and_its_own_count(reasons, tmp_path: Path) -> None:
    lines = reasons(overrides("precision=fp16", IMAGES.format(root=tmp_path / "no")))
    assert [line.partition(":")[0] for line in lines] == [
        "precision.autocast=fp16", str(tmp_path / "no"),
    ]  # fmt: skip


def test_the_lines_go_to_the_person_and_the_status_is_2(
    sandbox: Sandbox, tmp_path: Path, capsys
) -> None:
    asked = overrides("precision=fp16", IMAGES.format(root=tmp_path / "no"))
    assert concluded(lambda: sandbox.sweep(asked)) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in said] == [True, True]


def test_a_gpu_trains_in_half_precision(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "visible_gpus", lambda: ["0"])
    configs_of(sandbox, overrides("precision=fp16"))
    assert sandbox.sweep(overrides("precision=fp16")) == 0
    assert len(sandbox.started()) == 3


def test_results_that_are_a_file_are_wrong_input(sandbox: Sandbox) -> None:
    shutil.rmtree(sandbox.base / "results")
    (sandbox.base / "results").touch()
    assert sandbox.sweep("dry_run=true") == 0
    with pytest.raises(RefusedError, match=r"results/runs: cannot be written .*, or set results="):
        sandbox.sweep()


def configs_of(sandbox: Sandbox, *arguments: str) -> None:
    """Let the stand-in for training know the runs of other settings."""
    sandbox.plan = plan_tables(settings_in(sandbox.base, *arguments))
    sandbox.names = list(sandbox.plan.runs)
    sandbox.behave()


def test_results_are_reported_without_their_images_and_more_is_refused(
    sandbox: Sandbox, image_folder
) -> None:
    """A laptop with a copy of the results."""
    root = image_folder()
    asked = overrides(IMAGES.format(root=root))
    configs_of(sandbox, asked)
    for run in list(sandbox.plan.runs.values())[:2]:
        leave(sandbox.base / "results", run.config, 70.0)
    shutil.rmtree(root)
    with pytest.raises(RefusedError, match=r"no such folder; .* \(1 of 1 runs to train\)"):
        sandbox.sweep(asked)
    said = []
    report(settings_in(sandbox.base, asked, script="report"), said.append)
    table = sandbox.base / "results" / "mini" / "table8.md"
    assert table.read_text().count("70.0") >= 2
    table.unlink()
    leave(sandbox.base / "results", list(sandbox.plan.runs.values())[2].config, 60.0)
    assert sandbox.sweep(asked) == 0
    assert any("\nnothing to train" in said for said in sandbox.said)
    assert "60.0" in table.read_text()
    assert sandbox.started() == []
    with pytest.raises(RefusedError, match=r"\(3 of 3 runs to train\)"):
        sandbox.sweep(asked, "redo=all")
    assert table.read_text().count("70.0") >= 2, "no record is set aside"


def test_a_run_that_another_process_trains_needs_no_images_here(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = settings_in(sandbox.base, overrides(IMAGES.format(root=tmp_path / "no")))
    runs = list(plan_tables(settings).runs.values())
    elsewhere = [replace(run, status=Status.RUNNING) for run in runs]
    for todo, count in ((runs, 1), (elsewhere, 0)):
        assert len(obstacles_here(todo, settings)) == count


def test_a_plan_says_which_images_are_not_there_and_fails_for_nothing(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    asked = overrides("precision=fp16", IMAGES.format(root=tmp_path / "no"))
    assert sandbox.sweep(asked, "dry_run=true") == 0
    *_, last = sandbox.said[-1].splitlines()
    assert last == (
        f"{tmp_path / 'no'}: no such folder; set data.root to a folder with "
        "train/<class>/<images>, or with train.pack, or link one there (3 of 3 runs to train)"
    )
    assert sum("no such folder" in line for line in sandbox.said[-1].splitlines()) == 1


def test_a_download_is_announced_and_keeps_nothing_from_starting(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    asked = overrides("data=cifar10", f"data.root={tmp_path / 'cifar10'}")
    assert sandbox.sweep(asked, "dry_run=true") == 0
    *_, last = sandbox.said[-1].splitlines()
    configs_of(sandbox, asked)
    sandbox.said.clear()
    assert sandbox.sweep(asked) == 0
    assert sandbox.said[0].splitlines()[-1] == last
    assert last.startswith(f"{tmp_path / 'cifar10'}: CIFAR-10 is not there; the first run that ")
    assert last.endswith("(3 of 3 runs to train)")


def test_a_plan_of_images_that_are_there_says_nothing_of_them(
    sandbox: Sandbox, image_folder
) -> None:
    root = image_folder({"train": 22, "val": 2})
    sandbox.sweep(overrides(IMAGES.format(root=root)), "dry_run=true")
    assert "runs to train)" not in sandbox.said[-1]


class Submitted:
    """An executor that takes jobs of a cluster and never ends any."""

    waits, open_jobs = False, 0

    def __init__(self, *_: object, **__: object) -> None:
        self.jobs: list = []

    def submit(self, jobs: list) -> list:
        self.jobs += jobs
        return []

    def close(self) -> None: ...


def test_jobs_of_a_cluster_may_see_what_the_login_node_does_not(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = Submitted()
    monkeypatch.setattr(sweep_module, "SlurmExecutor", lambda *_, **__: executor)
    asked = overrides("precision=fp16", IMAGES.format(root=tmp_path / "no"))
    assert sandbox.sweep(asked, "launcher=slurm") == 0
    assert len(executor.jobs) == 3
    plan = next(said for said in sandbox.said if said.startswith("profile "))
    assert plan.splitlines()[-1].endswith(
        "(3 of 3 runs to train; on this machine: the nodes of the jobs must have it)"
    )
    assert "emulates" not in plan
