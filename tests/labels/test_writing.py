"""Label maps hold what the teacher says at every position, and only whole, wanted maps count."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models.volo import VOLO

from scaledrelu import files
from scaledrelu.config.artifacts import label_artifact
from scaledrelu.config.compose import compose
from scaledrelu.config.places import CONF_DIR
from scaledrelu.data.decoding import BadImageError
from scaledrelu.engine.checkpoint import read_checkpoint, save_checkpoint
from scaledrelu.errors import ConfigError, DataError, RunError, ScaledReluError
from scaledrelu.labels import folder as label_files
from scaledrelu.labels import writing as label_maps
from scaledrelu.labels.dense_logits import dense_grid, dense_logits
from scaledrelu.labels.maps import LabelMaps
from scaledrelu.labels.teachers import timm_teacher, timm_view
from scaledrelu.labels.writing import default_id, make_label_maps
from scaledrelu.runs.build import build_task
from scaledrelu.runs.ending import concluded
from scaledrelu.runs.feed import open_data
from scaledrelu.runs.record import read_result, write_result
from scaledrelu.runs.result import Outcome
from scaledrelu.runs.spawn import run_job
from scaledrelu.runs.teachers import teacher_from_run
from scripts import make_token_labels
from tests.helpers.tiny_runs import folder_of

CPU = torch.device("cpu")
CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A finished run and its label maps, made once."""
    results = tmp_path_factory.mktemp("taught")
    run = compose(["profile=smoke", "recipe=deit", "stem=conv", f"paths.results={results}"])
    assert run_job(run).ended.value == "ok"
    folder = folder_of(run)
    maps = make_label_maps(teacher_from_run(results, folder.name), results=results, device=CPU)
    return SimpleNamespace(results=results, run_id=folder.name, config=run, maps=maps)


@pytest.fixture
def untaught(taught, tmp_path):
    """A copy of the run that a test may spoil, without label maps."""
    shutil.copytree(taught.results / "runs", tmp_path / "results" / "runs")
    folder = tmp_path / "results" / "runs" / taught.run_id
    return SimpleNamespace(results=tmp_path / "results", run_id=taught.run_id, folder=folder)


def manifest_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "artifact.json").read_text())


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.pt"))}


# A teacher of our own


def test_a_map_holds_the_five_largest_logits_of_every_position(taught) -> None:
    config = taught.config
    train = open_data(config).train
    task = build_task(config, 10).eval()
    weights = taught.results / "runs" / taught.run_id / "last.pt"
    task.load_state_dict(torch.load(weights, weights_only=True)["task"])
    mean, std = (torch.tensor(getattr(config.data, key)).view(3, 1, 1) for key in ("mean", "std"))
    seen = {}
    task.backbone.norm.register_forward_hook(lambda _, __, out: seen.update(tokens=out))
    with torch.no_grad():
        task.backbone((train.images.float() / 255 - mean) / std)
        logits_NhwC = task.backbone.head(seen["tokens"][:, 1:]).unflatten(1, (4, 4)).numpy()
    for index in (0, 70, len(train) - 1):
        name = f"{train.classes[train.targets[index]]}/{Path(train.name_of(index)).name}.pt"
        found = torch.load(taught.maps / name, weights_only=True)
        assert (found.shape, found.dtype) == ((2, 5, 4, 4), torch.float16)
        expected = -np.sort(-logits_NhwC[index], axis=-1)[..., :5]
        assert np.abs(found[0].permute(1, 2, 0).numpy() - expected).max() < 2e-3
        picked = np.take_along_axis(
            logits_NhwC[index], found[1].permute(1, 2, 0).long().numpy(), axis=-1
        )
        assert np.abs(picked - expected).max() < 1e-6


def test_training_can_read_every_map_where_it_looks_for_it(taught) -> None:
    train = open_data(taught.config).train
    maps = LabelMaps(taught.maps, train, num_classes=10)
    assert len(train) == manifest_of(taught.maps)["num_files"]
    assert maps.shape == (2, 5, 4, 4)


