import dataclasses
import hashlib
import json
import math
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scaledrelu.data.people import folder as mini_reid
from scaledrelu.data.people.cameras import HEIGHT, WIDTH, Variation, invent_cameras, photograph
from scaledrelu.data.people.canvas import FINE, Canvas, Pattern
from scaledrelu.data.people.folder import write_mini_reid
from scaledrelu.data.people.pedestrians import CLOTH, Facing, Pose, draw_person, invent_people
from scaledrelu.data.people.sheet import save_sheet
from scaledrelu.data.people.sightings import PRESETS, SPLITS, Preset, plan_shots
from scaledrelu.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"(-1|\d{4})_c(\d)s(\d)_(\d{6})_(\d{2})\.jpg")
TINY = Preset(
    name="tiny",
    train_ids=3,
    test_ids=4,
    lonely_ids=1,
    cameras=4,
    views=3,
    train_shots=2,
    gallery_shots=1,
    distractors=4,
    junk=2,
    colours=6,
    alike=2,
    strength=0.2,
    variation=Variation(brightness=0.1, misplaced=3.0, occluded=0.5),
)


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


def people_of(folder, split):
    """List (name, identity, camera) as a reader with nothing but the names would."""
    found = [(p.name, NAME.fullmatch(p.name)) for p in sorted((folder / split).iterdir())]
    return [(name, int(match[1]), int(match[2])) for name, match in found]


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


def test_a_camera_number_of_two_digits_is_refused():
    with pytest.raises(ValueError, match="one digit"):
        dataclasses.replace(TINY, cameras=10)


# --- how hard the data sets are


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


def test_two_images_of_one_person_by_one_camera_show_two_poses():
    (person,) = invent_people(1, colours=6, alike=1, rng=np.random.RandomState(0))
    (camera,) = invent_cameras(1, strength=0.1, rng=np.random.RandomState(1))
    still = Variation(brightness=0.0, misplaced=0.0, occluded=0.0)
    one, two = (
        photograph(person, camera, still, rng=np.random.RandomState(i)).astype(int) for i in (2, 3)
    )
    assert one.shape == (HEIGHT, WIDTH, 3)
    assert (abs(one - two).max(axis=2) > 40).mean() > 0.03


def test_things_before_a_person_change_the_image_where_asked():
    (person,) = invent_people(1, colours=6, alike=1, rng=np.random.RandomState(0))
    (camera,) = invent_cameras(1, strength=0.1, rng=np.random.RandomState(1))
    free, hidden = (Variation(brightness=0.0, misplaced=0.0, occluded=o) for o in (0.0, 1.0))
    changed = [
        abs(
            photograph(person, camera, free, rng=np.random.RandomState(seed)).astype(int)
            - photograph(person, camera, hidden, rng=np.random.RandomState(seed))
        ).max()
        for seed in range(5)
    ]
    assert min(changed) > 40


# --- people and shapes


@pytest.mark.parametrize("alike", [1, 4])
def test_groups_share_an_outfit_and_no_two_people_look_the_same(alike):
    people = invent_people(120, colours=6, alike=alike, rng=np.random.RandomState(0))
    outfits = [(p.upper, p.second, p.pattern, p.lower) for p in people]
    details = [(p.sleeves, p.lower_kind, p.bag, p.hair_style) for p in people]
    assert len(set(outfits)) == 120 / alike
    assert all(len(set(outfits[i : i + alike])) == 1 for i in range(0, 120, alike))
    assert len(set(zip(outfits, details, strict=True))) == 120
    assert all(p.second == p.upper for p in people if p.pattern is Pattern.PLAIN)
    assert {c for p in people for c in (p.upper, p.lower, p.shoes)} == set(CLOTH[:6])


def drawn(person, facing):
    canvas = Canvas(np.full((HEIGHT * FINE, WIDTH * FINE, 3), -1.0))
    draw_person(canvas, person, Pose(facing, stride=0.0, swing=0.0, height=56.0, x=16.0, y=4.0))
    return canvas.finish()


