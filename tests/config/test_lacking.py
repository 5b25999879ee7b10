"""What a run lacks is found by a look at folders, for every opener; nothing else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaledrelu.config import digest, first_look
from scaledrelu.config.compose import CONF_DIR, compose_unpinned
from scaledrelu.config.first_look import look_at_data
from scaledrelu.config.lacking import lacking_download, lacking_files, lacking_here
from scaledrelu.config.places import options_of
from scaledrelu.errors import ConfigError, DataError
from tests.helpers.configs import composed, with_values

BUILD = {"train": "train", "val": "val", "test": "test", "version": "v1", "with_val": True}


@pytest.mark.parametrize("opener", sorted(digest._PARTS.keys() - {"datasets.open_digits"}))
def test_every_opener_of_files_is_looked_at(opener: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError) as refused:
        look_at_data(opener, BUILD, tmp_path / "file" / "root")
    assert str(refused.value).startswith(f"{tmp_path / 'file' / 'root'}: ")
    assert "set data.root to a folder with" in str(refused.value)


@pytest.mark.parametrize("data", ["cifar10", "imagenet1k"])
def test_half_a_copy_in_class_folders_is_not_completed_by_a_download(
    tmp_path: Path, data: str
) -> None:
    (tmp_path / "train").mkdir()
    config = composed(f"data={data}", "profile=cifar", f"data.root={tmp_path}")
    (line,) = lacking_files(config, made=True)
    assert line.startswith(f"{tmp_path / 'test'}: no such folder (found in {tmp_path}: train)")
    assert lacking_download(config) == []
    (tmp_path / "test").mkdir()
    assert lacking_here(config) == []


def test_a_folder_that_can_be_made_for_a_download_lacks_nothing_yet(tmp_path: Path) -> None:
    config = composed("data=cifar10", "profile=cifar", f"data.root={tmp_path / 'a' / 'b'}")
    assert lacking_here(config) == []
    (line,) = lacking_download(config)
    assert line.startswith(f"{tmp_path / 'a' / 'b'}: CIFAR-10 is not there; ")
    (tmp_path / "a" / "b" / first_look.CIFAR10_BATCHES).mkdir(parents=True)
    assert lacking_download(config) == []


def test_what_a_plan_makes_lacks_only_a_run_by_itself(tmp_path: Path) -> None:
    config = with_values(composed("recipe=reid"), {"paths.results": str(tmp_path)})
    assert lacking_files(config, made=False) == []
    (line,) = lacking_files(config, made=True)
    assert "data.root=made, but the data set has not been generated" in line


def test_an_opener_from_elsewhere_may_read_anything() -> None:
    other = {"data.build._target_": "mine.open_stream", "data.root": "s3://bucket/images"}
    assert lacking_here(with_values(composed("data=imagefolder"), other)) == []


def test_a_folder_that_may_not_be_entered_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(folder: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(first_look, "is_image_folder", closed)
    (line,) = lacking_here(composed("data=imagefolder", "data.root=/closed"))
    assert line.startswith("/closed/train: cannot be looked at (Permission denied)")


@pytest.mark.parametrize("profile", options_of(CONF_DIR, "profile"))
def test_digits_stand_in_for_imagenet_where_the_refusal_of_a_root_says_so(profile: str) -> None:
    chosen = f"profile={profile}"
    stands_in = composed(chosen).data.name == "digits"
    assert stands_in == (profile in ("mini", "smoke"))
    if stands_in:
        with pytest.raises(ConfigError, match=r"at mini and smoke they stand in for imagenet1k"):
            compose_unpinned([chosen, "data.root=/photos"])
    else:
        assert compose_unpinned([chosen, "data.root=/photos"]).data.root == "/photos"
