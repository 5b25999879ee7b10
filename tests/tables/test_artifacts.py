"""Artifacts in a plan: named before they exist, made once, between teacher and pupils."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from scaledrelu.config.artifacts import (
    MANIFEST,
    artifact_directory,
    label_artifact,
    label_folder,
    pin_label_digest,
)
from scaledrelu.config.compose import compose, compose_unpinned
from scaledrelu.config.data import UNLABELLED
from scaledrelu.config.identity import run_id
from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import ConfigError, DataError
from scaledrelu.launch import artifacts
from scaledrelu.launch.artifacts import make_artifact
from scaledrelu.launch.estimate import Estimate
from scaledrelu.launch.jobs import files_of, jobs_of
from scaledrelu.launch.overview import plan_text
from scaledrelu.launch.sweep import runs_to_train
from scaledrelu.reports.cells import read_cell
from scaledrelu.reports.published_tables import read_published
from scaledrelu.reports.report import write_reports
from scaledrelu.runs.ending import EXIT_BUSY, EXIT_FAILED, EXIT_OK
from scaledrelu.runs.lock import claim
from scaledrelu.runs.record import Status, read_error
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import load_table
from tests.helpers.table_fakes import FakeCompose, finish, write_table

PUPILS = {
    "label": "pupils",
    "run": ["recipe=deit", "data.token_labels=made"],
    "rows": [
        {"run": ["stem=patchify"], "paper": {"top1": 83.4}},
        {"run": ["stem=conv"], "paper": {"top1": 84.1}},
    ],
}
SCRIPT = """
import argparse, pathlib
parser = argparse.ArgumentParser()
for name in ("--run", "--results", "--artifact-id"):
    parser.add_argument(name)