def test_a_backpack_covers_the_back_and_a_patch_the_chest():
    (someone,) = invent_people(1, colours=6, alike=1, rng=np.random.RandomState(0))
    person = dataclasses.replace(
        someone,
        upper=(200, 0, 0),
        second=(0, 200, 0),
        pattern=Pattern.PATCH,
        bag="backpack",
        bag_colour=(0, 0, 200),
    )
    middle = slice(19, 22), slice(15, 17)
    assert (drawn(person, Facing.FRONT)[middle] == (0, 200, 0)).all()
    assert (drawn(person, Facing.BACK)[middle] == (0, 0, 200)).all()
    without = dataclasses.replace(person, bag="none")
    assert (drawn(without, Facing.BACK)[middle] == (200, 0, 0)).all()


def test_left_and_right_are_mirror_images():
    for person in invent_people(20, colours=6, alike=1, rng=np.random.RandomState(0)):
        plain = dataclasses.replace(person, pattern=Pattern.PLAIN, bag="backpack")
        left, right = drawn(plain, Facing.LEFT), drawn(plain, Facing.RIGHT)
        assert (abs(left - right[:, ::-1]).max(axis=2) > 60).mean() < 0.02


@pytest.mark.parametrize(
    ("draw", "area"),
    [
        (lambda c: c.ellipse(16, 30, (6, 9), (1, 1, 1)), math.pi * 6 * 9),
        (lambda c: c.limb([(8, 20), (20, 36)], 3, (1, 1, 1)), 2 * 3 * 20 + math.pi * 9),
        (lambda c: c.garment(16, (10, 40), (5, 9), ((1, 1, 1),) * 2), 30 * (5 + 9)),
        (lambda c: c.ellipse(0, 64, (6, 9), (1, 1, 1)), math.pi * 6 * 9 / 4),
        (lambda c: c.ellipse(-20, -20, (6, 9), (1, 1, 1)), 0),
        (lambda c: c.garment(16, (10, 40), (6, 6), ((0, 0, 0), (1, 1, 1)), Pattern.YOKE), 144),
        (lambda c: c.garment(16, (10, 40), (6, 6), ((0, 0, 0), (1, 1, 1)), Pattern.CHECKS), 180),
    ],
)
def test_shapes_cover_the_area_that_geometry_says(draw, area):
    canvas = Canvas(np.zeros((HEIGHT * FINE, WIDTH * FINE, 3)))
    draw(canvas)
    assert canvas.finish()[..., 0].sum() == pytest.approx(area, rel=0.04)


# --- the picture and the command


def test_the_contact_sheet_shows_each_file_in_the_column_of_its_camera(tmp_path):
    write_mini_reid(TINY, tmp_path / "data", seed=0)
    save_sheet(tmp_path / "data", tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    train = people_of(tmp_path / "data", "bounding_box_train")
    identities = sorted({i for _, i, _ in train})
    cells = {}
    for name, identity, camera in train:
        cells.setdefault((identity, camera), name)
    for row, identity in enumerate(identities):
        for camera in range(1, TINY.cameras + 1):
            y, x = 22 + row * (2 * HEIGHT + 4), 44 + (camera - 1) * (2 * WIDTH + 4)
            cell = sheet[y : y + 2 * HEIGHT : 2, x : x + 2 * WIDTH : 2]
            name = cells.get((identity, camera))
            path = tmp_path / "data" / "bounding_box_train" / (name or "")
            assert (cell == (np.asarray(Image.open(path)) if name else 225)).all()


def test_a_contact_sheet_of_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="no images named PPPP_cCsS"):
        save_sheet(tmp_path, tmp_path / "sheet.png")


def test_the_command_draws_a_picture_and_says_what_is_wrong_in_one_line(made, tmp_path):
    with Image.open(made["market"].parent / "sheet.png") as sheet:
        assert sheet.format == "PNG"
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "mine.jpg").write_text("")
    done = run_script("--preset", "msmt", "--out", str(tmp_path))
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*first: query/mine\.jpg.*\n", done.stderr)


def test_the_plan_has_no_two_images_of_one_name():
    for preset in PRESETS.values():
        for seed in range(3):
            paths = [shot.path for shot in plan_shots(preset, seed=seed)]
            assert len(paths) == len(set(paths))
