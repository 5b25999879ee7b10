"""From file to update: both sides make the same update of the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scaledrelu.bench import data_paths
from scaledrelu.bench.end_cases import EndCase, list_end_cases
from scaledrelu.bench.end_to_end import build_ends, measure_end
from scaledrelu.bench.measure import check_same_work
from scaledrelu.bench.scripts import Script
from scaledrelu.config.compose import compose

CPU = torch.device("cpu")
SMALL = {case.script: case for case in list_end_cases("cpu")}


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return data_paths.generate_jpegs(tmp_path_factory.mktemp("jpegs"), images=16)


@pytest.mark.parametrize("script", [Script.TIMM, Script.DEIT, Script.DINO, Script.VOLO])
def test_both_sides_make_one_update_of_batches_alike(jpegs, tmp_path: Path, script: Script):
    case = SMALL[script]
    repeated = script is Script.DEIT
    source = data_paths.source_of(jpegs, images=256 if repeated else None)
    ends = build_ends(case, source, tmp_path, CPU, workers=0)
    try:
        check_same_work(ends.sides)
        assert ends.sides.config.augment.repeats == (3 if repeated else 1)
        (mine,) = ends.feed(ends.sides.ours.now)
        theirs = ends.next_of_theirs()
        for name in ("images", "local", "token_targets"):
            pair = getattr(mine, name), getattr(theirs, name)
            assert (pair[0] is None) == (pair[1] is None)
            if pair[0] is not None:
                assert pair[0].shape == pair[1].shape
        for images in (mine.images, theirs.images):
            # Bytes reach 255, floats that were not normalised never fall below 0; erasing in
            # `pixel` mode writes normal noise.
            assert -8 < float(images.min()) < -0.5
            assert float(images.max()) < 8
        if script is not Script.DINO:
            assert mine.targets.shape == theirs.targets.shape
            sums = mine.targets.sum(1), theirs.targets.sum(1)
            assert torch.allclose(*sums, atol=1e-3)
        losses = ends.sides.ours([mine]), ends.sides.plain(theirs)
        assert all(torch.isfinite(loss) for loss in losses)
    finally:
        ends.feed.loader.close()


def test_a_row_counts_images_of_an_epoch(jpegs):
    row = measure_end(SMALL[Script.TIMM], jpegs, CPU, rounds=1)
    assert (row.kind, row.peer, row.name) == ("end", Script.TIMM, "small model")
    assert row.images_per_s == pytest.approx(16 * row.steps_per_s)
    assert len(row.ratios) == 1


def test_every_script_is_timed_on_a_processor_and_on_a_gpu():
    whole = {Script.TIMM, Script.TIMM_DEFAULTS, Script.DEIT, Script.DINO, Script.VOLO}
    for device in ("cpu", "cuda"):
        assert {case.script for case in list_end_cases(device)} == whole
    first = [case.script for case in list_end_cases("cuda")[:4]]
    assert first == [Script.DEIT, Script.TIMM, Script.DINO, Script.VOLO]
    assert {case.step.profile for case in list_end_cases("cuda")} == {"paper"}


@pytest.mark.parametrize("case", list_end_cases("cuda"), ids=lambda case: case.label)
def test_on_a_gpu_a_script_meets_a_run_of_paper_size(case: EndCase):
    config = compose(case.step.overrides("cpu"))
    assert (config.batch.total, config.data.image_size) == (case.step.batch, 224)
    assert config.model.width == 384
    assert case.step.defaults == (case.script is not Script.TIMM)


def test_files_of_an_epoch_are_shared_out_evenly(jpegs):
    source = data_paths.source_of(jpegs, images=32)
    assert np.bincount(source.targets).tolist() == [2] * 16
