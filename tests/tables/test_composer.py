import pytest

from scaledrelu.config import digest
from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.tables.composer import Composer


@pytest.fixture
def images(tmp_path):
    for split in ("train", "val"):
        for name in ("a", "b"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            (folder / "0.png").write_bytes(b"x")
    return tmp_path / "images"


@pytest.fixture
def planned(images, tmp_path):
    """A function that gives a run's id as the next command would plan it."""
    overrides = ["data=imagefolder", f"data.root={images}"]

    def plan():
        composer = Composer(tmp_path / "results")
        found = run_id(dict(composer(overrides).config))
        composer.save()
        assert found == run_id(compose([*overrides, f"paths.results={tmp_path / 'job'}"]))
        return found

    return plan


def add(images):
    (images / "train" / "a" / "1.png").write_bytes(b"y")


def remove(images):
    (images / "val" / "b" / "0.png").unlink()


def overwrite(images):
    (images / "train" / "b" / "0.png").write_bytes(b"longer")


@pytest.mark.parametrize("change", [add, remove, overwrite])
def test_cached_plan_follows_the_data(planned, images, change):
    before = planned()
    assert planned() == before
    change(images)
    assert planned() != before


def test_one_plan_looks_at_the_files_once(images, tmp_path, monkeypatch):
    looks = []
    look = digest.data_parts
    monkeypatch.setattr(digest, "data_parts", lambda *of: looks.append(of) or look(*of))
    composer = Composer(tmp_path / "results")
    for seed in range(3):
        composer(["data=imagefolder", f"data.root={images}", f"seed={seed}"])
    assert len(looks) == 1


def test_data_that_appears_after_the_plan_was_cached_is_seen(planned, images):
    images.rename(images.with_name("away"))
    before = planned()
    images.with_name("away").rename(images)
    assert planned() != before
