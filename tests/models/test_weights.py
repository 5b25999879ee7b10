"""Every layout of weights gives back its network; everything else is refused in one line."""

from __future__ import annotations

import argparse
import copy
import math
import zipfile
from collections import OrderedDict
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer, vit_small_patch16_224

from scaledrelu.engine.checkpoint import save_checkpoint
from scaledrelu.errors import CheckpointError
from scaledrelu.models.weight_files import open_weights, sha256_or_error
from scaledrelu.models.weights import read_backbone, resize_positions
from scaledrelu.tasks.classification import Classification
from scaledrelu.tasks.dino import Dino
from scaledrelu.tasks.linear_probe import LinearProbe
from tests.helpers.model_builders import DEIT_S, STRIDE_2, make_vit
from tests.helpers.options import STEMS
from tests.helpers.recipes import task_of

MINI_TIMM = {"img_size": 16, "patch_size": 4, "embed_dim": 64, "depth": 2, "num_heads": 2}


def noisy(model: torch.nn.Module) -> torch.nn.Module:
    """Draw every weight and running statistic, so that no two networks agree by accident."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for _name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer))
    return model.eval()


def prefixed(weights, *prefixes):
    prefix = "".join(prefixes)
    return OrderedDict((prefix + name, value) for name, value in weights.items())


def projection_head(prefix=""):
    shapes = {"mlp.0.weight": (8, 64), "mlp.0.bias": (8,), "last_layer.weight_v": (32, 8)}
    return {f"{prefix}head.{name}": torch.ones(shape) for name, shape in shapes.items()}


def other(weights):
    return {name: torch.full_like(value, 7) for name, value in weights.items()}


def official_dino(weights, teacher_prefix=""):
    student = prefixed(other(weights), "module.backbone.") | projection_head("module.")
    return {
        "student": student,
        "teacher": prefixed(weights, teacher_prefix, "backbone.") | projection_head(teacher_prefix),
        # A rate of its schedule, and the folder that run_with_submitit.py puts into the arguments.
        "optimizer": {"state": {}, "param_groups": [{"lr": np.linspace(0, 5e-4, 3)[1]}]},
        "epoch": 100,
        "args": argparse.Namespace(
            arch="vit_small", local_crops_scale=(0.05, 0.4), output_dir=Path("checkpoint")
        ),
        "dino_loss": {"center": torch.zeros(1, 32)},
    }


def our_dino(weights):
    task = prefixed(other(weights), "student.") | prefixed(weights, "teacher.")
    task |= prefixed({"mlp.0.weight": torch.ones(8, 64)}, "teacher_head.")
    return {"task": task, "cursor": {"step": 3}, "complete": True}


LAYOUTS = {
    "official DINO": official_dino,
    "official DINO with BatchNorm": lambda w: official_dino(w, "module."),
    "official DINO, backbone only": dict,
    "official DeiT": lambda w: {"model": w | {"head.weight": torch.ones(7, 64)}},
    "timm": lambda w: {**w, "head.weight": torch.ones(1000, 64), "head.bias": torch.ones(1000)},
    "timm train.py": lambda w: {"state_dict": w, "arch": "x", "state_dict_ema": other(w)},
    "compiled": lambda w: {"model": prefixed(w, "_orig_mod.")},
    "our DINO run": our_dino,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_outputs_of_the_network_it_was_saved_from(layout, tmp_path) -> None:
    theirs = noisy(VisionTransformer(num_classes=0, **MINI_TIMM))
    torch.save(LAYOUTS[layout](theirs.state_dict()), tmp_path / "file.pth")
    ours = make_vit(num_classes=0).eval()
    report = read_backbone(open_weights(tmp_path / "file.pth"), ours)
    images = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(ours(images), theirs(images))
    assert set(report.loaded) == set(ours.state_dict())
    assert report.num_parameters == sum(p.numel() for p in ours.parameters())
    assert report.fresh == ()
    assert report.positions is None


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (np.float64(0).__reduce__()[0].__module__, "numpy.core.multiarray"),
        (type(Path()).__module__, "pathlib._local"),
    ],
    ids=["numpy 1", "Python 3.13"],
)
def test_a_file_of_another_version_of_numpy_or_python_is_read(here, there, tmp_path) -> None:
    torch.save(official_dino(make_vit(num_classes=0).state_dict()), tmp_path / "new.pth")
    with (
        zipfile.ZipFile(tmp_path / "new.pth") as new,
        zipfile.ZipFile(tmp_path / "old.pth", "w") as old,
    ):
        contents = {name: new.read(name) for name in new.namelist()}
        names = [f"c{module}\n".encode() for module in (here, there)]  # as pickle writes them
        assert sum(content.count(names[0]) for content in contents.values()) == 1
        for name, content in contents.items():
            old.writestr(name, content.replace(*names))
    state = open_weights(tmp_path / "old.pth")
    assert state["optimizer"]["param_groups"][0]["lr"] == 2.5e-4
    assert state["args"].output_dir == PurePosixPath("checkpoint")


def test_safetensors_are_read_like_any_bare_state_dict(tmp_path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    theirs, ours = noisy(VisionTransformer(num_classes=0, **MINI_TIMM)), make_vit(num_classes=0)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    read_backbone(open_weights(tmp_path / "model.safetensors"), ours.eval())
    images = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("kind", [Classification, LinearProbe])
def test_our_own_runs_give_back_every_stem_with_its_running_statistics(
    stem, kind, tmp_path
) -> None:
    theirs = noisy(make_vit(stem, num_classes=0))
    task = kind(
        copy.deepcopy(theirs), num_classes=10, **({"num_blocks": 2} if kind is LinearProbe else {})
    )
    save_checkpoint(tmp_path, {"task": dict(task.state_dict()), "cursor": {"step": 1}})
    ours = make_vit(stem, num_classes=0).eval()
    read_backbone(open_weights(tmp_path / "last.pt"), ours)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=0)


def test_a_dino_run_of_ours_gives_its_teacher_and_not_its_student() -> None:
    head = {"out_dim": 16, "head_hidden": 8, "bottleneck": 4}
    settings = Dino.Settings(**(task_of("dino") | head))
    task = Dino(make_vit("conv", num_classes=0), settings)
    noisy(task)
    ours = make_vit("conv", num_classes=0)
    report = read_backbone({"task": task.state_dict(), "complete": True}, ours)
    for name, value in task.backbone.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)
    assert not torch.equal(task.student.norm.weight, ours.norm.weight)
    assert {"student.norm.weight", "centre", "complete"} <= set(report.skipped)


def test_the_convolutions_of_algorithm_1_are_known_by_their_official_name() -> None:
    theirs, ours = noisy(make_vit("conv", num_classes=0)), make_vit("conv", num_classes=0).eval()
    state = {k.replace(".convs.", ".conv."): v for k, v in theirs.state_dict().items()}
    assert any(name.startswith("patch_embed.conv.") for name in state)
    read_backbone(official_dino(state, "module."), ours)
    images = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(ours(images), theirs(images))


def test_official_dino_fills_all_21_665_664_parameters_of_a_deit_but_the_head() -> None:
    theirs = vit_small_patch16_224(num_classes=0).state_dict()
    ours = make_vit(num_classes=1000, **DEIT_S)
    report = read_backbone(theirs, ours, source="dino_deitsmall16_pretrain.pth")
    assert report.num_parameters == 21_665_664
    assert report.fresh == ("head.weight", "head.bias")
    assert report.skipped == ()


def test_the_report_names_and_counts_what_was_loaded_skipped_and_left_fresh() -> None:
    weights = VisionTransformer(num_classes=0, **MINI_TIMM).state_dict()
    report = read_backbone(official_dino(weights), make_vit(image_size=24), source="dino.pth")
    loaded, skipped, fresh = report.lines()
    total = sum(v.numel() for v in weights.values()) + (36 - 16) * 64
    assert loaded == (
        f"weights from dino.pth (official DINO, entry 'teacher'): loaded {len(weights)} tensors, "
        f"{total:,} parameters, positions 4x4 -> 6x6 (bicubic)"
    )
    assert skipped == "  skipped 8: student, optimizer, epoch, args, dino_loss, head.* (3)"
    assert fresh == "  freshly initialised 2: head.* (2)"


@pytest.mark.parametrize("classes", [10, 11])
def test_a_classifier_is_not_taken_over_even_where_it_fits(classes: int) -> None:
    theirs, ours = noisy(make_vit(num_classes=10)), make_vit(num_classes=classes)
    before = ours.head.weight.clone()
    report = read_backbone(theirs.state_dict(), ours)
    assert "head.weight" in report.skipped
    assert "head.weight" not in report.loaded
    assert torch.equal(ours.head.weight, before)


def bicubic(line: torch.Tensor, size: int) -> torch.Tensor:
    """Resize the last axis with the cubic kernel of a = -0.75, edges repeated, in float64."""
    old, a = line.shape[-1], -0.75
    out = torch.zeros(*line.shape[:-1], size, dtype=torch.float64)
    for target in range(size):
        centre = (target + 0.5) * old / size - 0.5
        for tap in range(math.floor(centre) - 1, math.floor(centre) + 3):
            x = abs(centre - tap)
            near = (a + 2) * x**3 - (a + 3) * x**2 + 1
            weight = near if x <= 1 else a * (x**3 - 5 * x**2 + 8 * x - 4)
            out[..., target] += weight * line[..., min(max(tap, 0), old - 1)].double()
    return out


@pytest.mark.parametrize(
    ("old", "new"), [((4, 4), (6, 6)), ((4, 4), (8, 2)), ((8, 4), (3, 5)), ((6, 6), (4, 4))]
)
def test_positions_are_interpolated_bicubically_between_any_two_grids(old, new) -> None:
    positions = torch.randn(1, 1 + math.prod(old), 5)
    found = resize_positions(positions, old, new)
    maps = positions[0, 1:].reshape(*old, 5).permute(2, 0, 1)
    by_torch = F.interpolate(maps[None], size=new, mode="bicubic", align_corners=False)[0]
    by_hand = bicubic(bicubic(maps, new[1]).transpose(1, 2), new[0]).transpose(1, 2)
    for channel in range(5):
        for row in range(new[0]):
            for column in range(new[1]):
                value = found[0, 1 + row * new[1] + column, channel]
                torch.testing.assert_close(value, by_torch[channel, row, column])
                assert float(value) == pytest.approx(float(by_hand[channel, row, column]), abs=1e-5)
    assert torch.equal(found[:, 0], positions[:, 0])


def test_a_model_on_another_grid_gets_the_resized_positions() -> None:
    theirs = noisy(make_vit(num_classes=0))
    for size, grid in [(24, (6, 6)), ((32, 8), (8, 2)), ((64, 4), (16, 1))]:
        ours = make_vit(num_classes=0, image_size=size)
        report = read_backbone(theirs.state_dict(), ours)
        assert report.positions == f"4x4 -> {grid[0]}x{grid[1]} (bicubic)"
        assert torch.equal(ours.pos_embed, resize_positions(theirs.pos_embed, (4, 4), grid))


def test_positions_of_a_known_or_equal_oblong_grid_are_not_taken_for_square() -> None:
    oblong = noisy(make_vit(num_classes=0, image_size=(32, 8)))  # 8x2 = 16 = 4x4 tokens
    square = make_vit(num_classes=0)
    report = read_backbone(oblong.state_dict(), square, grid=(8, 2))
    assert report.positions == "8x2 -> 4x4 (bicubic)"
    tall = noisy(make_vit(num_classes=0, image_size=(16, 8)))  # 4x2 = 8 tokens: no square
    again = make_vit(num_classes=0, image_size=(16, 8))
    assert read_backbone(tall.state_dict(), again).positions is None
    assert torch.equal(again.pos_embed, tall.pos_embed)


def test_half_precision_files_and_missing_batch_counters_are_no_obstacle() -> None:
    theirs = noisy(make_vit("conv", num_classes=0))
    state = {k: v.half() for k, v in theirs.state_dict().items() if "num_batches" not in k}
    ours = make_vit("conv", num_classes=0)
    report = read_backbone(state, ours)
    assert {v.dtype for v in ours.parameters()} == {torch.float32}
    assert all(name.endswith("num_batches_tracked") for name in report.fresh)


def instance_batch(state):
    """Rename as in TransReID-SSL: the first norms work on halves, instance and batch."""
    found = {}
    for name, value in state.items():
        name = name.replace(".convs.", ".conv.")
        halves = name.startswith(("patch_embed.conv.1.", "patch_embed.conv.4."))
        for half in ("IN", "BN") if halves and value.ndim else ("",):
            stem, _, leaf = name.rpartition(".")
            found[f"{stem}.{half}.{leaf}" if half else name] = value[:8] if half else value
    return found


def nan(state):
    return state | {"norm.weight": state["norm.weight"] * math.nan}


def integers(state):
    return {name: value.to(torch.int8) for name, value in state.items()}


def sparse(state):
    return state | {"norm.weight": state["norm.weight"].to_sparse()}


def mini(**changes):
    return make_vit(num_classes=0, **changes).state_dict()


WRONG = {
    "other width": (lambda: mini(width=32), "width 32 in the file, 64 in this model"),
    "other depth": (lambda: mini(depth=3), "depth 3 in the file, 2 in this model"),
    "shallower": (lambda: mini(depth=1), "depth 1 in the file, 2 in this model"),
    "patchify": (
        lambda: mini(stem="patchify"),
        "stem 4x4(64) in the file, 7x7(16) norm 3x3(16) norm 3x3(16) norm 2x2(64) in this model",
    ),
    "no norm": (lambda: mini(stem="conv_relu"), "stem 7x7(16) 3x3(16) 3x3(16) 2x2(64)"),
    "other strides": (lambda: mini(stem="conv", stem_changes=STRIDE_2), "1x1(64)"),
    "other patch": (lambda: mini(stem="conv", patch_size=8, image_size=32), "stem"),
    "conv1d": (lambda: mini(stem="conv", ffn="conv1d_bn"), "FFN"),
    "no LayerNorm": (
        lambda: mini(stem="conv", ffn="no_layernorm"),
        "FFN fc1(256) fc2(64) in the file, fc1(256)",
    ),
    "IBN": (lambda: instance_batch(mini(stem="conv")), "half-in half-bn"),
    "distilled": (
        lambda: mini(stem="conv") | {"pos_embed": torch.ones(1, 18, 64)},
        "has 18 positions",
    ),
    "more weights": (
        lambda: mini(stem="conv") | {"mask_token": torch.ones(1)},
        "weights not in this model: 1 (mask_token)",
    ),
    "not finite": (lambda: nan(mini(stem="conv")), "not finite (norm.weight)"),
    "a ResNet": (
        lambda: {"conv1.weight": torch.ones(1), "fc.weight": torch.ones(1)},
        "none of its 2 tensors (conv1.weight, fc.weight, ...) belongs to this backbone",
    ),
    "numbers": (lambda: {"epoch": 3, "model": {}}, "no weights in it (found epoch, model)"),
    "numbered": (lambda: dict(enumerate(mini().values())), "no named weights (found 0, 1,"),
    "numbered inside": (
        lambda: {"model": {0: torch.ones(1)}},
        "no named weights (found 0)",
    ),
    "integers": (lambda: integers(mini(stem="conv")), "cls_token is a torch.int8 tensor"),
    "sparse": (
        lambda: sparse(mini(stem="conv")),
        "norm.weight is a torch.float32 tensor of",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_weights_of_another_network_are_refused_in_one_line_and_change_nothing(case) -> None:
    make, said = WRONG[case]
    ours = make_vit("conv")
    before = copy.deepcopy(ours.state_dict())
    with pytest.raises(CheckpointError) as refused:
        read_backbone(make(), ours, source="some.pth")
    assert said in str(refused.value)
    assert str(refused.value).startswith("some.pth")
    assert "\n" not in str(refused.value)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


class Object:
    """Something that only its own code can read back."""


def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    good = tmp_path / "good.pth"
    torch.save(mini(), good)
    files = {
        "page.pth": b"<!DOCTYPE html><html>Not found</html>",
        "empty.pth": b"",
        "torn.pth": good.read_bytes()[: good.stat().st_size // 2],
        "torn.safetensors": b"\x10\x00\x00\x00\x00\x00\x00\x00{",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"model": Object()}, tmp_path / "object.pth")
    said = dict.fromkeys(files, "damaged, or not a checkpoint")
    said |= {
        "empty.pth": "empty",
        "torn.pth": "incomplete or damaged",
        "list.pth": "holds a list",
        "object.pth": "test_weights.Object",
        "absent.pth": "no such file",
        ".": "a folder",
    }
    for name, expected in said.items():
        with pytest.raises(CheckpointError) as refused:
            open_weights(tmp_path / name)
        assert expected in str(refused.value)
        assert "\n" not in str(refused.value)
        assert str(refused.value).startswith(str(tmp_path / name))


def test_what_a_file_is_shows_in_its_content_not_in_its_name(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    weights = noisy(VisionTransformer(num_classes=0, **MINI_TIMM)).state_dict()
    save_file(weights, tmp_path / "safetensors.pth")
    torch.save(weights, tmp_path / "archive.safetensors")
    torch.save(weights, tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    for path in tmp_path.iterdir():
        found = open_weights(path)
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], value) for name, value in weights.items()), path.name


def test_entries_that_are_no_weights_by_name_are_left_out_and_counted() -> None:
    weights = noisy(VisionTransformer(num_classes=0, **MINI_TIMM)).state_dict()
    report = read_backbone({0: 1, None: 2, "state_dict": {**weights, 7: 8}}, make_vit())
    assert report.skipped == ("0", "None", "7")
    assert "skipped 3: 0, None, 7" in report.lines()[1]


@pytest.mark.parametrize("new_format", [True, False])
def test_a_whole_module_is_refused_with_the_way_to_save_its_weights(tmp_path, new_format) -> None:
    path = tmp_path / "module.pth"
    torch.save(make_vit(), path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(
        CheckpointError, match=r"holds an object of scaledrelu\.\S+StemViT"
    ) as refused:
        open_weights(path)
    assert "torch.save(model.state_dict(), 'weights.pth')" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_damage_to_an_archive_of_weights_is_loaded(tmp_path: Path) -> None:
    path, good = tmp_path / "file.pth", {"model": {"w": torch.randn(30, 5)}, "epoch": 3}
    torch.save(good, path)
    data = path.read_bytes()
    refusals = 0
    for at in range(0, len(data), 5):
        page = data[:at] + bytes(len(data[at : at + 48])) + data[at + 48 :]
        bit = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        for damaged in (bit, page):
            path.write_bytes(damaged)
            try:
                found = open_weights(path)
            except CheckpointError:
                refusals += 1
                continue
            assert torch.equal(found["model"]["w"], good["model"]["w"]), at
            assert found["epoch"] == 3, at
    assert refusals > 200


def test_an_archive_that_was_saved_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, tmp_path / "file.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(open_weights(tmp_path / "file.pth")["w"], torch.ones(3))


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"model": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(CheckpointError):
        open_weights(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_or_error(tmp_path / "file").startswith(
        "ba7816bf8f01cfea414140de5dae2223b00361a3961"
    )
    with pytest.raises(CheckpointError, match="cannot be read"):
        sha256_or_error(tmp_path / "absent")
