"""A wrong command line gets one line: what, where, what is allowed, what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaledrelu.config import compose as compose_module
from scaledrelu.config.compose import compose
from scaledrelu.errors import ConfigError

# what a user types -> what the one line must contain
WRONG = [
    (
        "lr=1e-3",
        "lr is a group (absolute, linear256, linear512); to set the rate write lr.base=1e-3",
    ),
    ("warmup=20", "warmup is a group (linear, none); to set its length write warmup.epochs=20"),
    ("stem=convv", "did you mean 'conv'"),
    ("stemm=conv", "did you mean 'stem'"),
    ("profile=papr", "did you mean 'paper'"),
    ("optimizer=adam", "did you mean 'adamw'"),
    ("lr.bsae=1e-3", "did you mean 'base'"),
    ("warmup.epoch=5", "did you mean 'epochs'"),
    ("lr.base=fast", "lr.base"),
    ("model.depth=2.5", "model.depth"),
    ("stem.strides=2", "stem.strides"),
    ("stem.act=rleu", "did you mean 'relu'"),
    ("stem.tail=[bn]", "allowed: batch, layernorm, relu, gelu, scaled_relu"),
    ("precision.autocast=half", "allowed: none, fp16, bf16"),
    ("stem=conv stem.strides=[3,1,1] profile=paper", "patch"),
    ("batch.group=48", "batch.group"),
    ("batch.group=1 augment.mixup=0.8", "even group"),
    ("data.fraction=1.5", "data.fraction=1.5: must lie in (0, 1]"),
    ("lr.base=-1", "lr.base=-1"),
    ("warmup.epochs=-1", "warmup.epochs"),
    ("schedule.min_lr=1e-5", "exactly one of min_lr and min_lr_fraction"),
    ("model.heads=3", "model.heads=3"),
    ("data.image_size=18", "data.image_size=18"),
    ("init=run", "init.kind=run needs init.run"),
    ("init=checkpoint", "init.kind=checkpoint needs init.path"),
    ("init=checkpiont", "no such option of group 'init'"),
    ("recipe=volo model=volo_d1 augment.mixup=0.8", "MixToken mixes"),
    ("recipe=reid augment.mixup=0.8", "nobody is two people"),
    ("recipe=reid batch.instances=5", "must hold whole identities of batch.instances=5"),
    ("recipe=reid data.image_width=18", "data.image_width=18 is not a multiple"),
    ("recipe=reid data.image_width=0", "data.image_width=0 is not a multiple"),
    ("recipe=reid batch.instances=null", "compares images of a person: at least 2"),
    ("recipe=reid augment.repeats=3", "augment.repeats must be 1"),
    ("recipe=reid warmup.start_lr=1e-6", "exactly one of start_lr and start_lr_fraction"),
    ("schedule.delay_epochs=-2", "schedule.delay_epochs=-2: must be at least -1"),
    ("init.positions=nearest", "allowed: bicubic, bilinear"),
    ("optimizer=sam optimizer.sam.rho=-1", "rho"),
    ("seed=", "seed"),
    ("stem=[conv", "cannot read 'stem=[conv'"),
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
    import shutil

    conf = tmp_path / "conf"
    shutil.copytree(compose_module.CONF_DIR, conf)
    path = conf / "optimizer" / "_base.yaml"
    path.write_text(path.read_text().replace("clip_grad", "clip_gradd"))
    monkeypatch.setattr(compose_module, "CONF_DIR", conf)
    with pytest.raises(ConfigError, match="clip_gradd") as caught:
        compose([])
    assert "conf/optimizer/_base.yaml" in str(caught.value)
    assert "did you mean 'clip_grad'" in str(caught.value)
