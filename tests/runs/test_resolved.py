"""A wrong class or argument is found before anything is written, with its key and the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaledrelu.config.overrides import group_options
from scaledrelu.config.places import CONF_DIR
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.resolved import unresolved
from scaledrelu.runs.spawn import run_job
from tests.helpers.configs import composed, with_values

GROUPS = ("recipe", "data", "optimizer", "stem", "ffn", "lr")
SHIPPED = [f"{group}={name}" for group in GROUPS for name in group_options(CONF_DIR)[group]]
WRONG = {
    "a class": (
        {"stem.act": {"_target_": "torch.nn.SilU"}},
        "stem.act: _target_=torch.nn.SilU: no such class or function; did you mean 'SiLU'?",
    ),
    "a class of ours": (
        {"stem.build": {"_target_": "scaledrelu.models.stem.Stm"}},
        "stem.build: _target_=scaledrelu.models.stem.Stm: no such class or function; did you mean "
        "'Stem'?",
    ),
    "a module": (
        {"stem.tail": [{"_target_": "nowhere_at_all.Norm"}]},
        "stem.tail[0]: _target_=nowhere_at_all.Norm: no such class or function (No module named "
        "'nowhere_at_all')",
    ),
    "an argument": (
        {"optimizer.build": {"_target_": "torch.optim.Adafactor", "betas": [0.9, 0.999]}},
        "optimizer.build: torch.optim.Adafactor: has no argument 'betas'",
    ),
    "an argument of a layer": (
        {"stem.norm": {"_target_": "torch.nn.GroupNorm"}},
        "stem.norm: torch.nn.GroupNorm: needs num_groups, num_channels; give all but",
    ),
    "a curve": (
        {"lr.curve": {"_target_": "math.cos"}},
        "lr.curve._target_=math.cos: must be a class with __call__(done, length)",
    ),
}


@pytest.mark.parametrize("chosen", SHIPPED)
def test_all_that_conf_names_is_there(chosen: str) -> None:
    assert unresolved(composed(chosen, "profile=paper")) is None


@pytest.mark.parametrize(("changes", "line"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_with_its_key_and_leaves_nothing(
    changes: dict, line: str, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    config = with_values(composed("stem=conv", "profile=smoke"), changes)
    report = run_job(with_values(config, {"paths.results": str(results)}))
    assert report.ended is Ended.REFUSED
    assert report.reason.startswith(line)
    assert not results.exists()
