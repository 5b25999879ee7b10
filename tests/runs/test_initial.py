"""A run starts from the weights it names, or says in one line why it cannot."""

from __future__ import annotations

import functools
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.init import InitConfig
from scaledrelu.config.launch import PathsConfig
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.checkpoint import read_checkpoint, save_checkpoint
from scaledrelu.engine.saved import LAST
from scaledrelu.errors import CheckpointError, ConfigError, ScaledReluError
from scaledrelu.models.weight_files import sha256_or_error
from scaledrelu.runs.build import build_task
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.initial import finished_run, load_initial
from scaledrelu.runs.lacking import lacking_here
from scaledrelu.runs.record import write_error, write_result
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.runs.spawn import run_job
from scaledrelu.tasks.linear_probe import LinearProbe
from tests.helpers.configs import with_values
from tests.helpers.run_folders import leave, run_of

UPSTREAM = ("profile=smoke", "stem=conv", "data.fraction=0.1", "augment.mixup=0.8")
SCRATCH = InitConfig("scratch", None, None, None, head_scale=1.0, positions="bicubic")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train one short run with a convolutional stem and return its results folder."""
    results = tmp_path_factory.mktemp("upstream") / "results"
    assert run_job(compose([*UPSTREAM, f"paths.results={results}"])).ended.value == "ok"
    return results


@functools.cache
def composed(*overrides: str) -> RunConfig:
    return compose(list(overrides))


class Start:
    """A new run beside a finished one, which a test may spoil."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.upstream = run_id(composed(*UPSTREAM))
        self.folder = results / "runs" / self.upstream

    def config(self, *overrides: str, **init: Any) -> RunConfig:
        config = composed("profile=smoke", "stem=conv", *overrides)
        paths = PathsConfig(results=str(self.results))
        return replace(config, paths=paths, init=replace(SCRATCH, **init))

    def from_run(self, *overrides: str, **init: Any) -> RunConfig:
        return self.config(*overrides, kind="run", **{"run": self.upstream} | init)


@pytest.fixture
def start(trained: Path, tmp_path: Path) -> Start:
    return Start(Path(shutil.copytree(trained, tmp_path / "results")))


def refused(error: type[ScaledReluError], config: RunConfig) -> str:
    task = build_task(config, 10)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    with pytest.raises(error) as caught:
        load_initial(config, task)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    return str(caught.value)


def test_from_scratch_nothing_is_loaded(start: Start) -> None:
    config = start.config()
    assert load_initial(config, build_task(config, 10)) is None


def test_a_run_gives_its_last_backbone_and_the_classifier_is_new(start: Start, caplog) -> None:
    config = start.from_run()
    task = build_task(config, 10)
    caplog.set_level(logging.INFO)
    report = load_initial(config, task)
    saved = read_checkpoint(start.folder / "last.pt")["task"]
    for name, value in task.state_dict().items():
        assert torch.equal(value, saved[name]) == (not name.startswith("backbone.head.")), name
    assert any("running_mean" in name for name in report.loaded)
    assert report.fresh == ("head.weight", "head.bias")
    assert [record.message for record in caplog.records[-3:]] == report.lines()


def test_the_new_classifier_is_a_scaled_truncated_normal_without_bias(start: Start) -> None:
    for scale in (1.0, 0.01):
        config = start.from_run(head_scale=scale)
        task = build_task(config, 1000)
        with torch.no_grad():
            task.backbone.head.weight.fill_(1)
            task.backbone.head.bias.fill_(1)
        load_initial(config, task)
        weight = task.backbone.head.weight.detach()
        assert float(weight.std()) == pytest.approx(0.02 * scale, rel=0.02)
        assert not task.backbone.head.bias.any()


def test_a_probe_gets_the_weights_into_its_frozen_backbone(start: Start) -> None:
    config = start.from_run()
    backbone = build_task(config, 10).backbone
    backbone.reset_classifier(0)
    task = LinearProbe(backbone, num_classes=10, num_blocks=4)
    classifier = task.backbone.classifier.weight.clone()
    load_initial(config, task)
    saved = read_checkpoint(start.folder / "last.pt")["task"]
    for name, value in task.backbone.frozen.state_dict().items():
        assert torch.equal(value, saved[f"backbone.{name}"])
    assert torch.equal(task.backbone.classifier.weight, classifier)


