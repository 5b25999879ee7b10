"""A re-identification run from configuration to result: retrieval, resume, two processes, start."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scaledrelu.config.artifacts import MANIFEST, artifact_directory, artifacts_root, data_artifact
from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig
from scaledrelu.data.people.folder import check_made, write_mini_reid
from scaledrelu.data.people.sightings import PRESETS
from scaledrelu.engine.checkpoint import read_checkpoint
from scaledrelu.engine.distributed import World
from scaledrelu.errors import ConfigError, DataError
from scaledrelu.runs import build as build_module
from scaledrelu.runs.dry import dry_step
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.execute import execute
from scaledrelu.runs.record import read_result
from scaledrelu.runs.spawn import run_job
from scaledrelu.tasks.base import Progress
from tests.helpers.tiny_runs import (
    assert_same_weights,
    ends_alike_from_its_last_checkpoint,
    fingerprint,
    folder_of,
    stop_when_asked,
    weights_of,
)

NETWORK = ("stem=conv", "model.depth=2", "launch.device=cpu")
# At the rate of mini a few steps bring all features together, and rounding decides who is near.
REID = ("recipe=reid", *NETWORK, "lr.base=1e-4")
GROUPS = (*REID, "batch.group=16", "optimizer=sgd")
CPU = World(0, 1, torch.device("cpu"))
NAME = re.compile(r"(\d{4})_c(\d)s")


@pytest.fixture(autouse=True)
def _cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the generated data set."""
    folder = tmp_path_factory.mktemp("reid") / "results"
    config = composed(folder, *REID)
    artifact = data_artifact(config, CONF_DIR)
    assert config.data.digest == artifact.artifact_id
    write_mini_reid(PRESETS["market"], artifact_directory(folder, artifact.artifact_id), seed=0)
    return folder


@pytest.fixture
def people(results: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may spoil."""
    (made,) = artifacts_root(results).glob("data-*")
    return Path(shutil.copytree(made, tmp_path / "people"))


@pytest.fixture(scope="module")
def trained(results: Path) -> dict[str, Any]:
    """The configuration of a finished run that nothing interrupted."""
    config = composed(results, *REID)
    assert run_job(config).ended == Ended.OK
    return config


@pytest.fixture
def beside(results: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """Compose a run in a results folder of its own that shares the data set."""

    def make(name: str, *overrides: str) -> RunConfig:
        folder = tmp_path / name
        folder.mkdir()
        artifacts_root(folder).symlink_to(artifacts_root(results))
        return composed(folder, *overrides)

    return make


def composed(results: Path, *overrides: str) -> RunConfig:
    return compose(["profile=smoke", f"paths.results={results}", *overrides])


def metrics_of(config: RunConfig) -> dict[str, float]:
    return read_result(folder_of(config)).metrics


def test_a_run_leaves_retrieval_and_both_parts_of_its_loss(trained) -> None:
    metrics = metrics_of(trained)
    assert {"val/map", "val/rank1", "val/rank5", "val/rank10", "val/map_best"} <= metrics.keys()
    assert 0 < metrics["val/rank1"] <= metrics["val/rank5"] <= metrics["val/rank10"] <= 100
    evidence = np.load(folder_of(trained) / "evidence.npz")
    assert evidence["map.last"] == metrics["val/map"]
    assert evidence["map.best"] == metrics["val/map_best"]
    hits = evidence["val.first_hit"]
    assert len(hits) == 122
    assert (hits > 0).sum() == metrics["val/valid_queries"] == 120
    for rank in (1, 5, 10):
        share = 100 * (hits[hits > 0] <= rank).mean()
        assert metrics[f"val/rank{rank}"] == pytest.approx(share)
    lines = (folder_of(trained) / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if "train/loss" in row]
    assert {"train/loss/id", "train/loss/triplet", "train/accuracy"} <= rows[0].keys()
    assert rows[0]["train/loss/id"] == pytest.approx(np.log(32), abs=0.02)  # 32 people
    place = artifact_directory(trained.paths.results, trained.data.digest)
    log = (folder_of(trained) / "rank0.log").read_text()
    assert re.search(
        rf"  mini_market at {place}: \d+ training images, 122 query images, \d+ gallery images\n",
        log,
    )


def test_every_group_of_a_run_holds_four_upright_images_of_each_of_its_people(results) -> None:
    training = build_module.build(composed(results, *GROUPS), CPU).training
    steps = list(training.loader.epoch(0))
    assert [len(step) for step in steps] == [2] * training.loader.steps_per_epoch
    for step in steps:
        for group in training.prepare(step, Progress(0, 1, 0, 1)):
            assert group.images.shape == (16, 3, 32, 16)
            assert group.targets.shape == (16, 32)
            assert sorted(group.targets.sum(0).tolist()) == [0.0] * 28 + [4.0] * 4


def people_of(folder: Path) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Read a folder as a reader with nothing but the file names would; junk is passed over."""
    paths = [path for path in sorted(folder.glob("*.jpg")) if not path.name.startswith("-1")]
    small = [Image.open(path).resize((16, 32), Image.Resampling.BILINEAR) for path in paths]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in small])).float()
    ids, cameras = np.array([NAME.match(p.name).groups() for p in paths], dtype=np.int64).T
    return ((pixels / 255 - 0.306) / 0.319).permute(0, 3, 1, 2), ids, cameras


