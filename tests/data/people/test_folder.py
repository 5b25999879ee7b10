"""The written data sets: always the same bytes, Market-1501's layout, neither easy nor hopeless."""

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scaledrelu.data.people import folder as mini_reid
from scaledrelu.data.people.folder import write_mini_reid
from scaledrelu.data.people.sightings import PRESETS, SPLITS
from scaledrelu.errors import DataError
from tests.helpers.people import NAME, TINY, people_of

ROOT = Path(__file__).resolve().parents[3]


def run_script(*arguments):
    script = str(ROOT / "scripts" / "make_mini_data.py")
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], "
        "run_name='__main__'); assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both published presets, the first by the command (sheet.png beside it): name -> folder."""
    top = tmp_path_factory.mktemp("mini")
    paths = ("--out", str(top / "market"), "--picture", str(top / "sheet.png"))
    done = run_script("--preset", "market", *paths)
    assert done.returncode == 0, done.stderr
    write_mini_reid(PRESETS["msmt"], top / "msmt", seed=0)
    return {name: top / name for name in PRESETS}


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def manifest_of(folder):
    return json.loads((folder / "artifact.json").read_text())


def test_same_preset_and_seed_give_the_same_bytes_and_another_seed_others(tmp_path):
    for folder, seed in (("one", 5), ("two", 5), ("other", 6)):
        write_mini_reid(TINY, tmp_path / folder, seed=seed)
    one, two, other = (files(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert not set(one.values()) & set(other.values())


def test_an_image_depends_neither_on_the_process_nor_on_the_other_images(made, tmp_path):
    market = PRESETS["market"]
    queries = dataclasses.replace(market, train_shots=0, gallery_shots=0, distractors=0, junk=0)
    write_mini_reid(queries, tmp_path, seed=0)
    again = {name: content for name, content in files(tmp_path).items() if name != "artifact.json"}
    published = files(made["market"])
    assert len(again) == manifest_of(made["market"])["counts"]["query"]
    assert all(published[name] == content for name, content in again.items())


def test_a_second_writing_restores_every_byte(tmp_path):
    write_mini_reid(TINY, tmp_path, seed=0)
    before = files(tmp_path)
    first, second = sorted((tmp_path / "query").iterdir())[:2]
    first.unlink()
    second.write_bytes(b"torn")
    write_mini_reid(TINY, tmp_path, seed=0)
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", PRESETS)
def test_names_and_folders_are_those_of_market1501(made, name):
    assert {p.name for p in made[name].iterdir()} == {*SPLITS, "artifact.json"}
    for split in SPLITS:
        names = [p.name for p in (made[name] / split).iterdir()]
        assert [n for n in names if not NAME.fullmatch(n)] == []
    assert {i for _, i, _ in people_of(made[name], "bounding_box_test")} >= {-1, 0}
    for split in ("bounding_box_train", "query"):
        assert min(i for _, i, _ in people_of(made[name], split)) > 0


@pytest.mark.parametrize("name", PRESETS)
def test_manifest_tells_what_is_in_the_folder(made, name):
    folder, told = made[name], manifest_of(made[name])
    rows = {split: [r for r in people_of(folder, split) if r[1] >= 0] for split in SPLITS}
    assert told["counts"] == {
        "train": len(rows["bounding_box_train"]),
        "query": len(rows["query"]),
        "gallery": len(rows["bounding_box_test"]),
        "train_ids": len({i for _, i, _ in rows["bounding_box_train"]}),
        "query_ids": len({i for _, i, _ in rows["query"]}),
        "cameras": len({c for split in SPLITS for _, _, c in rows[split]}),
    }
    gallery = [i for _, i, _ in people_of(folder, "bounding_box_test")]
    assert (told["distractors"], told["junk"]) == (gallery.count(0), gallery.count(-1))
    whole = hashlib.sha256()
    for path, content in sorted(files(folder).items()):
        if path.endswith(".jpg"):
            whole.update(f"{path}\0{len(content)}\0".encode() + content)
    assert told["sha256"] == whole.hexdigest()


@pytest.mark.parametrize("name", PRESETS)
def test_every_query_has_a_match_on_another_camera_but_the_named_ones(made, name):
    cameras = defaultdict(set)
    for _, identity, camera in people_of(made[name], "bounding_box_test"):
        cameras[identity].add(camera)
    queries = people_of(made[name], "query")
    alone = [file for file, identity, camera in queries if cameras[identity] == {camera}]
    assert alone == manifest_of(made[name])["queries_without_match"]
    assert len(alone) == PRESETS[name].lonely_ids > 0
    assert all(camera in cameras[identity] for _, identity, camera in queries)  # to be removed


@pytest.mark.parametrize("name", PRESETS)
def test_training_and_test_people_are_others_and_enough_for_batches(made, name):
    train = people_of(made[name], "bounding_box_train")
    assert not {i for _, i, _ in train} & {i for _, i, _ in people_of(made[name], "query")}
    by_identity = defaultdict(list)
    for _, identity, camera in train:
        by_identity[identity].append(camera)
    assert len(by_identity) >= 16  # identities of a batch
    assert min(len(cameras) for cameras in by_identity.values()) >= 4  # images of each
    assert min(len(set(cameras)) for cameras in by_identity.values()) >= 2


def test_images_are_upright_jpegs_in_colour(made):
    for path in sorted(made["market"].glob("query/*.jpg"))[:5]:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 64))