def test_positions_follow_the_images_of_the_new_run(start: Start) -> None:
    config = start.from_run("data.image_size=24")
    report = load_initial(config, build_task(config, 10))
    assert report.positions == "4x4 -> 6x6 (bicubic)"


def test_a_file_gives_its_weights_when_its_sha256_is_right_or_not_given(start: Start) -> None:
    path = start.folder / "last.pt"
    for sha256 in (None, sha256_or_error(path), sha256_or_error(path).upper()):
        config = start.config(kind="checkpoint", path=str(path), sha256=sha256)
        task = build_task(config, 10)
        load_initial(config, task)
        saved = read_checkpoint(path)["task"]["backbone.norm.weight"]
        assert torch.equal(task.backbone.norm.weight, saved)


def test_a_wrong_sha256_is_said_with_both(start: Start) -> None:
    path = start.folder / "last.pt"
    config = start.config(kind="checkpoint", path=str(path), sha256="0" * 64)
    said = refused(CheckpointError, config)
    assert sha256_or_error(path) in said
    assert "init.sha256=" + "0" * 64 in said


def test_a_source_that_is_not_named_is_an_error(start: Start) -> None:
    with pytest.raises(ConfigError, match=r"needs init\.run; write init=run init\.run="):
        start.config(kind="run")
    with pytest.raises(ConfigError, match=r"needs init\.path; write init=checkpoint init\.path="):
        start.config(kind="checkpoint")
    absent = start.config(kind="checkpoint", path="absent.pth", sha256="0" * 64)
    assert refused(CheckpointError, absent).startswith("absent.pth: cannot be read")


def spoil_missing(start: Start) -> None:
    shutil.rmtree(start.folder)


def spoil_unfinished(start: Start) -> None:
    (start.folder / "result.json").unlink()


def spoil_failed(start: Start) -> None:
    spoil_unfinished(start)
    write_error(start.folder, "out of memory")


def spoil_crash(start: Start) -> None:
    crash = Result(start.upstream, Outcome.CRASH, {}, crash={"kind": "collapsed", "step": 3})
    write_result(start.folder, crash, {})


def spoil_no_weights(start: Start) -> None:
    for name in ("last.pt", "previous.pt", "config.yaml"):
        (start.folder / name).unlink()


def spoil_torn(start: Start) -> None:
    path = start.folder / "last.pt"
    path.write_bytes(path.read_bytes()[:999])


def spoil_one_bit(start: Start) -> None:
    path = start.folder / "last.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def spoil_foreign(start: Start) -> None:
    save_checkpoint(start.folder, {0: torch.ones(2), 1: 3})


def spoil_other_run(start: Start) -> None:
    state = read_checkpoint(start.folder / "last.pt")
    save_checkpoint(start.folder, state | {"run_id": "dino-0123456789ab"})


def spoil_result(start: Start) -> None:
    (start.folder / "result.json").write_bytes(b"\xff\x00")


def spoil_config(start: Start) -> None:
    (start.folder / "config.yaml").write_bytes(b"\xff\x00")


def spoil_config_value(start: Start) -> None:
    path = start.folder / "config.yaml"
    text = path.read_text()
    assert text.count("norm_eps: 1.0e-06") == 1
    path.write_text(text.replace("norm_eps: 1.0e-06", "norm_eps: 1.0e-05"))


def spoil_other_step(start: Start) -> None:
    result = json.loads((start.folder / "result.json").read_text())
    result["provenance"]["steps"] += 1
    (start.folder / "result.json").write_text(json.dumps(result))