@torch.no_grad()
def test_reported_map_and_places_are_those_of_the_last_weights_on_the_files(trained) -> None:
    task = build_module.build_task(trained, 32)
    task.load_state_dict(read_checkpoint(folder_of(trained) / "last.pt")["task"])
    task.eval()
    root = artifact_directory(trained.paths.results, trained.data.digest)
    (query, ids, cameras), (gallery, gallery_ids, gallery_cameras) = (
        people_of(root / name) for name in ("query", "bounding_box_test")
    )
    features = [torch.nn.functional.normalize(task.backbone(x)) for x in (query, gallery)]
    distances = torch.cdist(*(each.double() for each in features)).numpy()
    precisions, hits, places = [], [], []
    for i, row in enumerate(distances):
        kept = np.flatnonzero((gallery_ids != ids[i]) | (gallery_cameras != cameras[i]))
        order = kept[np.argsort(row[kept], kind="stable")]
        ranks = 1 + np.flatnonzero(gallery_ids[order] == ids[i])
        hits.append(ranks[0] if len(ranks) else 0)
        places.append(order[:10])
        if len(ranks):
            precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    # Near ties may fall the other way in another order of summation.
    assert metrics_of(trained)["val/map"] == pytest.approx(100 * np.mean(precisions), abs=0.2)
    evidence = np.load(folder_of(trained) / "evidence.npz")
    assert (evidence["val.first_hit"] == hits).mean() > 0.9
    pictured = np.array(places)[evidence["val.pictured"]]
    assert (evidence["val.first_places"] == pictured).mean() > 0.9


def test_a_run_that_stops_and_goes_on_ends_as_one_that_did_not(trained, beside) -> None:
    cut = beside("cut", *REID)
    assert run_id(cut) == run_id(trained)
    folder_of(cut).mkdir(parents=True)
    for stop_after in (3, 6):  # in the first epoch and in the second
        asked = stop_when_asked(stop_after)
        assert execute(cut, CPU, folder_of(cut), wants_stop=asked) is None
    assert run_job(cut).ended == Ended.OK
    assert fingerprint(cut) == fingerprint(trained)


def test_a_run_that_is_dead_at_its_end_stays_so_when_it_is_killed_before_its_result(beside) -> None:
    config = beside("dead", *REID, "divergence.ratio=0.01", "launch.checkpoint_every_steps=2")
    assert run_job(config).ended == Ended.CRASH
    sizes = read_result(folder_of(config)).data
    assert sizes["val"] > 0 < sizes["gallery"], "queries and gallery"
    ends_alike_from_its_last_checkpoint(config)


@pytest.mark.usefixtures("forked_ranks")
def test_one_process_and_two_ranks_train_the_same(beside) -> None:
    one, two = beside("one", *GROUPS), beside("two", *GROUPS, "launch.nproc=2")
    assert run_id(one) == run_id(two)
    assert run_job(one).ended == run_job(two).ended == Ended.OK
    assert read_result(folder_of(two)).provenance["processes"] == 2
    assert_same_weights(one, two, atol=5e-3)
    for name in ("val/map", "val/rank10"):  # a few near ties
        assert metrics_of(two)[name] == pytest.approx(metrics_of(one)[name], abs=2)
    assert metrics_of(two)["val/valid_queries"] == 120


