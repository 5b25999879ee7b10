from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise

import pytest

from scaledrelu.bench import cases
from scaledrelu.bench.cases import GRAPHS, OPTIMIZERS, PROFILES, Case, all_stems, list_cases
from scaledrelu.bench.end_cases import list_end_cases
from scaledrelu.config.compose import compose
from scaledrelu.config.places import CONF_DIR
from tests.helpers.options import of_the_paper


def test_compiled_steps_are_timed_in_the_mode_in_which_runs_compile():
    assert compose(["profile=paper"]).launch.compile_mode == GRAPHS
    ends = [case.step for case in list_end_cases("cuda")]
    assert all(step.mode == GRAPHS for step in ends if step.compiled)
    for step in ends:
        launch = compose(["profile=paper", f"recipe={step.recipe}"]).launch
        assert launch.compiles("cuda", step.recipe) is step.compiled


def test_every_stem_of_the_configuration_is_timed_but_for_code_to_trust(tmp_path, monkeypatch):
    assert set(all_stems()) >= set(of_the_paper("stem"))
    conf = shutil.copytree(CONF_DIR / "stem", tmp_path / "stem").parent
    for name, norm in {"own": "batch", "foreign": "{_target_: my_norms.GroupNorm}"}.items():
        (conf / "stem" / f"{name}.yaml").write_text(f"defaults: [conv, _self_]\nnorm: {norm}\n")
    before = all_stems()
    monkeypatch.setattr(cases, "CONF_DIR", conf)
    assert set(all_stems()) - set(before) == {"own"}


def test_every_stem_meets_every_optimizer_in_every_profile():
    for profile in PROFILES:
        for device in ("cpu", "cuda"):
            cases = list_cases([profile], device)
            seen = {(c.stem, c.optimizer) for c in cases if c.recipe == "deit"}
            assert seen == {(s, o) for s in all_stems() for o in OPTIMIZERS}


def test_a_gpu_measures_every_switch_that_is_asked_for():
    cases = list_cases(["paper"], "cuda")
    assert {c.precision for c in cases} == {"fp16_2021", "fp16", "bf16"}
    for switch in ("channels_last", "compiled", "fused", "defaults", "at_once", "eager_peer"):
        assert {getattr(c, switch) for c in cases} == {True, False}
    assert {c.mode for c in cases if c.compiled} == {"default", "reduce-overhead"}
    assert {c.mode for c in cases if not c.compiled} == {"default"}
    assert len({c.batch for c in cases if c.recipe == "deit" and c.groups == 1}) == 3
    grouped = [c for c in cases if c.groups > 1 and not c.compiled]
    assert {c.at_once for c in grouped} == {True, False}
    assert {c.batch for c in grouped} == {1024}


@pytest.mark.parametrize("profile", PROFILES)
def test_volo_and_dino_are_timed_behind_both_stems(profile: str):
    cases = [c for c in list_cases([profile], "cuda") if c.recipe != "deit"]
    assert {(c.recipe, c.stem) for c in cases} == {
        (recipe, stem) for recipe in ("volo", "dino") for stem in ("patchify", "conv")
    }
    for recipe in ("volo", "dino"):
        own = [c for c in cases if c.recipe == recipe]
        for switch in ("compiled", "channels_last"):
            assert {getattr(c, switch) for c in own} == {True, False}
    assert any(c.recipe == "volo" and c.defaults for c in cases) == (profile == "paper")


def test_profiles_take_turns_so_that_a_budget_cuts_both():
    cases = list_cases(["small", "paper"], "cuda")
    first = [c.profile for c in cases[: len(cases) // 2]]
    assert all(len(first) / 3 < first.count(profile) for profile in ("small", "paper"))
    compiled = [i for i, c in enumerate(cases) if c.compiled]
    eager = [
        i for i, c in enumerate(cases) if c == Case("paper", "conv", precision="bf16", batch=128)
    ]
    assert eager[0] < compiled[0]


def test_no_case_is_timed_twice():
    cases = list_cases(list(PROFILES), "cuda")
    assert len(cases) == len(set(cases))
    labels = [c.label for c in cases]
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize(
    "case",
    [
        Case("small", "conv", optimizer="sam", precision="fp16_2021", batch=512, compiled=True),
        Case("mini", "patchify", fused=False, channels_last=False),
        Case("paper", "conv", recipe="volo", batch=128),
        Case("small", "conv", recipe="dino", batch=256),
        Case("paper", "conv", batch=1024, groups=8, at_once=True),
        Case("paper", "conv", batch=128, compiled=True, mode="reduce-overhead"),
    ],
    ids=lambda case: case.label,
)
def test_a_case_composes_into_the_run_it_names(case: Case):
    config = compose(case.overrides("cpu"))
    assert config.batch.total == case.batch == case.groups * config.batch.group
    assert config.launch.groups_at_once is case.at_once
    assert config.launch.compile_mode == case.mode
    assert config.profile.batch_scale == 1
    assert config.optimizer.build["fused"] is case.fused
    assert config.launch.compile is case.compiled
    assert config.launch.channels_last is case.channels_last
    assert (config.optimizer.sam is not None) == (case.optimizer == "sam")


@pytest.mark.parametrize("key", [lambda c: c.compiled, lambda c: c.optimizer == "sam"])
def test_a_quick_list_is_a_part_of_the_whole_one(key: Callable[[Case], bool]):
    quick, whole = (list_cases(["mini"], "cpu", quick=flag) for flag in (True, False))
    assert set(quick) < set(whole)
    assert [c for c in whole if c in quick] == quick
    assert all(key(a) <= key(b) for a, b in pairwise(quick[:4]))


def test_on_a_gpu_deit_comes_first_then_the_other_methods_then_what_compiles():
    cases = list_cases(["paper"], "cuda")
    methods = min(i for i, case in enumerate(cases) if case.recipe != "deit")
    before = cases[:methods]
    assert {case.optimizer for case in before[:4]} == {"adamw", "sam"}
    assert {case.precision for case in before} == {"fp16_2021", "bf16"}
    assert {case.at_once for case in before if case.groups > 1} == {True, False}
    assert {(case.recipe, case.stem) for case in cases[methods : methods + 2]} == {
        ("dino", "conv"),
        ("volo", "conv"),
    }
    compiled = [i for i, case in enumerate(cases) if case.compiled]
    assert methods + 2 <= compiled[0] < compiled[1] < 16
    whole = [case for case in cases[:24] if case.compiled and case.recipe == "deit"]
    assert {case.stem for case in whole} == {"patchify", "conv"}
    assert {case.defaults for case in whole} == {True, False}  # beside both of timm's


def test_what_compiles_without_its_peer_follows_a_case_with_it():
    cases = list_cases(["paper"], "cuda")
    compiled = [case for case in cases if case.compiled]
    assert not compiled[0].eager_peer
    assert all(case.compiled for case in cases if case.eager_peer)
