"""A wrong class or argument is found before anything is written, with its key and the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from scaledrelu.config.overrides import group_options
from scaledrelu.config.places import CONF_DIR
from scaledrelu.evals.classification import Top1
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.record import run_directory
from scaledrelu.runs.resolved import unresolved
from scaledrelu.runs.spawn import run_job
from tests.helpers.configs import composed, with_values
from tests.helpers.options import fitting_recipe

GROUPS = ("recipe", "data", "optimizer", "stem", "ffn", "lr")
SHIPPED = [f"{group}={name}" for group in GROUPS for name in group_options(CONF_DIR)[group]]
TOP1 = {"_target_": "scaledrelu.evals.classification.Top1"}
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
        "stem.tail[0]: _target_=nowhere_at_all.Norm: no such class or function",
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
    "a stem that lacks an argument": (
        {"stem.build": {"_target_": f"{__name__}.Few"}},
        f"stem.build: {__name__}.Few: got an unexpected keyword argument 'create'; a stem is made "
        "as MyStem(stem, *, width, patch_size, image_size, create)",
    ),
    "a stem that needs another argument": (
        {"stem.build": {"_target_": f"{__name__}.More"}},
        f"stem.build: {__name__}.More: missing a required argument: 'more'; a stem is made as My",
    ),
    "a stem without its grid": (
        {"stem.build": {"_target_": f"{__name__}.NoGrid"}},
        f"stem ({__name__}.NoGrid): has grid_size=None and num_patches=None; set ",
    ),
    "a layer that changes the map": (
        {"stem.tail": [{"_target_": "torch.nn.MaxPool2d", "kernel_size": 2}]},
        "stem (torch.nn.MaxPool2d): returns (1, 64, 2, 2), expected (1, 64, 4, 4)",
    ),
    "a metric that asks for what no run has": (
        {"evaluation.build": [TOP1, {"_target_": f"{__name__}.Asks"}]},
        f"evaluation.build[1]: {__name__}.Asks: needs pictures; give it beside _target_, or ask "
        "for what a run has: batches, num_images, training, num_training, reduce_sum, autocast, ",
    ),
    "a metric whose call asks for it": (
        {"evaluation.build": [TOP1, {"_target_": f"{__name__}.CallAsks"}]},
        f"evaluation.build[1]: {__name__}.CallAsks: __call__ gets the network alone (missing a "
        "required argument: 'pictures'); __init__ may ask for batches, num_images, ",
    ),
    "a metric that asks for people where there are none": (
        {"evaluation.build": [TOP1, {"_target_": f"{__name__}.AsksPeople"}]},
        f"data.name=digits: has no query and gallery images, which {__name__}.AsksPeople needs; ",
    ),
    "a metric that cannot be called": (
        {"evaluation.build": [TOP1, {"_target_": f"{__name__}.NoCall"}]},
        f"evaluation.build[1]: {__name__}.NoCall: has no __call__(self, network)",
    ),
}


class NoGrid(nn.Module):
    """A stem that does not say how many patches it makes."""

    def __init__(self, stem, *, width, patch_size, image_size, create):
        super().__init__()


class Few(nn.Module):
    """A stem that does not take what makes layers."""

    def __init__(self, stem, *, width, patch_size, image_size):
        super().__init__()


class More(NoGrid):
    """A stem that needs what no configuration gives."""

    def __init__(self, stem, more, **sizes):
        super().__init__(stem, **sizes)


class NoCall:
    """A metric that gives nothing."""


class CallAsks:
    """A metric that expects more than the network where it is called."""

    def __call__(self, network, pictures):
        return {}, {}


class Asks:
    """A metric that expects what no run has."""

    def __init__(self, *, batches, pictures, groups=4):
        self.batches = batches

    def __call__(self, network):
        return {}, {}


class AsksPeople:
    """A metric of people."""

    def __init__(self, *, gallery):
        self.gallery = gallery

    def __call__(self, network):
        return {}, {}


class OwnTop1(Top1):
    """A metric that compares classes."""


class Explodes(NoGrid):
    """A stem with a mistake in its code."""

    def __init__(self, stem, **sizes):
        super().__init__(stem, **sizes)
        raise NameError("nn is not defined")


@pytest.mark.parametrize("chosen", SHIPPED)
def test_all_that_conf_names_is_there(chosen: str) -> None:
    assert unresolved(composed(chosen, *fitting_recipe(chosen), "profile=paper")) is None


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


def test_a_mistake_in_a_stem_of_ones_own_is_told_where_the_run_meets_it(tmp_path: Path) -> None:
    changes = {"stem.build": {"_target_": f"{__name__}.Explodes"}, "paths.results": str(tmp_path)}
    report = run_job(with_values(composed("stem=conv", "profile=smoke"), changes))
    assert report.ended is Ended.FAILED
    assert report.reason.startswith("while building the model (tests/runs/test_resolved.py:")
    assert (run_directory(tmp_path, report.run_id) / "error.txt").exists()


def test_a_metric_that_rests_on_classes_is_refused_on_people() -> None:
    own = {"evaluation.build": [{"_target_": f"{__name__}.OwnTop1"}]}
    line = unresolved(with_values(composed("recipe=reid", "profile=smoke"), own))
    assert f"so {__name__}.OwnTop1 has no classes to compare" in line


def test_metrics_that_can_be_made_are_passed() -> None:
    own = {"_target_": f"{__name__}.Asks", "pictures": 3}
    config = with_values(composed("stem=conv", "profile=smoke"), {"evaluation.build": [TOP1, own]})
    assert unresolved(config) is None


def test_a_look_at_a_stem_draws_nothing_at_random() -> None:
    silu = {"stem.act": {"_target_": "torch.nn.SiLU"}}
    config = with_values(composed("stem=conv", "profile=smoke"), silu)
    state = torch.get_rng_state()
    assert unresolved(config) is None
    assert torch.equal(state, torch.get_rng_state())


def test_a_stem_of_the_project_is_not_made_before_the_run(monkeypatch) -> None:
    monkeypatch.setattr("scaledrelu.runs.build.try_stem", lambda _config: 1 / 0)
    assert unresolved(composed("stem=conv", "profile=smoke")) is None
