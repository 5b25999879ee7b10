"""Where nothing has finished here, a guess comes from the published runs."""

from __future__ import annotations

import json
import statistics

import pytest

from scaledrelu.launch import estimate
from scaledrelu.launch.estimate import PUBLISHED, Estimate, Estimator
from tests.helpers.configs import composed
from tests.helpers.table_fakes import planned_run


def planned(*overrides, profile="mini"):
    return planned_run(composed(f"profile={profile}", *overrides), overrides=overrides)


def published(task, profile="mini", **fields):
    """Return the seconds of published runs that held, SAM's halved, by what they say themselves."""
    found = []
    for folder in (PUBLISHED / profile / "runs").iterdir():
        science = json.loads((folder / "config.json").read_text())
        result = json.loads((folder / "result.json").read_text())
        has = {
            "stem": bool(science["stem"]["strides"]),
            "sam": science["optimizer"]["sam"] is not None,
            "whole": science["data"]["fraction"] == 1,
        }
        same = all(has[name] == value for name, value in fields.items())
        if same and science["task"]["_target_"].endswith(task) and result["outcome"] == "ok":
            found.append(result["seconds"] / (2 if has["sam"] else 1))
    return found


@pytest.mark.parametrize(
    ("overrides", "fields", "gradients"),
    [
        (["stem=patchify"], {"stem": False, "sam": False, "whole": True}, 1),
        (["stem=conv", "optimizer=sam"], {"stem": True, "sam": True, "whole": True}, 2),
        (["recipe=dino", "stem=conv"], {"stem": True}, 1),
    ],
    ids=["patchify", "conv with SAM", "dino"],
)
def test_a_fresh_clone_guesses_the_median_of_published_runs_alike(
    tmp_path, overrides, fields, gradients
):
    run = planned(*overrides)
    alike = published(run.config.task["_target_"].rpartition(".")[2], **fields)
    found = Estimator(tmp_path, {})(run)
    assert len(alike) > 2
    assert not found.measured
    assert found.seconds == pytest.approx(gradients * statistics.median(alike))


@pytest.mark.parametrize("profile", [page.parent.name for page in PUBLISHED.glob("*/report.html")])
def test_a_guess_comes_from_the_published_runs_of_the_same_profile(tmp_path, profile):
    found = Estimator(tmp_path, {})(planned("stem=conv", profile=profile))
    alike = published("Classification", profile, stem=True, sam=False, whole=True)
    assert found.seconds is not None
    assert not found.measured
    assert min(alike) <= found.seconds <= max(alike)


def test_a_profile_without_published_runs_has_no_guess(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "PUBLISHED", tmp_path)
    run = planned("stem=conv")
    assert Estimator(tmp_path / "results", {})(run) == Estimate(None, measured=False)


def test_what_nobody_has_trained_has_no_guess(tmp_path):
    assert Estimator(tmp_path, {})(planned("model.width=8")) == Estimate(None, measured=False)