asked = parser.parse_args()
folder = pathlib.Path(asked.results, "artifacts", asked.artifact_id)
(folder / "artifact.json").write_text(asked.run)
"""


class PinningCompose(FakeCompose):
    """The fake composer, with label digests pinned as the real one does."""

    def __call__(self, overrides):
        composed = super().__call__(overrides)
        pinned = pin_label_digest(
            composed.config, self.conf_dir, lambda asked: self(asked).config, known={}
        )
        return replace(composed, config=pinned)


@pytest.fixture
def conf(tmp_path):
    write_table(tmp_path / "conf", blocks=[PUPILS])
    write_making(tmp_path, teacher=["recipe=probe", "stem=conv"])
    (tmp_path / "make.py").write_text(SCRIPT)
    return tmp_path


def write_making(folder, *, teacher):
    (folder / "conf" / "artifact").mkdir(exist_ok=True)
    making = {"script": "make.py", "teacher": teacher}
    (folder / "conf" / "artifact" / "token_labels.yaml").write_text(yaml.safe_dump(making))


def planned(folder, *, seeds=(0,), overrides=()):
    return Planner(
        "mini",
        results=folder / "results",
        compose=PinningCompose(folder / "conf"),
        overrides=overrides,
    ).plan([load_table("table8", folder / "conf")], seeds)


def teacher_of(plan):
    (item,) = plan.artifacts.values()
    return plan.runs[item.artifact.teacher_id]


def pupils_of(plan):
    return [run for run in plan.runs.values() if run.artifact]


def launched(plan, redo="none", *, crash=()):
    """Work through the jobs of a plan in this process; return those that were not held back.

    Every run finishes; those in ``crash`` crash.
    """
    files, done = files_of(plan), []
    for job in jobs_of(plan, runs_to_train(plan, redo), len):
        done_already = files.status(job.name) is Status.OK
        if done_already and files.mark(job.name) != job.replaces:  # every executor looks so
            continue
        if all(files.status(name) is Status.OK for name in job.after):
            job.prepare()
            if job.name in plan.runs:
                finish(plan, job.name, crash="non_finite" if job.name in crash else None)
            else:
                assert job.work() == 0
            done.append(job.name)
    return done


def test_teacher_artifact_and_pupils_are_planned_in_this_order_and_shared(conf):
    plan = planned(conf, seeds=(0, 1))
    teacher = teacher_of(plan)
    (item,) = plan.artifacts.values()
    assert len(plan.runs) == 1 + 4
    assert (teacher.wave, item.wave, {run.wave for run in pupils_of(plan)}) == (0, 1, {2})
    assert teacher.seed == 0
    assert teacher in plan.runs_of(plan.tables[0])
    assert f"{item.artifact_id} from {teacher.run_id}: missing" in plan_text(
        plan, [], n_jobs=1, estimate=lambda run: Estimate(None, measured=False)
    )


def test_another_teacher_is_another_artifact_and_other_pupils(conf):
    before = planned(conf)
    write_making(conf, teacher=["recipe=probe", "stem=patchify"])
    after = planned(conf)
    assert set(before.artifacts).isdisjoint(after.artifacts)
    assert set(before.runs).isdisjoint(after.runs)


def test_extra_overrides_reach_the_teacher_only_where_they_are_no_science(conf):
    plan = planned(conf, overrides=("lr.base=9e-4", "launch.threads=1"))
    assert "launch.threads=1" in teacher_of(plan).overrides
    assert "lr.base=9e-4" not in teacher_of(plan).overrides
    assert all("lr.base=9e-4" in run.overrides for run in pupils_of(plan))


@pytest.fixture
def own_scripts(conf, monkeypatch):
    monkeypatch.setattr(artifacts, "ROOT", conf)


@pytest.mark.usefixtures("own_scripts")
def test_the_teacher_is_trained_the_maps_are_made_then_the_pupils_are_trained(conf):
    plan = planned(conf)
    (item,) = plan.artifacts.values()
    pupils = [run.run_id for run in pupils_of(plan)]
    assert launched(plan) == [teacher_of(plan).run_id, item.artifact_id, *pupils]
    again = planned(conf)
    assert [item.status for item in again.artifacts.values()] == [Status.OK]
    assert runs_to_train(again, "none") == []


@pytest.mark.usefixtures("own_scripts")
def test_a_teacher_that_is_trained_again_makes_its_maps_again(conf):
    launched(planned(conf))
    plan = planned(conf)
    (item,) = plan.artifacts.values()
    manifest = artifact_directory(plan.results, item.artifact_id) / MANIFEST
    before = manifest.stat().st_mtime_ns
    assert item.artifact_id in launched(plan, "all")
    assert manifest.stat().st_mtime_ns > before


@pytest.mark.usefixtures("own_scripts")
def test_nothing_is_made_or_trained_below_a_crashed_teacher(conf):
    plan = planned(conf)
    teacher = teacher_of(plan).run_id
    assert launched(plan, crash=[teacher]) == [teacher]
    plan = planned(conf)
    assert runs_to_train(plan, "none") == []
    value = read_cell(plan, plan.cells[0])
    assert value.status is Status.MISSING  # the pupil did not crash: its maps are missing
    assert value.seeds[0].why == f"teacher crashed ({teacher})"


@pytest.mark.usefixtures("own_scripts")
def test_a_crashed_teacher_is_no_start_that_crashed_beside_a_seed_that_crashed_itself(conf):
    plan = planned(conf, seeds=(0, 1))
    cell = plan.cells[0]
    artifact = plan.artifacts[plan.runs[cell.run_ids[0]].artifact].artifact
    finish(plan, artifact.teacher_id, crash="non_finite")
    finish(plan, cell.run_ids[1], crash="non_finite")
    plan = planned(conf, seeds=(0, 1))
    write_reports(plan)
    line = read_published(plan.results / "mini")[0].lines[0]
    assert (line.n, line.n_crash) == (1, 1)
    assert line.started == (1, 1)


@pytest.mark.usefixtures("own_scripts")
def test_a_script_that_fails_leaves_its_last_line_and_no_manifest(conf):
    (item,) = planned(conf).artifacts.values()
    (conf / "make.py").write_text("import sys; print('error: disk full'); sys.exit(2)")
    results = conf / "results"
    assert make_artifact(item.artifact, results=results) == EXIT_FAILED
    folder = artifact_directory(results, item.artifact_id)
    assert not (folder / MANIFEST).exists()
    assert read_error(folder) == "disk full"
    (item,) = planned(conf).artifacts.values()
    assert (item.status, item.reason) == (Status.FAILED, "disk full")
    (conf / "make.py").write_text(SCRIPT)
    assert make_artifact(item.artifact, results=results) == EXIT_OK
    assert read_error(folder) is None


@pytest.mark.usefixtures("own_scripts")
def test_an_artifact_is_made_by_one_process_at_a_time(conf):
    (item,) = planned(conf).artifacts.values()
    folder = artifact_directory(conf / "results", item.artifact_id)
    folder.mkdir(parents=True)
    with claim(folder):
        assert make_artifact(item.artifact, results=conf / "results") == EXIT_BUSY
    assert not (folder / "error.txt").exists()


def test_labels_that_were_not_made_name_the_command_that_makes_them(tmp_path):
    config = compose(["recipe=volo", "model=volo_d1", f"paths.results={tmp_path}"])
    with pytest.raises(DataError, match=r"data\.token_labels=made, but the label maps .*sweep\.py"):
        label_folder(config)


def test_a_teacher_of_other_images_is_refused_in_one_line():
    volo = ["recipe=volo", "model=volo_d1"]
    with pytest.raises(ConfigError, match=r"data\.image_size=8: .* the teacher .*=16") as caught:
        compose([*volo, "data.image_size=8"])
    assert "\n" not in str(caught.value)


def test_maps_in_a_folder_change_the_run_and_the_folder_does_not(tmp_path):
    volo = ["recipe=volo", "model=volo_d1"]
    ids = {}
    for name, size in (("a", 10), ("b", 10), ("c", 20)):
        place = tmp_path / name / "n01440764"
        place.mkdir(parents=True)
        (place / "image.pt").write_bytes(b"x" * size)
        ids[name] = run_id(compose([*volo, f"data.token_labels={tmp_path / name}"]))
    assert ids["a"] == ids["b"] != ids["c"]
    none = run_id(compose([*volo, "data.token_labels=none"]))
    assert len({*ids.values(), none}) == 3


@pytest.mark.parametrize("profile", ["mini", "cifar", "small", "paper", "official", "smoke"])
def test_a_teacher_can_be_trained_and_labels_left_out_at_every_profile(profile):
    volo = [f"profile={profile}", "recipe=volo", "model=volo_d1"]
    config = compose_unpinned([*volo, "data.token_labels=made"])
    teacher = label_artifact(config, CONF_DIR, compose_unpinned).teacher_id
    assert teacher.startswith("volo-")
    without = compose_unpinned([*volo, *UNLABELLED.split()])
    assert (without.data.token_labels, without.data.decoder) == ("none", "pil")


@pytest.mark.parametrize("data", ["imagefolder", "cifar10"])
def test_a_teacher_of_other_images_is_refused_in_words_about_them(data, image_folder):
    volo = ["recipe=volo", "model=volo_d1", f"data={data}", f"data.root={image_folder()}"]
    with pytest.raises(ConfigError, match=rf"^data\.name={data}: .* has data\.name=digits; "):
        compose(volo)


def test_plan_and_job_agree_on_the_artifact():
    config = compose(["recipe=volo", "model=volo_d1"])
    artifact = label_artifact(config, CONF_DIR, compose)
    assert config.data.token_labels_digest == artifact.artifact_id
    assert Path(CONF_DIR.parent / artifact.script).name == "make_token_labels.py"
