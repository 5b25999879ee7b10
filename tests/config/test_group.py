"""A wrong command line gets one line: what, where, what is allowed, what to do next."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from scaledrelu.config import compose as compose_module
from scaledrelu.config.compose import compose, from_values
from scaledrelu.config.group import Field, Group, fields_of, leaves
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig, plain, value_of
from scaledrelu.errors import ConfigError
from tests.helpers.configs import composed
from tests.helpers.options import GROUPS

# what a user types -> what the one line must contain
WRONG = [
    (
        "lr=1e-3",
        f"lr is a group ({', '.join(GROUPS['lr'])}); to set the rate write lr.base=1e-3",
    ),
    (
        "warmup=20",
        f"warmup is a group ({', '.join(GROUPS['warmup'])}); to set its length write "
        "warmup.epochs=20",
    ),
    ("method=../../x", "method='../../x': becomes a folder name"),
    ("profile=smoke profile.name=foo", "profile.name=foo: do not set it, choose profile=<name>"),
    ("++profile.name=mini", "profile.name=mini: do not set it, choose profile=<name>"),
    ("init=run init.run=../../x", "init.run='../../x': becomes a folder name"),
    ("init=run init.run=/etc", "init.run='/etc': becomes a folder name"),
    ("stem=convv", "did you mean 'conv'"),
    ("stemm=conv", "did you mean 'stem'"),
    ("profile=papr", "did you mean 'paper'"),
    ("optimizer=adamm", "did you mean 'adamw'"),
    ("lr.bsae=1e-3", "did you mean 'base'"),
    ("warmup.epoch=5", "did you mean 'epochs'"),
    ("lr.base=fast", "lr.base=fast: not a number; must be greater than 0 and finite"),
    ("lr.base=true", "lr.base=true: not a number; must be greater than 0 and finite"),
    ("lr.base=null", "lr.base=null: must be greater than 0 and finite"),
    ("data.std=[a,b,c]", "data.std=[a,b,c]: must be 3 numbers in (0, 10]"),
    ("wandb.tags=5", "wandb.tags=5: must be a list: wandb.tags=[5]"),
    ("model.depth=2.5", "model.depth=2.5: must lie in [1, 1024], a whole number"),
    (
        "launch.workers=many",
        "launch.workers=many: not a number; must lie in [0, 1024], a whole",
    ),
    ("stem.strides=2", "stem.strides=2: must be a list: stem.strides=[2]"),
    ("data.root=null data=imagefolder profile=paper", "data.root=null: open_image_folder reads"),
    ("data.root=null data=cifar10 profile=small", "data.root=null: open_cifar10 reads files"),
    ("profile=cifar data.build.val=validation", "allowed: test, held_out"),
    ("stem.act=rleu", "did you mean 'relu'"),
    (
        "stem.act=swish",
        "stem.act=swish; allowed: relu, gelu, scaled_relu, affine_relu, none, or {_",
    ),
    ("stem.norm={target:a.B}", "allowed: batch, layernorm, none, or {_target_: <class>}"),
    ("stem.tail=[{target:a.B}]", "relu, gelu, scaled_relu, affine_relu, or {_target_: <class>}"),
    ("stem.norm=[batch]", "allowed: batch, layernorm, none, or {_target_: <class>}"),
    ("stem.tail=[bn]", "allowed: batch, layernorm, relu, gelu, scaled_relu"),
    ("precision.autocast=half", "allowed: none, fp16, bf16"),
    ("stem=conv stem.strides=[3,1,1] profile=paper", "patch"),
    (
        "stem=conv stem.strides=[3,1,1]",  # profile=paper refuses it, too
        "stem.strides=[3, 1, 1]: their product 3 does not divide model.patch_size=4; choose "
        "strides whose product divides it",
    ),
    (
        "stem=conv stem.strides=[2,1,1,8] profile=paper",
        "stem.strides=[2,1,1,8]: one more than stem.kernels=[7,3,3]; write it without the "
        "projection's stride, which is the patch size over the product of the others: "
        "stem.strides=[2,1,1]",
    ),
    ("recipe=volo stem=conv stem.strides=[2,1,1,4] profile=paper", ": stem.strides=[2,1,1]"),
    (
        "stem=conv stem.strides=[2,2,2,2] profile=paper",
        "of the others: stem.strides=[2,2,2] stem.proj_kernel=8 (as in conf/table/table3.yaml)",
    ),
    (
        "stem=conv stem.strides=[2,2]",
        "stem.kernels=[7, 3, 3]: needs one kernel per stride (stem.strides=[2, 2])",
    ),
    ("stem=conv stem.strides=[2,1,1,2,2]", "needs one kernel per stride"),
    ("batch.group=48", "batch.group"),
    (
        "batch.total=7",
        "batch.total=7: times profile.batch_scale=0.0625 leaves no image for an update; set "
        "batch.total=1024 or a multiple of it",
    ),
    ("batch.total=7 batch.group=8", "set batch.total=128 or a multiple of it"),
    ("batch.total=128 batch.group=16", "does not divide the 8 images of one update"),
    ("batch.total=128 batch.group=16", "choose a divisor of 8, or set batch.total=256 or a mult"),
    ("batch.total=16 batch.group=16", "=0.0625); set batch.total=256 or a multiple of it"),
    ("batch.total=2", "; for fewer images lower batch.group, too"),
    ("batch.group=1 augment.mixup=0.8", "batch.group=1: must be even"),
    ("data.fraction=1.5", "data.fraction=1.5: must lie in (0, 1]"),
    ("lr.base=-1", "lr.base=-1"),
    ("warmup.epochs=-1", "warmup.epochs"),
    ("schedule.min_lr=1e-5", "exactly one of min_lr and min_lr_fraction"),
    ("model.heads=3", "model.heads=3"),
    ("data.image_size=18", "data.image_size=18"),
    ("init=run", "init.kind=run: needs init.run"),
    ("init=checkpoint", "init.kind=checkpoint: needs init.path"),
    (
        "init=checkpoint init.path=w.pth init.sha256=abc",
        "init.sha256=abc: must be the SHA-256 of the file init.path, 64 hexadecimal digits, or "
        "null for any file",
    ),
    (f"init=checkpoint init.path=w.pth init.sha256={'g' * 64}", "ggg: must be the SHA-256 of"),
    (f"init=checkpoint init.path=w.pth init.sha256={'A' * 63}", "AAA: must be the SHA-256 of"),
    ("init=checkpiont", "init=checkpiont: no such option"),
    ("recipe=volo model=volo_d1 augment.mixup=0.8", "MixToken already mixes"),
    ("recipe=reid augment.mixup=0.8", "must show one person"),
    ("recipe=reid batch.instances=5", "must be a multiple of batch.instances=5"),
    (
        "recipe=reid data=msmt17 data.build.version=v3",
        "data.build.version=v3: has no effect, since mini_msmt is generated, in the "
        "layout of Market-1501; leave it out, or choose profile=paper",
    ),
    ("recipe=reid data=msmt17 profile=small data.build.with_val=false", "with_val=false: has no e"),
    ("recipe=reid data=msmt17 data.build.expect={train:3}", "{'train': 3}: has no effect, since"),
    ("recipe=reid +data.build.verson=v2", "data.build.verson=v2: has no effect, since mini_market"),
    ("recipe=reid data.image_width=18", "data.image_width=18: must be a multiple"),
    ("recipe=reid data.image_width=0", "data.image_width=0: must lie in [1, 16384]"),
    ("recipe=reid batch.instances=null", "batch.instances=null: must be at least 2"),
    ("recipe=reid augment.repeats=3", "augment.repeats=3: must be 1"),
    ("recipe=reid warmup.start_lr=1e-6", "exactly one of start_lr and start_lr_fraction"),
    ("schedule.delay_epochs=-2", "schedule.delay_epochs=-2: must lie in [-1, "),
    ("init.positions=nearest", "allowed: bicubic, bilinear"),
    ("optimizer=sam optimizer.sam.rho=-1", "optimizer.sam.rho=-1: must be at least 0 and finite"),
    ("lr.base=inf", "lr.base=inf: must be greater than 0 and finite"),
    ("lr.base=nan", "lr.base=nan: must be greater than 0 and finite"),
    ("seed=true", "seed=true: not a number; must lie in [0, 4294967295], a whole number"),
    ("batch.sync_bn=7", "batch.sync_bn=7: allowed: true, false"),
    ("paths.results=", "paths.results=: is empty"),
    ("paths.results=false", "paths.results=false: must be a string"),
    ("warmup.epochs=400 profile=paper", "longer than the schedule of 300 epochs"),
    ("task._target_=os.system", "task._target_=os.system: not trusted code"),
    (
        "optimizer.build.wait_decay=0.1",
        "optimizer.build: no such key 'wait_decay'; did you mean 'weight_decay'?; allowed: ",
    ),
    ("optimizer.build.ams=true", "; to add an argument use +optimizer.build.ams=true"),
    ("drop_path=0.1", "no such key 'drop_path' at the top level; did you mean 'model.drop_path'?"),
    (
        "experiment=x",
        "no such key 'experiment' at the top level; here an experiment is a table, "
        "conf/table/<name>.yaml, which scripts/sweep.py tables=[<name>] trains; allowed: ",
    ),
    ("+experiment=x", "here an experiment is a table, conf/table/<name>.yaml, "),
    ("epochs=3", "; did you mean 'warmup.epochs' or 'schedule.epochs'?"),
    ("optimizer.lr=1e-3", "; did you mean 'lr.base'?"),
    ("optimizer.clip_gard=1", "; did you mean 'clip_grad'?"),
    (
        "optimizer.weight_decay=0.1",
        "; for an argument of its class write optimizer.build.weight_decay; allowed: ",
    ),
    (
        "ema.decay=0.99",
        "ema: has no key 'decay', since it is null here; set all of it: ema={decay: <value>}",
    ),
    (
        "optimizer.sam.rho=0.1",
        "stats_in_second_pass: <value>, same_masks: <value>}, or choose an option of optimizer "
        "that has it",
    ),
    (
        "stem.norm.group=8",
        "stem.norm: has no key 'group', since it is not a dictionary; set all of it, e.g. "
        "stem.norm={_target_: <class>, group: <value>}",
    ),
    (
        "augment.crop_scale.min=0.1",
        "augment.crop_scale.min: augment.crop_scale is a list, whose places are numbers from 0; "
        "write augment.crop_scale.0=<value>, or set all of it: augment.crop_scale=[<value>, ...]",
    ),
    ("seed=", "seed"),
    ("stem=[conv", "cannot parse 'stem=[conv'"),
]


@pytest.mark.parametrize(("typed", "expected"), WRONG, ids=[w[0] for w in WRONG])
def test_a_wrong_command_line_gets_one_helpful_line(typed: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(typed.split(" "))
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert len(message) < 500


def test_a_misspelt_key_in_a_file_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(compose_module.CONF_DIR, conf)
    path = conf / "optimizer" / "_base.yaml"
    path.write_text(path.read_text().replace("clip_grad", "clip_gradd"))
    monkeypatch.setattr(compose_module, "CONF_DIR", conf)
    with pytest.raises(ConfigError, match="clip_gradd") as caught:
        compose([])
    assert "conf/optimizer/_base.yaml" in str(caught.value)
    assert "did you mean 'clip_grad'" in str(caught.value)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (
            "stem/half.yaml",
            "stem.build, stem.strides, stem.kernels, stem.hidden, stem.norm, stem.act, stem.tail, "
            "stem.proj_kernel, stem.shrink: have no value; set them in conf/ or on the command "
            "line; an option in conf/stem/ begins with defaults: [_grammar, _self_]",
        ),
        ("optimizer/half.yaml", "; an option in conf/optimizer/ begins with defaults: [_base, "),
        (
            "lr/half.yaml",
            "lr.base, lr.reference_batch, lr.curve: have no value; set them in conf/ or on the",
        ),
    ],
)
def test_a_file_that_forgets_its_base_is_told_of_it(
    tmp_path: Path, file: str, expected: str
) -> None:
    conf = Path(shutil.copytree(compose_module.CONF_DIR, tmp_path / "conf"))
    group = file.partition("/")[0]
    fields = "# @package _global_\nmethod: half" if group == "recipe" else "label: half"
    (conf / file).write_text(f"{fields}\n")
    with pytest.raises(ConfigError) as caught:
        compose([f"{group}=half", "profile=paper"], conf_dir=conf)
    assert expected in str(caught.value)


def test_a_misspelt_key_blames_no_file_that_has_the_word_elsewhere(tmp_path: Path) -> None:
    conf = Path(shutil.copytree(compose_module.CONF_DIR, tmp_path / "conf"))
    (conf / "stem" / "half.yaml").write_text(
        "# A stem of one's own.\ndefaults: [_grammar, _self_]\nlabel: half\nstride: [2, 2]\n"
    )
    with pytest.raises(ConfigError) as caught:
        compose(["stem=half"], conf_dir=conf)
    assert "unknown key 'stem.stride' in conf/stem/half.yaml; did you" in str(caught.value)


# key of a resolved configuration -> values that must be refused, in the recipe that has it
NAN, INF = float("nan"), float("inf")
NONSENSE: dict[str, dict[str, list[Any]]] = {
    "deit": {
        "seed": [-1, 2**32],
        "method": ["xyz", "dino", "../../x"],
        "model.width": [0, -64, 10**9],
        "model.depth": [0, -1],
        "model.heads": [0, 5],
        "model.mlp_ratio": [0.0, -1.0, NAN],
        "model.norm_eps": [-1.0, 0.0, 2.0],
        "model.drop_path": [1.0, -0.1],
        "stem.hidden": [0],
        "stem.proj_kernel": [-3, 0, 5],
        "optimizer.clip_grad": [-1.0, 0.0, INF],
        "optimizer.bias_lr_factor": [-1.0, 0.0],
        "optimizer.clip": ["per_tenser"],
        "precision.autocast": ["fp61"],
        "precision.attention": ["fuzed"],
        "ffn.act": ["gelo"],
        "optimizer.build.weight_decay": [-1.0, "abc", True, None, NAN],
        "optimizer.build.betas": [[0.9, 1.0], 0.9, [-0.1, 0.9], [], [0.9]],
        "optimizer.build.eps": [0.0, -1.0],
        "lr.base": [0.0, -1.0, INF, NAN],
        "lr.reference_batch": [0, -512],
        "warmup.epochs": [400.0, 80.0, -1.0],
        "warmup.start_lr": [-1.0, INF],
        "schedule.epochs": [0, -300],
        "schedule.cooldown_epochs": [-1],
        "schedule.min_lr_fraction": [2.0, -1.0],
        "schedule.weight_decay_end": [-1.0],
        "batch.total": [0],
        "batch.group": [0, -64],
        "precision.initial_scale": [0.0, INF],
        "precision.growth_interval": [0],
        "data.name": ["../../etc", "/etc", ".."],
        "data.num_classes": [0, 1],
        "data.image_size": [0, -16, 10**6],
        "data.mean": [[0.5], [300.0, 0.1, 0.1], [NAN, 0.0, 0.0]],
        "data.std": [[0.0, 0.0, 0.0], [0.3, 0.3], [-1.0, 0.3, 0.3]],
        "data.fraction": [0.0, NAN],
        "augment.crop_scale": [[2.0, 3.0], [0.5, 0.2], [0.0, 1.0], [0.5]],
        "augment.crop_ratio": [[-1.0, 1.0], [2.0, 1.0]],
        "augment.interpolation": ["foo", "random"],
        "augment.rand_augment": ["foo", "rand-x9", "rand-m9-w0", "rand-m9.5", "augmix-n3", "v0-m9"],
        "augment.shift": [-1, 16],
        "augment.hflip": [-1.0, 2.0],
        "augment.mixup": [-1.0],
        "augment.cutmix": [-1.0],
        "augment.smoothing": [1.0, -0.1],
        "augment.repeats": [0],
        "evaluation.build": [[]],
        "evaluation.crop": [0.0, 1.5],
        "evaluation.every_epochs": [0],
        "divergence.ratio": [-1.0, 0.0, NAN],
        "divergence.judge_at": [-1.0, 1.5],
        "divergence.window": [0.0, 2.0],
        "ema": [{"decay": 1.0}, {"decay": -1.0}],
        "init.run": ["../../etc", "/etc"],
        "init.head_scale": [-1.0],
        "profile.epoch_scale": [1e-9, 0.0, INF],
        "profile.lr_scale": [0.0, -1.0],
        "profile.batch_scale": [0.0, 1e-9],
        "launch.nproc": [0, -1],
        "launch.workers": [-1, 10**6],
        "launch.threads": [-1],
        "launch.timeout_s": [0],
        "launch.log_every_steps": [0],
    },
    "dino": {
        "task.out_dim": [1, 2.5, True, None, "many"],
        "task.student_temp": [0.0, NAN],
        "task.teacher_temp": [-1.0],
        "task.centre_momentum": [1.5],
        "task.teacher_momentum": [-0.1],
        "task.head_layers": [0],
        "task.warmup_teacher_temp_epochs": [-1],
        "augment.multi_crop.num_local": [-1],
        "augment.multi_crop.local_size": [0, 6],
        "augment.multi_crop.global_scale": [[0.5, 0.4], [0.4, 2.0]],
        "augment.multi_crop.jitter": [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.9]],
        "augment.multi_crop.blur_prob": [[1.0, 0.0]],
        "schedule.unit": ["epoch"],
        "evaluation.build": [
            [{"_target_": "scaledrelu.evals.knn.Knn", "neighbours": k, "temperature": t}]
            for k, t in (([0], 0.07), ([], 0.07), (20, 0.07), ([2.5], 0.07), ([20], 0.0))
        ],
    },
    "volo": {
        "task.mix_token": [-1.0],
        "task.token_weight": [-1.0],
        "data.num_classes": [1],
    },
    "linear_probe": {"task.num_blocks": [0, 100], "optimizer.build.momentum": [1.0, -0.1]},
    "reid": {"task.id_weight": [0.0], "task.triplet_weight": [-1.0], "task.distances": ["foo"]},
}
CASES = [
    (recipe, key, value)
    for recipe, keys in NONSENSE.items()
    for key, values in keys.items()
    for value in values
]


def with_value(config: RunConfig, dotted: str, value: Any) -> dict[str, Any]:
    changed = deepcopy(plain(config))
    *parents, leaf = dotted.split(".")
    place = changed
    for part in parents:
        place = place[part]
    assert leaf in place
    place[leaf] = value
    return changed


def checked(values: dict[str, Any]) -> RunConfig:
    return from_values(values, conf_dir=CONF_DIR)


@pytest.mark.parametrize("recipe", NONSENSE)
def test_what_the_nonsense_is_made_from_is_allowed(recipe: str) -> None:
    assert checked(plain(composed(f"recipe={recipe}"))) == composed(f"recipe={recipe}")


@pytest.mark.parametrize(("recipe", "key", "value"), CASES)
def test_nonsense_is_refused_by_name_before_anything_is_built(
    recipe: str, key: str, value: Any
) -> None:
    config = with_value(composed(f"recipe={recipe}"), key, value)
    with pytest.raises(ConfigError) as caught:
        checked(config)
    message = str(caught.value)
    assert key.partition(".build")[0] in message or key.rpartition(".")[2] in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("divergence.ratio", 1000.0),
        ("optimizer.clip_grad", None),
        ("warmup.epochs", 0.0),
        ("warmup.epochs", 75.0),
        ("augment.smoothing", 0.0),
        ("augment.crop_scale", [1.0, 1.0]),
        ("evaluation.crop", 1.0),
        ("augment.rand_augment", "rand-m9-n3-mstd0.5-inc1-tweights"),
        ("model.drop_path", 0.0),
        ("profile.epoch_scale", 1 / 300),
        ("init.head_scale", 0.0),
    ],
)
def test_values_at_the_edge_are_allowed(key: str, value: Any) -> None:
    found = plain(value_of(checked(with_value(composed("recipe=deit"), key, value)), key))
    assert found == value


def all_fields(group: type[Group]) -> Iterator[Field]:
    for one in fields_of(group):
        yield one
        if issubclass(one.kind, Group):
            yield from all_fields(one.kind)


def test_every_number_has_a_range_beside_it() -> None:
    numbers = {one.key: one for one in all_fields(RunConfig) if one.kind in (int, float)}
    assert {"lr.base", "data.std", "optimizer.sam.rho", "ema.decay", "stem.strides"} <= set(numbers)
    assert [key for key, one in numbers.items() if one.allowed.range is None] == []


KINDS = ["recipe=deit", "recipe=dino", "recipe=linear_probe", "recipe=reid", "recipe=volo"]


@pytest.mark.parametrize("kinds", KINDS)
def test_every_number_inside_an_open_dictionary_of_conf_has_a_range(kinds: str) -> None:
    config, checked = composed(kinds), 0
    for one in all_fields(RunConfig):
        if one.kind is not dict or one.key == "data.build":  # its counts are compared, not checked
            continue
        for key, value in leaves(plain(value_of(config, one.key))):
            numbers = value if isinstance(value, list) else [value]
            if any(type(number) in (int, float) for number in numbers):
                assert key.rpartition(".")[2] in one.allowed.arguments, key
                checked += 1
    assert checked


def test_a_recipe_of_ones_own_brings_its_method(tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("task: {_target_: scaledrelu.tasks.x.Mine}")
    values = plain(composed("recipe=deit")) | {"method": "mine"}
    with pytest.raises(ConfigError, match="write recipe=mine"):
        from_values(values, conf_dir=tmp_path)
    values["task"] = {"_target_": "scaledrelu.tasks.x.Mine"}
    assert from_values(values, conf_dir=tmp_path).method == "mine"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr.base", "1e-3"),
        ("seed", "3"),
        ("batch.total", 1024.0),
        ("data.mean", [0, 0, 0]),
        ("optimizer.label", 5),
    ],
)
def test_a_value_gets_the_type_of_its_field(key: str, value: Any) -> None:
    config = checked(with_value(composed("recipe=deit"), key, value))
    field = next(one for one in all_fields(RunConfig) if one.key == key)
    found = value_of(config, key)
    for item in found if field.many else [found]:
        assert type(item) is field.kind


def test_a_field_that_nothing_sets_is_named() -> None:
    values = deepcopy(plain(composed("recipe=deit")))
    del values["lr"]["base"]
    with pytest.raises(ConfigError, match=r"^lr\.base: has no value"):
        checked(values)