def test_the_manifest_tells_what_was_made(taught) -> None:
    manifest = manifest_of(taught.maps)
    files, digest = bytes_of(taught.maps), hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0{len(files[path])}\0".encode() + files[path])
    told = {k: manifest[k] for k in ("kind", "teacher", "num_files", "map", "num_classes")}
    assert told == {
        "kind": "token_labels",
        "teacher": taught.run_id,
        "num_files": len(files),
        "map": [4, 4],
        "num_classes": 10,
    }
    assert manifest["sha256"] == digest.hexdigest()
    assert manifest["artifact_id"] == taught.maps.name


def test_the_teachers_accuracy_is_that_of_the_maps(taught) -> None:
    hits, count = 0, 0
    for path in taught.maps.rglob("*.pt"):
        values, classes = torch.load(path, weights_only=True).float()
        dense_C = np.zeros(10)
        for value, label in zip(values.flatten(), classes.flatten(), strict=True):
            dense_C[int(label)] += float(value)
        hits, count = hits + (str(dense_C.argmax()) == path.parent.name), count + 1
    told = manifest_of(taught.maps)["top1_of_teacher"]
    assert told == pytest.approx(100 * hits / count, abs=0.01)


def test_a_plan_knows_the_id_of_the_maps_before_they_are_made(taught) -> None:
    run = compose(["profile=smoke", "recipe=deit"])
    artifact = label_artifact(run, CONF_DIR, lambda _: run)
    teacher = SimpleNamespace(name=artifact.teacher_id, settings={})
    assert default_id(teacher, weights="", content="") == artifact.artifact_id


def test_a_volo_of_our_own_labels_with_its_dense_output() -> None:
    overrides = ("recipe=volo", "model=volo_d1", "stem=conv", "data.token_labels=none")
    backbone = build_task(compose(["profile=smoke", *overrides]), 10).backbone.eval()
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        given, dense = backbone.forward_dense(images, None), dense_logits(backbone, images)
        assert torch.allclose(
            given.class_BC + 0.5 * dense.amax((2, 3)), backbone(images), atol=1e-5
        )
    assert dense.shape == (2, 10, *backbone.token_grid)
    assert torch.equal(dense[0, :, 1, 2], given.tokens_BNC[0, backbone.token_grid[1] + 2])


# Going on


def test_making_again_elsewhere_gives_equal_bytes(taught, tmp_path) -> None:
    teacher = teacher_from_run(taught.results, taught.run_id)
    again = make_label_maps(teacher, out=tmp_path / "again", device=CPU)
    assert bytes_of(again) == bytes_of(taught.maps)
    assert manifest_of(again) == manifest_of(taught.maps)


def test_a_finished_folder_is_left_alone(taught) -> None:
    files = [path for path in taught.maps.rglob("*") if path.is_file()]
    times = [path.stat().st_mtime_ns for path in files]
    teacher = teacher_from_run(taught.results, taught.run_id)
    assert make_label_maps(teacher, results=taught.results, device=CPU) == taught.maps
    assert [path.stat().st_mtime_ns for path in files] == times


def test_a_killed_making_goes_on_and_keeps_what_is_there(untaught, taught, monkeypatch) -> None:
    teacher = teacher_from_run(untaught.results, untaught.run_id)
    folder = untaught.results / "artifacts" / taught.maps.name
    torch.set_num_threads(1)
    child = os.fork()
    if child == 0:
        replaced, replace = [], os.replace

        def then_die(source, target):
            if str(target).endswith(".pt"):
                replaced.append(target)
            if len(replaced) > 80:
                os.kill(os.getpid(), signal.SIGKILL)  # before the rename: a temporary file stays
            replace(source, target)

        monkeypatch.setattr(os, "replace", then_die)
        make_label_maps(teacher, results=untaught.results, device=CPU)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*/[0-9]*.pt")}
    assert len(kept) == 80
    assert not (folder / "artifact.json").exists()
    torn = next(iter(kept))
    torn.write_bytes(torn.read_bytes()[:100])
    del kept[torn]
    make_label_maps(teacher, results=untaught.results, device=CPU)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert bytes_of(folder) == bytes_of(taught.maps)
    assert manifest_of(folder) == manifest_of(taught.maps)
    assert not list(folder.rglob("*.tmp"))


def spoil_weights(folder: Path, change) -> None:
    state = read_checkpoint(folder / "last.pt")
    change(state)
    save_checkpoint(folder, state)