SPOILT: dict[str, tuple[Callable[[Start], None], type[ScaledReluError], str]] = {
    "missing": (spoil_missing, ConfigError, "no such run"),
    "unfinished": (spoil_unfinished, ConfigError, "not finished (missing)"),
    "failed": (spoil_failed, ConfigError, "not finished (out of memory)"),
    "crashed": (spoil_crash, ConfigError, "upstream crashed"),
    "no weights": (spoil_no_weights, CheckpointError, "train it again with redo="),
    "torn": (spoil_torn, CheckpointError, "damaged"),
    "one bit": (spoil_one_bit, CheckpointError, "damaged"),
    "foreign": (spoil_foreign, CheckpointError, "(no task, cursor)"),
    "other run": (spoil_other_run, CheckpointError, "is the checkpoint of dino-0123456789ab, not"),
    "result": (spoil_result, RecordError, "result.json: damaged"),
    "config": (spoil_config, RecordError, "config.yaml: damaged"),
    "config value": (spoil_config_value, RecordError, "does not match config.json beside it"),
    "other step": (spoil_other_step, CheckpointError, "but the run ended at step"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_nothing_is_trained_from_a_broken_start(start: Start, case: str) -> None:
    spoil, error, said = SPOILT[case]
    spoil(start)
    message = refused(error, start.from_run())
    assert said in message
    assert start.upstream in message


# What only the checkpoint itself shows, which takes torch to read.
IN_THE_CHECKPOINT = ("torn", "one bit", "foreign", "other run", "other step")


@pytest.mark.parametrize("case", [case for case in SPOILT if case not in IN_THE_CHECKPOINT])
def test_a_broken_start_is_found_before_the_run_and_told_in_the_same_words(
    start: Start, case: str
) -> None:
    config = start.from_run()
    assert lacking_here(config) == []
    SPOILT[case][0](start)
    assert lacking_here(config) == [refused(SPOILT[case][1], config)]


def test_the_nearest_run_is_named_and_one_with_nothing_alike_is_not(start: Start) -> None:
    (line,) = lacking_here(start.from_run(run=start.upstream[:-1]))
    assert f"no such run; did you mean '{start.upstream}'? (published records" in line
    (line,) = lacking_here(start.from_run(run="deit-000000000000"))
    assert "no such run (published records" in line


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.heads=4", "model.heads=4"),
        ("ffn=mlp_relu", "ffn.act=relu"),
        ("stem=conv_gelu", "stem.act=gelu"),
        ("stem.strides=[1,2,1]", "set stem.strides=[2,1,1]"),
        ("model.depth=5", "model.depth=5"),
    ],
)
def test_a_run_with_another_network_is_refused_even_where_weights_would_fit(
    start: Start, override: str, key: str
) -> None:
    config = start.from_run(override)
    message = refused(ConfigError, config)
    assert key in message
    assert start.upstream in message
    assert lacking_here(config) == [message]


@pytest.mark.parametrize("typed", ["stem=patchify", "stem=conv_gelu", "stem=patchify_bn_relu"])
@pytest.mark.parametrize("trained", ["conv", "patchify", "patchify_relu"])
def test_the_advice_about_another_stem_is_one_option_and_can_be_followed(
    tmp_path: Path, trained: str, typed: str
) -> None:
    first = with_values(run_of(trained), {"paths.results": str(tmp_path)})
    (leave(tmp_path, first, 50.0) / LAST).touch()
    init = {"init.kind": "run", "init.run": run_id(first), "init.head_scale": 1.0}

    def found(*overrides: str) -> list[str]:
        config = composed("profile=smoke", *overrides)
        return lacking_here(with_values(config, {"paths.results": str(tmp_path), **init}))

    assert found(f"stem={trained}") == []
    if typed == f"stem={trained}":
        return
    (line,) = found(typed)
    assert line.endswith(f"; set stem={trained}")


def test_every_field_of_the_stem_that_differs_is_told_where_no_option_has_them(
    start: Start,
) -> None:
    (line,) = lacking_here(start.from_run("stem.strides=[1,2,1]", "stem.hidden=8"))
    assert line == (
        f"stem.strides=[1,2,1] stem.hidden=8: the checkpoint of init.run={start.upstream} was "
        "trained with stem.strides=[2,1,1] stem.hidden=16; set stem.strides=[2,1,1] stem.hidden=16"
    )


def test_drop_path_and_recipe_may_differ_from_the_upstream_run(start: Start) -> None:
    config = start.from_run("model.drop_path=0.2", "precision.attention=scores_then_scale")
    assert load_initial(config, build_task(config, 10)).fresh == ("head.weight", "head.bias")


def test_a_finished_run_comes_with_its_configuration(start: Start) -> None:
    found = finished_run(start.results, start.upstream)
    assert found.config.stem.norm == "batch"
    assert found.state["cursor"]["step"] > 0


def test_code_that_a_stored_run_names_is_not_called_whomever_it_says_to_trust(start: Start) -> None:
    path = start.folder / "config.yaml"
    stored = OmegaConf.load(path)
    stored.data.build.train = {"_target_": "os.system"}
    stored.trust = ["os"]
    OmegaConf.save(stored, path)
    with pytest.raises(ConfigError, match=r"config\.yaml: data\.build\.train\._target_=os\.system"):
        finished_run(start.results, start.upstream)
    assert finished_run(start.results, start.upstream, trust=["os"]).config.trust == ("os",)
