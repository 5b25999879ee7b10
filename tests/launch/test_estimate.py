"""Where nothing has finished here, a guess comes from the published runs."""

from __future__ import annotations

import json
import statistics

import pytest

from scaledrelu.launch.estimate import PUBLISHED, Estimate, Estimator
from tests.helpers.configs import composed
from tests.helpers.table_fakes import planned_run


def planned(*overrides):
    return planned_run(composed("profile=mini", *overrides), overrides=overrides)


def published(task, **fields):
    """Return the seconds of published runs that held, SAM's halved, by what they say themselves."""
    found = []
    for folder in (PUBLISHED / "runs").iterdir():
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


def test_what_nobody_has_trained_has_no_guess(tmp_path):
    assert Estimator(tmp_path, {})(planned("model.width=8")) == Estimate(None, measured=False)
