"""Runs keep their names where the files that they were trained on are not: records say them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from scaledrelu.config import recorded
from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.places import CONFIG
from scaledrelu.config.run import RunConfig
from scaledrelu.config.stored import CONFIG_YAML
from scaledrelu.runs.record import run_directory
from scaledrelu.tables.composer import Composer
from tests.helpers.run_folders import leave

LABELLED = ("recipe=volo", "model=volo_d1", "stem=conv")


def folder(root: Path, *, content: bytes = b"image") -> Path:
    for split in ("train", "val"):
        for name in ("a", "b"):
            path = root / split / name / "0.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return folder(tmp_path / "images")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    path = tmp_path / "maps" / "a" / "0.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"map")
    return tmp_path / "maps"


def run(tmp_path: Path, *more: str, images: str | Path = "images") -> RunConfig:
    """A run as plans and reports name it."""
    composer = Composer(tmp_path / "results")
    return composer(["data=imagefolder", f"data.root={tmp_path / images}", *more]).config


def away(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == recorded.__name__]


def test_a_run_keeps_its_name_without_its_images(tmp_path, images, caplog) -> None:
    before = run(tmp_path)
    leave(tmp_path / "results", before, 70.0)
    away(images)
    with caplog.at_level(logging.WARNING):
        after, other = run(tmp_path), run(tmp_path, "seed=1")
    assert after.data.digest == before.data.digest is not None
    assert run_id(after) == run_id(before) != run_id(other)
    assert other.data.digest == before.data.digest, "a run that was not trained, of the same images"
    assert len(notes(caplog)) == 1
    assert notes(caplog)[0] == (
        f"data.root={images}: not on this machine; taken for what the runs in "
        f"{tmp_path / 'results' / 'runs'} were trained with (digest {before.data.digest})"
    )


def test_what_is_about_to_be_trained_takes_no_name_from_records(
    tmp_path, images, maps, weights, caplog
) -> None:
    """A root that is wrong would else be answered with the results of other images."""
    asked = [
        "data=imagefolder", f"data.root={images}", *LABELLED, f"data.token_labels={maps}",
        "init=checkpoint", f"init.path={weights}", f"paths.results={tmp_path / 'results'}",
    ]  # fmt: skip
    trained = compose(asked)
    leave(tmp_path / "results", trained, 70.0)
    for place in (images, weights, maps):
        away(place)
    again = compose(asked)
    assert (again.data.digest, again.init.sha256, again.data.token_labels_digest) == (None,) * 3
    assert run_id(again) != run_id(trained)
    assert notes(caplog) == []


def test_images_of_a_data_set_without_a_name_of_its_own_are_known_by_their_place(
    tmp_path, images
) -> None:
    """``imagefolder`` says nothing about the images: only the place where they lay does."""
    config = run(tmp_path)
    leave(tmp_path / "results", config, 70.0)
    away(images)
    assert run(tmp_path, images="elsewhere").data.digest is None
    assert run(tmp_path, images="images/").data.digest == config.data.digest
    (run_directory(tmp_path / "results", run_id(config)) / CONFIG_YAML).unlink()
    recorded._read.cache_clear()
    assert run(tmp_path).data.digest is None, "a record that does not say where they lay"


def test_images_of_a_named_data_set_are_known_wherever_they_lay(tmp_path, images) -> None:
    config = run(tmp_path, "data.name=flowers")
    leave(tmp_path / "results", config, 70.0)
    away(images)
    elsewhere = run(tmp_path, "data.name=flowers", images="elsewhere")
    assert run_id(elsewhere) == run_id(config)


def test_images_that_are_here_are_never_taken_for_others(tmp_path, images, caplog) -> None:
    leave(tmp_path / "results", run(tmp_path), 70.0)
    folder(images, content=b"other")
    changed = run(tmp_path)
    folder(tmp_path / "third", content=b"third")
    assert len({run_id(changed), run_id(run(tmp_path, images="third"))}) == 2
    assert changed.data.digest is not None
    assert notes(caplog) == []


def test_without_a_run_that_knows_them_nothing_is_taken_for_granted(
    tmp_path, images, caplog
) -> None:
    away(images)
    assert run(tmp_path).data.digest is None
    leave(tmp_path / "results", run(tmp_path), 70.0)
    assert run(tmp_path).data.digest is None
    assert notes(caplog) == []


def test_another_data_set_tells_nothing(tmp_path, images) -> None:
    leave(tmp_path / "results", run(tmp_path, "data.name=flowers"), 70.0)
    away(images)
    assert run(tmp_path).data.digest is None
    assert run(tmp_path, "data.name=flowers").data.digest is not None


def test_where_runs_were_trained_on_different_images_a_person_chooses(
    tmp_path, images, caplog
) -> None:
    found = []
    for content in (b"first", b"second"):
        folder(images, content=content)
        away(tmp_path / "results" / ".cache") if found else None
        found.append(run(tmp_path))
        leave(tmp_path / "results", found[-1], 70.0)
    digests = sorted(config.data.digest for config in found)
    assert len(set(digests)) == 2
    away(images)
    with caplog.at_level(logging.WARNING):
        assert run(tmp_path).data.digest is None
    assert notes(caplog)[0].endswith(
        f"were trained with different files; set data.digest to one of {', '.join(digests)}"
    )
    chosen = run(tmp_path, f"data.digest={found[1].data.digest}")
    assert run_id(chosen) == run_id(found[1])


def test_a_damaged_record_tells_nothing_and_stops_nothing(tmp_path, images) -> None:
    config = run(tmp_path)
    leave(tmp_path / "results", config, 70.0)
    away(images)
    record = run_directory(tmp_path / "results", run_id(config)) / CONFIG
    whole = record.read_bytes()
    for damaged in (whole[:40], b"[]", b'{"data": {}}', b'{"data": 1, "init": 2}'):
        recorded._read.cache_clear()
        record.write_bytes(damaged)
        assert run(tmp_path).data.digest is None
    recorded._read.cache_clear()
    record.write_bytes(whole)
    assert run(tmp_path).data.digest == config.data.digest


def test_a_run_keeps_its_name_without_its_label_maps(tmp_path, images, maps) -> None:
    labelled = (*LABELLED, f"data.token_labels={maps}")
    before = run(tmp_path, *labelled)
    leave(tmp_path / "results", before, 70.0)
    away(maps)
    assert run_id(run(tmp_path, *labelled)) == run_id(before)
    away(images)
    assert run_id(run(tmp_path, *labelled)) == run_id(before)


def test_label_maps_of_a_teacher_of_ours_are_no_folder_of_maps(tmp_path, images, maps) -> None:
    labelled = (*LABELLED, f"data.token_labels={maps}")
    made = run(tmp_path, *labelled, "data.token_labels_digest=labels-0123456789ab")
    leave(tmp_path / "results", made, 70.0)
    away(maps)
    assert run(tmp_path, *labelled).data.token_labels_digest is None


def test_a_run_keeps_its_name_without_the_weights_that_it_starts_from(
    tmp_path, images, weights
) -> None:
    start = ("init=checkpoint", f"init.path={weights}")
    before = run(tmp_path, *start)
    leave(tmp_path / "results", before, 70.0)
    away(weights)
    assert run_id(run(tmp_path, *start)) == run_id(before)
    other = run(tmp_path, *start, "stem=conv")
    assert other.init.sha256 is None, "another stem starts from another file"