def test_a_data_set_that_was_not_made_is_said_in_one_line(smoke) -> None:
    config = smoke(*REID)
    with pytest.raises(DataError) as caught:
        build_module.build(config, CPU)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"{artifacts_root(config.paths.results)}/data-")
    assert "the data set has not been generated; run `python scripts/make_mini_data.py" in said
    assert said.endswith("set data.root to a folder of your own in the layout of Market-1501")
    report = run_job(config)
    assert (report.ended, report.reason) == (Ended.REFUSED, said)
    assert not folder_of(config).exists()


def test_a_half_made_data_set_counts_as_none(smoke) -> None:
    config = smoke(*REID)
    folder = artifact_directory(config.paths.results, config.data.digest)
    (folder / "query").mkdir(parents=True)
    with pytest.raises(DataError, match="has not been generated"):
        build_module.build(config, CPU)


@pytest.mark.parametrize("change", ["removed", "changed", "added"])
def test_a_generated_set_that_is_not_as_it_was_made_is_refused(people, change) -> None:
    check_made(people)
    image = sorted((people / "query").glob("*.jpg"))[0]
    if change == "removed":
        image.unlink()
    else:
        name = image.name if change == "changed" else "0040_c1s1_000001_09.jpg"
        image.with_name(name).write_bytes(image.read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"differs from its manifest .* generate it again with"):
        check_made(people)


def test_a_spoilt_gallery_image_on_disk_ends_a_run_before_its_first_step(smoke, people) -> None:
    (people / MANIFEST).unlink()  # a folder of the user's own
    spoilt = sorted((people / "bounding_box_test").glob("*.jpg"))[-1]
    whole = spoilt.read_bytes()
    spoilt.write_bytes(whole[:200])
    disk = ("data.in_memory=false", "data.augment=reference")
    config = smoke(*REID, f"data.root={people}", *disk)
    report = run_job(config)
    assert report.ended == Ended.FAILED
    assert f"{spoilt}: damaged or incomplete image (" in report.reason
    assert (folder_of(config) / "metrics.jsonl").read_text() == ""
    spoilt.write_bytes(whole)
    assert run_job(smoke(*REID, f"data.root={people}", *disk)).ended == Ended.OK


def stretched(positions_1ND: np.ndarray) -> np.ndarray:
    """Class token, then a 4x4 grid with its rows doubled: linear between the middles of rows."""
    grid = positions_1ND[0, 1:].reshape(4, 4, -1)
    above, below = grid[[0, 0, 1, 2]], grid[[1, 2, 3, 3]]
    rows = np.stack([0.75 * grid + 0.25 * above, 0.75 * grid + 0.25 * below], axis=1)
    return np.concatenate([positions_1ND[0, :1], rows.reshape(32, -1)])[None]


def test_a_run_starts_from_a_dino_teacher_whose_positions_are_stretched(results) -> None:
    upstream = composed(results, "recipe=dino", *NETWORK, "model.drop_path=0.1")
    assert run_job(upstream).ended == Ended.OK
    config = composed(results, *REID, "init=run", f"init.run={run_id(upstream)}")
    task = build_module.build(config, CPU).training.task
    state = {name: value.double().numpy() for name, value in task.backbone.state_dict().items()}
    saved = weights_of(upstream)
    teacher = {n.removeprefix("teacher."): v for n, v in saved.items() if n.startswith("teacher.")}
    expected = stretched(teacher["pos_embed"])
    np.testing.assert_allclose(state["pos_embed"], expected, atol=1e-6)
    same = [name for name in state if name != "pos_embed" and "num_batches" not in name]
    assert all(np.array_equal(state[name], teacher[name]) for name in same)
    assert run_job(config).ended == Ended.OK
    assert "4x4 -> 8x4 (bilinear)" in (folder_of(config) / "rank0.log").read_text()


def test_a_row_takes_its_steps_on_noise(smoke) -> None:
    report = dry_step(smoke(*REID), num_classes=32)
    assert report.logits == (32, 64)  # features: the classifier is behind the neck
    assert report.loss > 0
    assert report.grad_norm > 0


def test_people_are_not_judged_by_their_classes(smoke, people) -> None:
    config = smoke(*REID, f"data.root={people}")
    config = replace(config, evaluation=smoke().evaluation)
    with pytest.raises(ConfigError, match=r"classification\.Top1 has no classes to compare"):
        build_module.build(config, CPU)


def test_a_set_without_gallery_is_refused_in_one_line(smoke) -> None:
    config = replace(smoke(*REID), data=smoke().data)  # as an opener from elsewhere would give it
    with pytest.raises(ConfigError, match=r"data\.name=\S+: has no query and gallery"):
        build_module.build(config, CPU)
