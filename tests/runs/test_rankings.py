"""The picture of ranked queries comes from the evidence of a finished run."""

import numpy as np
import pytest

from scaledrelu.config.artifacts import artifact_directory
from scaledrelu.data.people.folder import write_mini_reid
from scaledrelu.data.people.sightings import PRESETS
from scaledrelu.errors import ConfigError
from scaledrelu.evals.ranking_picture import WRONG
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.rankings import ranking_picture
from scaledrelu.runs.spawn import run_job
from tests.helpers.tiny_runs import folder_of


def test_a_finished_run_is_drawn_and_another_one_refused(smoke) -> None:
    config = smoke("recipe=reid", "stem=conv", "model.depth=2", "launch.device=cpu")
    results = config.paths.results
    with pytest.raises(ConfigError, match="no finished run with evidence"):
        ranking_picture(results, "reid-0123456789ab", count=3)
    folder = artifact_directory(results, config.data.digest)
    write_mini_reid(PRESETS["market"], folder, seed=0)
    assert run_job(config).ended == Ended.OK
    name = folder_of(config).name
    three, one = (ranking_picture(results, name, count=count) for count in (3, 1))
    assert three.width == one.width
    assert three.height > 2 * one.height
    with np.load(folder_of(config) / "evidence.npz") as evidence:
        assert evidence["val.first_places"].shape == (24, 10)
    colours = {colour for _, colour in three.getcolors(three.width * three.height)}
    assert WRONG in colours
    path = folder_of(config) / "evidence.npz"
    for damaged in (b"", b"no archive", path.read_bytes()[:-100]):
        path.write_bytes(damaged)
        with pytest.raises(RecordError, match=r"evidence\.npz damaged") as caught:
            ranking_picture(results, name, count=1)
        assert "\n" not in str(caught.value)
    deit = smoke("stem=conv", "model.depth=2")
    assert run_job(deit).ended == Ended.OK
    with pytest.raises(ConfigError, match="has no rankings"):
        ranking_picture(results, folder_of(deit).name, count=3)