def test_maps_of_a_teacher_that_was_trained_again_are_replaced(untaught) -> None:
    teacher = teacher_from_run(untaught.results, untaught.run_id)
    old = make_label_maps(teacher, results=untaught.results, device=CPU)
    spoil_weights(untaught.folder, lambda state: state["task"]["backbone.head.bias"].add_(1))
    again = teacher_from_run(untaught.results, untaught.run_id)
    with pytest.raises(DataError, match=f"finished label maps of {untaught.run_id}"):
        make_label_maps(again, results=untaught.results, device=CPU)
    before = bytes_of(old)
    (old / "artifact.json").unlink()  # a plan forgets an artifact that way
    new = make_label_maps(again, results=untaught.results, device=CPU)
    assert new == old
    assert bytes_of(new) != before


def test_maps_of_other_origin_are_never_mixed_in(taught, tmp_path) -> None:
    shutil.copytree(taught.maps, tmp_path / "published")
    for name in ("artifact.json", "making.json"):
        (tmp_path / "published" / name).unlink()
    before = bytes_of(tmp_path / "published")
    teacher = teacher_from_run(taught.results, taught.run_id)
    with pytest.raises(DataError, match="of another teacher or other images"):
        make_label_maps(teacher, out=tmp_path / "published", device=CPU)
    assert bytes_of(tmp_path / "published") == before


@pytest.mark.parametrize("name", ["artifact.json", "making.json"])
@pytest.mark.parametrize("content", [b"", b'{"kind"', b"[]", b"\xff"])
def test_a_damaged_note_beside_maps_is_said_to_be_that(untaught, taught, name, content) -> None:
    copy = untaught.results / "artifacts" / taught.maps.name
    shutil.copytree(taught.maps, copy)
    (copy / name).write_bytes(content)
    teacher = teacher_from_run(untaught.results, untaught.run_id)
    with pytest.raises(DataError, match=f"{name}: damaged .*restore it") as refused:
        make_label_maps(teacher, results=untaught.results, device=CPU)
    assert "\n" not in str(refused.value)
    assert bytes_of(copy) == bytes_of(taught.maps)


# What cannot be labelled


def crash(run) -> None:
    result = read_result(run.folder)
    crashed = dataclasses.replace(result, outcome=Outcome.CRASH, crash={"kind": "non_finite"})
    write_result(run.folder, crashed, {})


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (crash, "upstream crashed"),
        (lambda run: shutil.rmtree(run.folder), "no such run"),
        (lambda run: (run.folder / "result.json").unlink(), "not finished"),
        (
            lambda run: (run.folder / "last.pt").unlink(),
            "last.pt: missing, although the run is finished",
        ),
        (lambda run: (run.folder / "last.pt").write_bytes(b"PK"), "last.pt: damaged"),
        (
            lambda run: spoil_weights(run.folder, lambda state: state["cursor"].update(step=1)),
            "weights of step 1, but the run ended at step 4",
        ),
    ],
    ids=["crashed", "missing", "unfinished", "no weights", "torn weights", "older weights"],
)
def test_a_run_that_cannot_teach_is_one_line(untaught, capsys, spoil, line) -> None:
    spoil(untaught)
    arguments = ["--run", untaught.run_id, "--results", str(untaught.results)]
    status = concluded(lambda: make_token_labels.main(make_token_labels.parse(arguments)))
    said = capsys.readouterr().err.strip().splitlines()
    assert status == 2
    assert len(said) == 1
    assert line in said[0]
    assert untaught.run_id in said[0]


def test_classes_that_the_format_cannot_hold_are_refused(taught) -> None:
    teacher = teacher_from_run(taught.results, taught.run_id)
    for count in (4, 2049):
        with pytest.raises(ConfigError, match="5 to 2,048"):
            label_maps.label_paths(dataclasses.replace(teacher, num_classes=count))
    indices = torch.arange(2048).float()
    assert torch.equal(indices.half().float(), indices)


def test_two_images_never_share_a_map(taught) -> None:
    teacher = teacher_from_run(taught.results, taught.run_id)
    teacher.source._names[1] = teacher.source._names[0] + ".copy"
    teacher.source.targets[1] = teacher.source.targets[0]
    with pytest.raises(DataError, match="two images"):
        label_maps.label_paths(teacher)