def test_an_interrupted_writing_leaves_no_manifest(tmp_path, monkeypatch):
    write_mini_reid(TINY, tmp_path, seed=0)
    calls = iter(range(5))
    monkeypatch.setattr(mini_reid, "photograph", lambda *a, **k: next(calls) and None)
    with pytest.raises(AttributeError):
        write_mini_reid(TINY, tmp_path, seed=0)
    assert not (tmp_path / "artifact.json").exists()


def test_a_folder_with_other_images_is_refused_untouched(tmp_path):
    write_mini_reid(TINY, tmp_path, seed=0)
    before = files(tmp_path)
    with pytest.raises(DataError, match=r"not part of this data set .*choose another folder"):
        write_mini_reid(TINY, tmp_path, seed=1)
    assert files(tmp_path) == before


def test_a_made_set_is_what_its_manifest_says_whatever_hidden_files_lie_in_it(tmp_path):
    write_mini_reid(TINY, tmp_path, seed=0)
    (tmp_path / "query/._0001_c1s1_000001_00.jpg").write_bytes(b"x")
    (tmp_path / "query/.DS_Store").write_bytes(b"x")
    mini_reid.check_made(tmp_path)
    write_mini_reid(TINY, tmp_path, seed=0)
    manifest = (tmp_path / "artifact.json").read_bytes()
    for damage in (b"", b"{}", b"[]", b"\xff", manifest[:40]):
        (tmp_path / "artifact.json").write_bytes(damage)
        with pytest.raises(DataError, match="differs from its manifest"):
            mini_reid.check_made(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match=r"taken: cannot be written \(Not a directory\)"):
        write_mini_reid(TINY, tmp_path / "taken", seed=0)


def colours_of(folder, split):
    """Histogram of each colour over the middle of every image, the ids and the cameras."""
    rows = [row for row in people_of(folder, split) if row[1] >= 0]
    middles = (np.asarray(Image.open(folder / split / n))[8:56, 8:24] for n, _, _ in rows)
    bins = [
        np.concatenate([np.histogram(m[..., c], 8, (0, 256))[0] for c in range(3)]) for m in middles
    ]
    return np.array(bins, float), np.array([r[1] for r in rows]), np.array([r[2] for r in rows])


def nearest_by_colour(folder):
    """Rank-1 of the nearest colour histogram, and of guessing, in percent."""
    query, ids, cameras = colours_of(folder, "query")
    gallery, gallery_ids, gallery_cameras = colours_of(folder, "bounding_box_test")
    hits, guesses = [], []
    for one, identity, camera in zip(query, ids, cameras, strict=True):
        kept = (gallery_ids != identity) | (gallery_cameras != camera)
        right = gallery_ids[kept] == identity
        if right.any():
            hits.append(right[((gallery[kept] - one) ** 2).sum(1).argmin()])
            guesses.append(right.mean())
    return 100 * np.mean(hits), 100 * np.mean(guesses)


def test_colours_alone_find_many_people_on_market_and_few_on_msmt(made):
    market, guessed = nearest_by_colour(made["market"])
    msmt, _ = nearest_by_colour(made["msmt"])
    assert 5 * guessed < market < 75
    assert msmt < market / 2


def test_cameras_differ_in_colour_and_more_so_on_msmt(made):
    spread = {}
    for name, folder in made.items():
        seen = defaultdict(list)
        for file, _, camera in people_of(folder, "bounding_box_train"):
            image = np.asarray(Image.open(folder / "bounding_box_train" / file), float)
            seen[camera].append(image.mean((0, 1)))
        spread[name] = np.std([np.mean(colours, axis=0) for colours in seen.values()], axis=0).min()
    assert 2 < spread["market"] < 0.7 * spread["msmt"]


def test_the_command_draws_a_picture_and_says_what_is_wrong_in_one_line(made, tmp_path):
    with Image.open(made["market"].parent / "sheet.png") as sheet:
        assert sheet.format == "PNG"
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "mine.jpg").write_text("")
    done = run_script("--preset", "msmt", "--out", str(tmp_path))
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*first: query/mine\.jpg.*\n", done.stderr)
