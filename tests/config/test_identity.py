"""A run's id names its science and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scaledrelu.config import identity
from scaledrelu.config.compose import compose
from scaledrelu.config.identity import canonical, run_id
from scaledrelu.config.run import RunConfig, plain
from tests.helpers.configs import composed, with_values


@pytest.fixture(scope="module")
def base() -> RunConfig:
    return compose(["stem=conv", "lr.base=1e-3"])


def test_id_has_the_method_in_front(base: RunConfig) -> None:
    assert run_id(base).startswith("deit-")
    assert len(run_id(base)) == len("deit-") + 12


@pytest.mark.parametrize(
    "overrides",
    [
        ["lr.base=0.001", "stem=conv"],
        ["stem=conv", "lr.base=1.0e-3", "warmup.epochs=5.0"],
        ["stem=conv", "lr.base=1e-3", "paths.results=/tmp/elsewhere"],
        ["stem=conv", "lr.base=1e-3", "launch.workers=7", "launch.compile=true"],
        ["stem=conv", "lr.base=1e-3", "wandb=offline", "wandb.tags=[table1]"],
        ["stem=conv", "lr.base=1e-3", "stem.label=other", "optimizer.label=other"],
        ["stem=conv", "lr.base=1e-3", "data.on_bad_image=skip", "evaluation.report=best"],
    ],
)
def test_order_spelling_paths_and_transient_fields_do_not_change_the_id(
    base: RunConfig, overrides: list[str]
) -> None:
    assert run_id(compose(overrides)) == run_id(base)


@pytest.mark.parametrize(
    "override",
    [
        "lr.base=1.1e-3", "seed=1", "stem=conv_bn", "stem.hidden=8", "ffn=mlp_relu",
        "warmup.epochs=20",
        "optimizer=sam", "optimizer.build.weight_decay=0.1", "precision=bf16", "batch.group=32",
        "data.fraction=0.5", "augment.smoothing=0.1", "model.depth=5", "schedule.epochs=299",
        "profile.lr_scale=2", "divergence.ratio=0.8", "ema={decay:0.9}", "data.augment=reference",
    ],
)  # fmt: skip
def test_everything_scientific_changes_the_id(base: RunConfig, override: str) -> None:
    changed = compose(["stem=conv", "lr.base=1e-3", *override.split()])
    assert run_id(changed) != run_id(base)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("profile.name", "x"), ("profile.notes", ["x"]), ("method", "x"), ("model.label", "x"),
        ("stem.label", "x"), ("ffn.label", "x"), ("optimizer.label", "x"), ("lr.label", "x"),
        ("warmup.label", "x"), ("precision.label", "x"), ("data.root", "x"),
        ("data.build.train", "x"), ("data.build.val", "x"), ("data.build.expect", {"x": 1}),
        ("data.on_bad_image", "skip"), ("evaluation.batch", 7), ("evaluation.report", "best"),
        ("launch.device", "cuda"), ("launch.threads", 7), ("launch.channels_last", False),
        ("launch.fp16_on_cpu", True), ("launch.groups_at_once", True),
        ("launch.compile", None), ("launch.compile_mode", "reduce-overhead"),
        ("launch.cache_val", False),
        ("wandb.mode", "online"), ("wandb.tags", ["x"]),
        ("paths.results", "x"), ("trust", ["x"]),
    ],
)  # fmt: skip
def test_what_is_not_science_changes_no_hash(base: RunConfig, key: str, value: Any) -> None:
    assert run_id(with_values(base, {key: value})).split("-")[1] == run_id(base).split("-")[1]


def test_a_portion_judged_on_its_held_out_images_is_another_run_than_one_of_its_reports() -> None:
    one, other = (compose(["profile=cifar", f"data.build.val={v}"]) for v in ("test", "held_out"))
    assert run_id(one) != run_id(other)
    assert "val" not in canonical(one)["data"]["build"], "as in the runs that are published"


def test_a_whole_number_has_one_id_however_it_is_written_where_no_type_says_so() -> None:
    one, other = (run_id(compose([f"optimizer.build.weight_decay={x}"])) for x in ("1", "1.0"))
    assert one == other


def test_no_warmup_has_one_id_however_it_is_written() -> None:
    assert run_id(compose(["warmup=none"])) == run_id(compose(["warmup.epochs=0"]))


def _image_folder(root: Path, size: int) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (root / split / name).mkdir(parents=True, exist_ok=True)
            (root / split / name / "0.png").write_bytes(b"x" * size)


def test_another_data_set_behind_the_same_folder_name_is_another_run(tmp_path: Path) -> None:
    overrides = ["data=imagefolder", f"data.root={tmp_path / 'set'}", f"paths.results={tmp_path}"]
    absent = run_id(compose(overrides))
    _image_folder(tmp_path / "set", size=3)
    first = run_id(compose(overrides))
    assert first != absent
    _image_folder(tmp_path / "moved", size=3)
    moved = [overrides[0], f"data.root={tmp_path / 'moved'}", overrides[2]]
    assert run_id(compose(moved)) == first, "the same files elsewhere are the same data"
    (tmp_path / "set" / "train" / "a" / "1.png").write_bytes(b"new")
    assert run_id(compose(overrides)) != first


def test_a_new_knob_at_its_neutral_value_changes_no_id(
    base: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert base.lr.curve is None
    assert "curve" not in canonical(base)["lr"], "as in the runs that are older than the field"
    own = with_values(base, {"lr.curve": {"_target_": "mine.Curve"}})
    assert run_id(own) != run_id(base)
    known = run_id(base)
    monkeypatch.delitem(identity.NEUTRAL, "lr.curve")
    assert run_id(base) != known


def test_raising_the_science_version_changes_every_id(
    base: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_id(base)
    monkeypatch.setattr(identity, "SCIENCE_VERSION", identity.SCIENCE_VERSION + 1)
    assert run_id(base) != before


def test_canonical_leaves_its_input_alone(base: RunConfig) -> None:
    before = plain(base)
    canonical(base)
    assert plain(base) == before


def test_other_weights_at_the_same_path_are_another_run(tmp_path: Path) -> None:
    ids = []
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
        start = ["init=checkpoint", f"init.path={tmp_path / name}", f"paths.results={tmp_path}"]
        ids.append(run_id(compose(start)))
    assert ids[0] == ids[1] != ids[2]
    (tmp_path / "a").write_bytes(b"three")
    assert run_id(compose(["init=checkpoint", f"init.path={tmp_path / 'a'}"])) != ids[0]
    assert run_id(compose([])) not in ids


@pytest.mark.parametrize("profile", ["mini", "small", "cifar", "smoke"])
def test_small_profiles_augment_crops_on_the_host_wherever_images_are_augmented(
    profile: str,
) -> None:
    config = composed("recipe=dino", f"profile={profile}", "data.augment=device")
    assert config.augment.multi_crop.pipeline == "reference"
    assert "pipeline" not in canonical(config)["augment"]["multi_crop"]


@pytest.mark.parametrize("augment", ["reference", "device"])
def test_crops_of_the_paper_are_augmented_where_images_are(augment: str) -> None:
    config = composed("recipe=dino", "profile=paper", f"data.augment={augment}", "data.decoder=pil")
    assert config.augment.multi_crop.pipeline == augment
