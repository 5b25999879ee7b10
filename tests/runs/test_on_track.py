"""A run at paper scale says at the paper's epochs whether it is on track."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import pytest

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.milestones import Milestone, Milestones, load_milestones
from scaledrelu.config.seeds import Seeds
from scaledrelu.engine.distributed import World
from scaledrelu.engine.loop import Evaluation
from scaledrelu.runs import on_track
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.on_track import Watched, is_of_this_kind, verdict
from scaledrelu.runs.spawn import run_job
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.spec import merge_overrides
from scaledrelu.tasks.base import Progress
from tests.helpers.tiny_runs import folder_of

CONV, PATCHIFY = load_milestones().items[:2]
AT_PAPER = ("profile=paper", "recipe=deit", "stem=conv", "lr.base=1e-3")


@pytest.fixture(scope="module")
def composer(tmp_path_factory: pytest.TempPathFactory) -> Composer:
    """Composes what many cases share once."""
    return Composer(tmp_path_factory.mktemp("composed"))


def milestone(epoch: int, paper: float, run: Sequence[str] = ("stem=patchify",)) -> Milestone:
    return Milestone("C01", tuple(run), "val/top1", epoch, paper)


@pytest.mark.parametrize(
    ("extra", "alike"),
    [
        ((), True),
        (("seed=3", "launch=local", "wandb=offline", "launch.workers=2"), True),
        (("evaluation.every_epochs=5",), True),
        (("precision=bf16",), True),
        (("warmup.epochs=20",), False),
        (("optimizer=sam",), False),
        (("optimizer.clip_grad=1.0",), False),
        (("augment.mixup=0",), False),
        (("ffn=conv1d",), False),
        (("init=checkpoint", "init.path=weights.pt"), False),
        (("data.fraction=0.1",), False),
        (("data.image_size=192",), False),
        (("profile=mini",), False),
        (("data=imagefolder",), False),
    ],
)
def test_a_run_is_of_this_kind_if_all_that_the_paper_names_is_the_same(
    extra, alike, composer, monkeypatch
) -> None:
    monkeypatch.setattr(on_track, "compose_unpinned", lambda asked: composer.unpinned(asked).config)
    config = composer.unpinned(merge_overrides(AT_PAPER, extra)).config
    assert is_of_this_kind(CONV.run, config) is alike
    assert not is_of_this_kind(PATCHIFY.run, config)


def test_the_line_says_where_the_run_is_and_which_rule_holds() -> None:
    milestones = load_milestones()
    assert verdict(CONV, 17.2, milestones) == (
        "epoch 5: val/top1 17.2, the paper's run of this kind had 18.1 (C01): on track "
        "(within 3.8 points, half of the way to the other stem's)"
    )
    assert "off track (not within 3.8 points" in verdict(CONV, 14.2, milestones)
    points = Milestones(milestones.items, 1.0, Seeds((0,)))
    assert verdict(CONV, 17.2, points).endswith("on track (within 1 points)")


def test_only_the_papers_epochs_are_told_at_their_end(caplog) -> None:
    expected = [milestone(5, 18.1), milestone(20, 53.6)]
    found = Evaluation({"val/top1": 50.0})
    watched = Watched(lambda _: found, Milestones((), 2.0, Seeds((0,))), expected)
    with caplog.at_level(logging.INFO, logger="scaledrelu"):
        for epoch in range(30):
            assert watched(Progress(10 * epoch + 9, 3000, epoch, 10)) is found
        watched(Progress(0, 3000, 0, 10))  # before training
        watched(Progress(52, 3000, 5, 10))  # within epoch 6
    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert told == ["epoch 5", "epoch 20"]


def test_only_the_main_process_of_a_run_of_the_papers_length_looks(smoke, monkeypatch) -> None:
    def explode() -> Milestones:
        raise AssertionError("read")

    monkeypatch.setattr(on_track, "load_milestones", explode)
    training = object()
    assert on_track.watch(training, compose_unpinned(AT_PAPER), World(1, 2, None)) is training
    assert on_track.watch(training, smoke(), World(0, 1, None)) is training


def test_milestones_that_cannot_be_read_cost_a_line_not_the_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(on_track, "load_milestones", lambda: load_milestones(tmp_path))
    training = object()
    with caplog.at_level(logging.INFO, logger="scaledrelu"):
        config = compose_unpinned(AT_PAPER)
        assert on_track.watch(training, config, World(0, 1, None)) is training
    assert "not compared with the paper's values" in caplog.text


def test_a_real_run_tells_both_epochs(smoke, monkeypatch, caplog) -> None:
    """Smoke stands for the paper here: its data, two epochs, and what the paper had after them."""
    monkeypatch.setattr(on_track, "PAPER", "profile=smoke")
    found = Milestones((milestone(1, 99.0), milestone(2, 10.0)), 50.0, Seeds((0,)))
    monkeypatch.setattr(on_track, "load_milestones", lambda: found)
    config = smoke(
        "schedule.epochs=2", "profile.epoch_scale=1.0", "warmup.epochs=0", "model.depth=1"
    )
    with caplog.at_level(logging.INFO, logger="scaledrelu"):
        assert run_job(config).ended == Ended.OK
    told = [r.getMessage() for r in caplog.records if r.name == on_track.__name__]
    rows = map(json.loads, (folder_of(config) / "metrics.jsonl").read_text().splitlines())
    values = [row["val/top1"] for row in rows if "val/top1" in row]
    for epoch, (line, value) in enumerate(zip(told, values, strict=True), 1):
        assert line.startswith(f"epoch {epoch}: val/top1 {value:.1f}, the paper's run")
    assert ["off track" in line for line in told] == [True, False]
