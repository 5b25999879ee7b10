"""The log of a run opens with what it is, at which rate, for how long and on what."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import pytest

from scaledrelu.config.identity import run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.runs import announce as announce_module
from scaledrelu.runs.announce import fitted_line, left_out_line
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.spawn import run_job
from tests.helpers.tiny_runs import folder_of


def opening_of(config: RunConfig, caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.INFO, logger="scaledrelu"):
        assert run_job(config).ended == Ended.OK
    return "\n".join(r.getMessage() for r in caplog.records if r.name == announce_module.__name__)


def test_the_log_opens_with_differences_rates_steps_batch_and_devices(smoke, caplog) -> None:
    config = smoke("stem=conv", "lr.base=1e-3", "batch.group=32", "launch.device=cpu")
    text = opening_of(config, caplog)
    assert text.startswith(
        f"{run_id(config)}: differs from recipe deit at smoke: stem=conv lr.base=1e-3 "
        "batch.group=32\n"
    )
    assert "lr.base 0.001 -> effective peak 0.008" in text
    assert re.search(r"4 steps = 2 epochs x 2, of them \d+ warm-up", text)
    assert "batch 64 = 1 device(s) x 2 group(s) x 32; fp32, CPU " in text


def test_the_log_says_which_images_are_trained_on_and_where_they_lie(
    smoke, image_folder, caplog
) -> None:
    said = (
        "\n  digits: 142 training images (data.fraction=0.1), 360 validation images, 10 classes\n"
    )
    assert said in opening_of(smoke(), caplog)
    caplog.clear()
    root = image_folder({"train": 30, "val": 4})
    config = smoke("data=imagefolder", f"data.root={root}", "data.fraction=1", "launch.workers=0")
    said = f"\n  imagefolder at {root}: 90 training images, 12 validation images, 3 classes\n"
    assert said in opening_of(config, caplog)


def test_the_log_warns_where_nearest_neighbours_have_one_class_to_vote_for(
    smoke, image_folder, caplog
) -> None:
    root = image_folder({"train": 64, "val": 4}, classes=("images",))
    config = smoke(
        "recipe=dino", "data=imagefolder", f"data.root={root}", "data.fraction=1",
        "launch.workers=0", "model.depth=1",
    )  # fmt: skip
    opening_of(config, caplog)
    (warning,) = (r for r in caplog.records if r.levelno == logging.WARNING)
    assert warning.getMessage() == (
        "  val/knn20 is always 100 and says nothing, since all images are of one class; sort them "
        "into a folder for each class to measure it"
    )
    assert ", 1 class\n" in "\n".join(r.getMessage() for r in caplog.records)


def test_the_log_says_how_many_images_an_epoch_leaves_out_where_they_are_many(
    smoke, image_folder, caplog
) -> None:
    root = image_folder({"train": 40, "val": 4})  # of three classes each
    asked = ("data=imagefolder", f"data.root={root}", "data.fraction=1", "launch.workers=0")
    assert "56 of the 120 images are left out" in opening_of(smoke(*asked), caplog)
    caplog.clear()
    fitting = smoke(*asked, "batch.total=160", "batch.group=10")
    assert "left out" not in opening_of(fitting, caplog)


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (["stem.strides=[2,2,2]"], "stem.strides [2, 2, 2] run as [2, 2, 1] on patches of 4"),
        (
            ["stem.strides=[2,2,2]", "stem.proj_kernel=8"],
            "stem.strides [2, 2, 2] run as [2, 2, 1], stem.proj_kernel 8 as 1 on patches of 4",
        ),
    ],
)
def test_the_log_says_what_a_small_patch_makes_of_a_stem(smoke, caplog, asked, line) -> None:
    assert f"\n  {line}\n" in opening_of(smoke("stem=conv", *asked), caplog)


@pytest.mark.parametrize(
    "asked", ["stem=conv", "stem=patchify", "stem.strides=[2,1,2]", "stem.proj_kernel=4"]
)
def test_a_stem_that_fits_its_patch_is_no_news(smoke, asked) -> None:
    assert fitted_line(smoke("stem=conv", asked)) == ""


@pytest.mark.parametrize("stem", ["stem=conv", "stem=patchify"])
def test_only_a_stem_of_our_own_is_known_to_shrink(smoke, stem) -> None:
    config = smoke(
        stem, "stem.strides=[2,2,2]", "stem.build={_target_: os.path.join}", "trust=[os]"
    )
    assert fitted_line(config) == ""


def test_what_repeated_augmentation_leaves_out_by_design_is_not_news(smoke) -> None:
    assert left_out_line(smoke(), images=120, used=64)
    assert left_out_line(smoke("augment.repeats=2"), images=120, used=64) == ""


def test_the_log_says_that_a_frozen_backbone_has_random_weights(smoke, caplog) -> None:
    said = "\n  frozen backbone: random weights (init=scratch)\n"
    start = smoke("stem=conv")
    assert said not in opening_of(start, caplog)
    caplog.clear()
    assert said in opening_of(smoke("recipe=linear_probe", "stem=conv"), caplog)
    caplog.clear()
    probe = smoke("recipe=linear_probe", "stem=conv", "init=run", f"init.run={run_id(start)}")
    assert "frozen" not in opening_of(probe, caplog)


def test_a_run_that_is_its_recipe_says_so(smoke, caplog) -> None:
    assert ": recipe deit at smoke, unchanged\n" in opening_of(smoke(), caplog)


def test_a_recipe_that_is_gone_costs_a_line_not_the_run(smoke, caplog) -> None:
    config = replace(smoke(), method="other")
    assert "differences from recipe other at smoke unknown" in opening_of(config, caplog)


def test_only_the_main_process_composes_for_the_log(smoke, monkeypatch) -> None:
    from scaledrelu.engine.distributed import World

    def explode(_config: RunConfig) -> list[str]:
        raise AssertionError("composed on a worker rank")

    monkeypatch.setattr(announce_module, "overrides_against_recipe", explode)
    announce_module.announce(smoke(), None, World(1, 2, None))


@pytest.mark.usefixtures("forked_ranks")
def test_two_ranks_open_their_log_once(smoke, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = smoke("batch.group=32", "launch.nproc=2", "launch.device=cpu", "model.depth=1")
    assert run_job(config).ended == Ended.OK
    logs = [(folder_of(config) / f"rank{rank}.log").read_text() for rank in (0, 1)]
    assert "batch 64 = 2 device(s) x 1 group(s) x 32" in logs[0]
    assert [log.count("differs from recipe deit at smoke: ") for log in logs] == [1, 0]