def disk_with(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = SimpleNamespace(total=1, used=1, free=free)
    monkeypatch.setattr(label_files.shutil, "disk_usage", lambda _: usage)


@pytest.mark.parametrize(("free", "said"), [(10_000, "10.0 kB"), (250_000, "0.2 MB"), (0, "0.0")])
def test_a_full_disk_is_found_before_a_map_is_written(
    taught, tmp_path, monkeypatch, free, said
) -> None:
    disk_with(monkeypatch, free)
    teacher = teacher_from_run(taught.results, taught.run_id)
    with pytest.raises(DataError, match=rf"142 label maps need 0\.6 MB .* only {said} .*make room"):
        make_label_maps(teacher, out=tmp_path / "maps", device=CPU)
    assert not bytes_of(tmp_path / "maps")


@pytest.mark.parametrize("name", ["making.json", "artifact.json", "0/"])
def test_a_disk_that_fills_up_is_one_line_whichever_file_it_meets(
    taught, tmp_path, monkeypatch, name
) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        if name in str(path.relative_to(tmp_path)):
            raise OSError(errno.ENOSPC, "No space left on device", f"{path}.tmp")
        return made(path, *_, **__)

    made = files.atomic_file
    monkeypatch.setattr(files, "atomic_file", full)
    monkeypatch.setattr(label_files, "atomic_file", full)
    teacher = teacher_from_run(taught.results, taught.run_id)
    with pytest.raises(DataError) as refused:
        make_label_maps(teacher, out=tmp_path / "maps", device=CPU)
    place, _, line = str(refused.value).partition(": ")
    assert name in place
    assert not place.endswith(".tmp")
    assert line == (
        "cannot be written (No space left on device); make room, or choose another folder with "
        "--out; finished maps are kept, and the same command goes on with them"
    )


def test_a_file_in_the_place_of_the_folder_is_one_line(taught, tmp_path) -> None:
    (tmp_path / "taken").touch()
    teacher = teacher_from_run(taught.results, taught.run_id)
    with pytest.raises(DataError, match=r"/taken: cannot be written .*; move away the file or"):
        make_label_maps(teacher, out=tmp_path / "taken", device=CPU)


def test_a_folder_in_the_place_of_a_map_is_named_and_not_a_temporary_file(tmp_path) -> None:
    place = tmp_path / "0" / "x.pt"
    place.mkdir(parents=True)
    (place / "kept").touch()
    with pytest.raises(DataError) as refused:
        label_files.write_map(place, b"map")
    assert str(refused.value).startswith(f"{place}: cannot be written (")


def test_logits_that_half_precision_cannot_hold_are_refused(taught, tmp_path) -> None:
    teacher = teacher_from_run(taught.results, taught.run_id)
    teacher.model.head.bias.data[3] = 1e5
    with pytest.raises(RunError, match="not finite in half precision"):
        make_label_maps(teacher, out=tmp_path / "maps", device=CPU)


# Teachers of timm

SWIN = {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2), "window_size": 4, "img_size": 64}


