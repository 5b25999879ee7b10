"""A planned run is a file that says everything, and is executed as it stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from scaledrelu.config.identity import canonical, run_id
from scaledrelu.config.run import plain
from scaledrelu.errors import ConfigError, RunError, ScaledReluError
from scaledrelu.runs.ending import EXIT_FAILED, EXIT_OK, EXIT_WRONG_INPUT
from scaledrelu.runs.lock import only_writer
from scaledrelu.runs.planned import PlanWriter, planned_as, read_planned
from scaledrelu.runs.record import read_error, read_result
from scaledrelu.runs.spawn import train_planned
from tests.helpers.tiny_runs import folder_of


@pytest.fixture
def planned(smoke):
    """A function that plans a run and returns its configuration and its file."""

    def plan(*overrides: str):
        config = smoke(*overrides)
        PlanWriter().write(config, folder_of(config), planned_as="stem=conv seed=0")
        return config, folder_of(config) / "config.yaml"

    return plan


RUNS = {
    "deit": ["stem=conv", "lr.base=1e-3", "optimizer=sam", "warmup=none"],
    "dino": ["recipe=dino", "launch.workers=3"],
    "volo": ["recipe=volo", "model=volo_d1"],
    "reid": ["recipe=reid", "ema={decay: 0.9}"],
    "probe": ["recipe=linear_probe", "init=run", "init.run=dino-0123456789ab"],
}


@pytest.mark.parametrize("kind", RUNS)
def test_every_kind_of_run_is_read_back_as_it_was_composed(planned, kind):
    config, path = planned(*RUNS[kind])
    results = path.parents[2]
    again = read_planned(results, run_id(config))
    assert canonical(again) == canonical(config)
    assert replace(again, paths=config.paths) == config


def test_groups_that_runs_share_are_written_alike_and_seeds_apart(smoke, tmp_path):
    writer, config = PlanWriter(), smoke("stem=conv")
    for seed in range(3):
        one = replace(config, seed=seed)
        writer.write(one, tmp_path / str(seed), planned_as=f"seed={seed}")
        found = yaml.safe_load((tmp_path / str(seed) / "config.yaml").read_text())
        assert found == plain(one)
        assert planned_as(tmp_path / str(seed)) == f"seed={seed}"


def test_a_planned_run_is_trained_from_its_file_which_stays_as_it_is(planned):
    config, path = planned()
    before = path.read_bytes()
    assert train_planned(path.parents[2], run_id(config)) == EXIT_OK
    assert path.read_bytes() == before
    assert read_result(path.parent).run_id == run_id(config)
    log = (path.parent / "rank0.log").read_text()
    assert f"{run_id(config)}: planned as stem=conv seed=0" in log


def test_a_results_folder_may_move_and_have_any_name(planned, tmp_path):
    config, path = planned()
    moved = tmp_path / "M\u00fcller's ${HOME} "
    path.parents[2].rename(moved)
    again = read_planned(moved, run_id(config))
    assert again.paths.results == str(moved)


def test_where_and_how_fast_may_be_changed_and_nothing_else(planned):
    config, path = planned()
    changes = ["launch.workers=5", "wandb.mode=offline", "trust=[lion_pytorch]"]
    again = read_planned(path.parents[2], run_id(config), changes=changes)
    assert (again.launch.workers, again.wandb.mode) == (5, "offline")
    assert again.trust == ("lion_pytorch",)
    science = ("lr.base=1e-3", "stem=conv", "seed=1")
    for change in (*science, "launch=ddp8", "launch.workerz=1", "profile.name=foo"):
        with pytest.raises(ConfigError) as caught:
            read_planned(path.parents[2], run_id(config), changes=[change])
        assert "\n" not in str(caught.value)


def test_several_values_for_one_run_are_refused_in_one_line(planned):
    config, path = planned()
    with pytest.raises(ConfigError, match="--run trains one run; give one value"):
        read_planned(path.parents[2], run_id(config), changes=["launch.workers=1,2"])


def test_nothing_is_written_into_a_run_that_another_process_trains(planned):
    config, path = planned()
    with only_writer(path.parent):
        status = train_planned(path.parents[2], run_id(config), changes=["seed=1"])
    assert status == EXIT_WRONG_INPUT
    assert read_error(path.parent) is None


def edit(path: Path, **fields: object) -> None:
    raw = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(raw | fields))


def test_an_edited_file_is_another_run_and_is_refused(planned):
    config, path = planned()
    edit(path, seed=7)
    with pytest.raises(RunError, match="edited, or written by another version"):
        read_planned(path.parents[2], run_id(config))


def test_a_folder_that_was_renamed_is_to_get_its_name_again(planned):
    config, path = planned()
    path.parent.rename(path.parent.with_name("deit-renamed"))
    with pytest.raises(RunError, match=f"if the folder was renamed, name it {run_id(config)} "):
        read_planned(path.parents[2], "deit-renamed")


def test_code_that_only_the_file_trusts_is_not_called(planned):
    config, path = planned()
    edit(path, trust=["os"], task={"_target_": "os.system", "command": "true"})
    with pytest.raises(ConfigError, match=r"task\._target_=os\.system: not trusted code"):
        read_planned(path.parents[2], run_id(config))


@pytest.mark.parametrize("content", [b"", b"[1]", b"a: [", b"\xff\xfe", b"seed: 0\n"])
def test_a_damaged_file_is_one_line(planned, content):
    config, path = planned()
    path.write_bytes(content)
    with pytest.raises(ScaledReluError) as caught:
        read_planned(path.parents[2], run_id(config))
    assert "\n" not in str(caught.value)
    assert train_planned(path.parents[2], run_id(config)) in (EXIT_WRONG_INPUT, EXIT_FAILED)
    assert read_error(path.parent), "a sweep looks there"


def test_a_run_that_nobody_planned_is_one_line_that_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"is not planned in .*make table<N>"):
        read_planned(tmp_path, "deit-0123456789ab")


def test_data_that_changed_since_the_plan_is_refused(planned, image_folder):
    root = image_folder(sizes={"train": 40, "val": 4})
    data = ["data=imagefolder", f"data.root={root}", "data.image_size=16"]
    config, path = planned(*data)
    assert read_planned(path.parents[2], run_id(config)).data.digest
    (root / "train" / "cat" / "0.jpg").unlink()
    with pytest.raises(ConfigError, match="have changed since the run was planned"):
        read_planned(path.parents[2], run_id(config))


def test_a_digest_that_a_person_gave_is_believed(planned, image_folder):
    root = image_folder(sizes={"train": 40, "val": 4})
    data = ["data=imagefolder", f"data.root={root}", "data.image_size=16", "data.digest=mine-v1"]
    config, path = planned(*data)
    assert read_planned(path.parents[2], run_id(config)).data.digest == "mine-v1"