def trained(name: str, **kwargs) -> torch.nn.Module:
    """A network of timm whose weights are all random, so that no part is idle."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=12, **kwargs).eval()
    for parameter in model.parameters():
        if parameter.ndim < 2 or parameter.abs().max() == 0:
            parameter.data.normal_(0.5, 0.2)
    heads = model.get_classifier()
    for head in heads if isinstance(heads, tuple) else (heads,):
        torch.nn.init.normal_(head.weight, std=0.1)
    return model


@pytest.mark.parametrize(
    ("name", "options", "grid"),
    [
        ("test_nfnet", {}, (2, 2)),
        ("test_resnet", {}, (2, 2)),
        ("test_vit", {"img_size": 64, "global_pool": "avg", "fc_norm": False}, (4, 4)),
        ("swin_tiny_patch4_window7_224", SWIN, (8, 8)),
    ],
)
def test_the_mean_of_the_dense_logits_is_the_output_of_a_mean_pooling_network(
    name, options, grid
) -> None:
    model, images = trained(name, **options), torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        dense, ordinary = dense_logits(model, images), model(images)
    assert dense.shape == (3, 12, *grid)
    assert dense_grid(model, image_size=64, num_classes=12) == grid
    assert ordinary.std() > 0.01
    assert torch.allclose(dense.mean((2, 3)), ordinary, atol=1e-4)
    assert dense.std(dim=(2, 3)).min() > 1e-4


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_convnext", {}),  # LayerNorm between pooling and classifier
        ("test_vit", {"img_size": 64}),  # class token
        ("deit_tiny_distilled_patch16_224", {"img_size": 64, "depth": 1}),  # two heads
    ],
)
def test_an_image_of_equal_positions_gets_its_ordinary_output_everywhere(name, options) -> None:
    model = trained(name, **options)
    features = model.forward_features(torch.randn(2, 3, 64, 64))
    one = features[:, -1] if features.ndim == 3 else features[:, :, 1, 1]
    same = one.view(2, 1, -1) if features.ndim == 3 else one.view(2, -1, 1, 1)
    same = same.expand(features.shape)
    model.forward_features = lambda _: same
    with torch.no_grad():
        dense, ordinary = dense_logits(model, torch.zeros(2, 3, 64, 64)), model.forward_head(same)
    assert torch.allclose(dense, ordinary[:, :, None, None].expand_as(dense), atol=1e-5)


def test_positions_stay_where_they_are_and_prefix_tokens_are_dropped() -> None:
    model, images = trained("test_vit", img_size=64), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        tokens_ND = model.forward_features(images)[0, model.num_prefix_tokens :]
        expected = model.head(model.fc_norm(tokens_ND[4 * 1 + 2]))
        assert torch.allclose(dense_logits(model, images)[0, :, 1, 2], expected, atol=1e-5)
    model, images = trained("test_nfnet"), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        pixel_C = model.forward_features(images)[0, :, 1, 2]
        logits = dense_logits(model, images)
        assert logits.shape == (1, 12, 2, 3)
        assert torch.allclose(logits[0, :, 1, 2], model.head.fc(pixel_C), atol=1e-5)


def test_a_volo_of_timm_labels_with_its_auxiliary_head() -> None:
    widths, heads = (16, 32, 32, 32), (1, 2, 2, 2)
    model = VOLO(
        (1, 1, 1, 1), img_size=64, num_classes=12, embed_dims=list(widths), num_heads=list(heads)
    ).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        tokens_BND = model.forward_features(images)
        class_BC, dense = model.head(tokens_BND[:, 0]), dense_logits(model, images)
        assert dense.shape == (2, 12, 4, 4)
        assert torch.allclose(class_BC + 0.5 * dense.amax((2, 3)), model(images), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (torch.nn.Linear(3, 3), "Linear: cannot give class logits per position"),
        (trained("test_resnet").requires_grad_(False), "only one position at 32 pixels"),
    ],
)
def test_a_network_without_dense_output_gets_one_clear_line(model, line) -> None:
    with pytest.raises(ConfigError, match=line) as error:
        dense_grid(model, image_size=32, num_classes=12)
    assert "\n" not in str(error.value)


@pytest.fixture
def folder(tmp_path) -> Path:
    rng = np.random.RandomState(0)
    for name in CLASSES:
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            pixels = rng.randint(0, 256, (70, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.v1.png")
    return tmp_path / "images"


def test_any_timm_model_labels_a_folder_with_its_own_preprocessing(folder, tmp_path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_nfnet", num_classes=6).eval()
    torch.nn.init.normal_(model.head.fc.weight)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    arguments = ["--timm", "test_nfnet.r160_in1k", "--checkpoint", str(tmp_path / "weights.pt")]
    arguments += ["--image-size", "64", "--crop", "1.0", "--data", str(folder), "--workers", "2"]
    arguments += ["--out", str(tmp_path / "maps"), "--batch", "5", "--device", "cpu"]
    make_token_labels.main(make_token_labels.parse(arguments))
    image = Image.open(folder / "bee" / "1.v1.png").resize((73, 64), Image.BICUBIC)
    pixels = torch.tensor(np.array(image)[:, 4:68] / 255.0).float().permute(2, 0, 1)
    config = model.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        features_CHW = model.forward_features(((pixels - mean) / std)[None])[0]
        logits_CHW = torch.einsum("kc,chw->khw", model.head.fc.weight, features_CHW)
    found = torch.load(tmp_path / "maps" / "bee" / "1.pt", weights_only=True)
    expected = logits_CHW + model.head.fc.bias.data.view(-1, 1, 1)
    assert torch.equal(found[1].long(), expected.topk(5, dim=0).indices)
    assert torch.allclose(found[0].float(), expected.topk(5, dim=0).values, rtol=2e-3, atol=1e-2)
    manifest = json.loads((tmp_path / "maps" / "artifact.json").read_text())
    assert (manifest["teacher"], manifest["num_files"]) == ("test_nfnet.r160_in1k", 12)


def test_a_bad_image_is_told_with_the_option_of_this_script(
    folder, tmp_path, caplog, capsys
) -> None:
    torch.save(timm.create_model("test_resnet", num_classes=6).state_dict(), tmp_path / "w.pt")
    (folder / "bee" / "1.v1.png").write_bytes(b"no image")
    arguments = ["--timm", "test_resnet", "--checkpoint", str(tmp_path / "w.pt"), "--workers", "0"]
    arguments += ["--data", str(folder), "--out", str(tmp_path / "maps"), "--device", "cpu"]

    def make(*more: str) -> int:
        return concluded(
            lambda: make_token_labels.main(make_token_labels.parse([*arguments, *more]))
        )

    assert make() == 2
    said = capsys.readouterr().err
    assert said.endswith(
        "; restore the file, or convert it to PNG, or add --skip-bad-images to replace it by the "
        "next image of its class\n"
    )
    assert make("--skip-bad-images") == 0
    assert "on_bad_image" not in said + caplog.text
    assert "bee/1.v1.png: bad image, replaced by another of its class" in caplog.text


def test_a_bad_image_of_a_run_can_only_be_restored(taught, monkeypatch, capsys) -> None:
    def bad(*_: object, **__: object) -> None:
        raise BadImageError("cat/0.jpg", "broken link", "restore the file")

    monkeypatch.setattr(label_maps, "make_label_maps", bad)
    arguments = ["--run", taught.run_id, "--results", str(taught.results)]
    assert concluded(lambda: make_token_labels.main(make_token_labels.parse(arguments))) == 2
    assert capsys.readouterr().err == "error: cat/0.jpg: broken link; restore the file\n"


def test_the_published_teacher_sees_the_centre_as_when_its_maps_were_made() -> None:
    view = timm_view("dm_nfnet_f6.dm_in1k", image_size=576, crop=1.0)
    assert view["input_size"] == (3, 576, 576)
    told = (view["crop_pct"], view["crop_mode"], view["interpolation"])
    assert told == (1.0, "center", "bicubic")
    with torch.device("meta"):
        model = timm.create_model("dm_nfnet_f0").eval()  # as F6 in stride, and smaller
    assert dense_grid(model, image_size=576, num_classes=1000) == (18, 18)


def test_other_weights_or_images_have_another_id(folder, tmp_path) -> None:
    ids = []
    for seed in (0, 1, 1, "other images"):
        if seed == "other images":
            (folder / "bee/0.v1.png").write_bytes((folder / "bee/1.v1.png").read_bytes())
            seed = 1
        torch.manual_seed(seed)
        state = timm.create_model("test_resnet", num_classes=6).state_dict()
        torch.save(state, tmp_path / "weights.pt")
        teacher = timm_teacher("test_resnet", data=folder, checkpoint=tmp_path / "weights.pt")
        made = make_label_maps(teacher, results=tmp_path / "results", device=CPU)
        ids.append(made.name)
    assert ids[0] != ids[1] == ids[2] != ids[3]


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("test_nfnett", {"pretrained": True}, "did you mean 'test_nfnet'"),
        ("test_nfnet", {}, "give one of --pretrained and --checkpoint"),
        ("test_nfnet", {"checkpoint": "nowhere.pt"}, "--checkpoint=nowhere.pt: no such file"),
        ("test_nfnet", {"checkpoint": __file__}, "cannot be loaded"),
        ("test_nfnet", {"pretrained": True, "data": "nowhere"}, "nowhere: no such folder"),
    ],
)
def test_a_timm_teacher_that_cannot_be_had_is_one_line(folder, name, options, line) -> None:
    with pytest.raises(ScaledReluError, match=line) as error:
        timm_teacher(name, **{"data": folder, **options})
    assert "\n" not in str(error.value)


def test_a_teacher_of_other_classes_is_refused(folder, monkeypatch) -> None:
    plain = timm.create_model("test_resnet")
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: plain)
    with pytest.raises(DataError, match="6 class folders, but test_resnet has 1000"):
        timm_teacher("test_resnet", data=folder, pretrained=True)
