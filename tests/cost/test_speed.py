"""A rate is the measured one where there is one, else derived by a rule, and says which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaledrelu.cost.speed import (
    Basis,
    evaluation_path,
    forward_rate,
    loader_rate,
    official_path,
    our_path,
    step_rate,
)
from scaledrelu.cost.work import step_flops
from tests.helpers.speeds import CROPS, HOST, OFFICIAL, OURS, RECORDS, paper, step

MODE = paper().launch.compile_mode
WITH_VOLO = replace(RECORDS, alone={**RECORDS.alone, "VOLO": 190.0, "VOLO's script": 150.0})


def test_a_measured_step_has_its_own_rate_and_the_range_of_its_blocks():
    found = step_rate(paper("stem=conv"), OURS)
    assert found.basis is Basis.MEASURED
    assert (found.low, found.likely, found.high) == pytest.approx((1800, 2000, 2100))


@pytest.mark.parametrize(
    "overrides",
    [["stem=conv_plain"], ["stem=conv", "ffn=conv1d_bn"],
     ["stem=conv", "stem.strides=[2,2,1]"]],
)  # fmt: skip
def test_another_backbone_with_convolutions_is_as_fast_within_a_range(overrides):
    found = step_rate(paper(*overrides), OURS)
    assert found.basis is Basis.NEAR
    assert (found.low, found.likely, found.high) == pytest.approx((1700, 2000, 2300))


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.width=192", "model.heads=3"],
        ["model.width=768", "model.heads=12"],
        ["model.width=768", "model.heads=12", "model.depth=3"],  # as many operations
        ["model.depth=11"],
        ["model.patch_size=32"],
        ["data.image_size=192"],
    ],
)
@pytest.mark.parametrize("stem", ["patchify", "conv", "conv_plain"])
def test_the_rate_of_another_model_or_image_is_modelled(overrides, stem):
    for more in ([], ["optimizer=sam"]):
        other = paper(f"stem={stem}", *overrides, *more)
        found = step_rate(other, [step("conv", 2500.0, mode=MODE), *OURS])
        assert found.basis is Basis.MODELLED
    assert found.likely != step_rate(paper(f"stem={stem}", *more), OURS).likely


def test_a_stem_of_ones_own_is_of_no_measured_kind():
    own = ["stem.build._target_=my_stems.Own", "trust=[my_stems]"]
    assert step_rate(paper(*own), OURS).basis is Basis.MODELLED


def test_a_step_that_was_not_measured_goes_at_the_operations_of_the_nearest():
    sam = step_rate(paper("stem=conv", "optimizer=sam"), OFFICIAL)
    assert sam.basis is Basis.MODELLED
    assert sam.likely * step_flops(paper("stem=conv", "optimizer=sam")) == pytest.approx(35.2e12)
    assert sam.low < sam.likely < sam.high


def test_a_recipe_that_was_not_measured_has_the_range_of_all_measured_steps():
    config = paper("recipe=dino")
    found = step_rate(config, OURS)
    speeds = [rate * step_flops(config) for rate in (found.low, found.likely, found.high)]
    assert speeds == pytest.approx([0.85 * 41.88e12, 3 * 27.44e12, 1.15 * 1.6 * 54.88e12])


def test_a_compiled_step_is_measured_or_gains_what_a_measured_one_gains():
    steps = [step("conv", 2500.0, mode=MODE), *OURS]
    plain = "launch.compile=false"
    assert step_rate(paper("stem=conv", plain), steps).likely == 2000
    assert step_rate(paper("stem=conv"), steps).likely == 2500
    assert step_rate(paper("stem=conv_gelu"), steps).basis is Basis.NEAR
    assert step_rate(paper("stem=conv", "launch.compile_mode=default"), steps).likely == 2000
    derived = step_rate(paper(), steps)
    assert derived.basis is Basis.MODELLED
    assert derived.likely == pytest.approx(3000 * 2500 / 2000)
    assert derived.low == step_rate(paper(plain), steps).low
    assert step_rate(paper(), OURS) == step_rate(paper(plain), OURS)


def test_a_compiled_step_with_sam_is_half_as_fast_as_the_one_without():
    steps = [step("conv", 2500.0, mode=MODE), *OURS]
    found = step_rate(paper("stem=conv", "optimizer=sam"), steps)
    assert found.basis is Basis.MODELLED
    assert (found.low, found.likely, found.high) == pytest.approx((0.85 * 1250, 1250, 1.15 * 1250))
    measured = [step("conv", 1300.0, sam=True, mode=MODE), *steps]
    assert step_rate(paper("stem=conv", "optimizer=sam"), measured).likely == 1300


def test_a_method_that_is_not_compiled_by_default_goes_at_the_rate_of_its_plain_step():
    volo = ["recipe=volo", "model=volo_d1", "stem=conv"]
    steps = [step("conv", 1500.0, recipe="volo", mode=MODE), *OURS]
    assert step_rate(paper(*volo), steps).likely == 1000
    assert step_rate(paper(*volo, "launch.compile=true"), steps).likely == 1500


def test_a_precision_without_a_step_is_derived_from_the_others():
    found = step_rate(paper("precision=bf16"), OURS)
    assert (found.likely, found.basis) == (pytest.approx(3000, rel=0.15), Basis.MODELLED)


def test_steps_in_full_precision_do_not_go_at_the_speed_of_half():
    probe = paper("recipe=linear_probe")
    found = step_rate(probe, OURS)
    assert found.basis is Basis.MODELLED
    assert found.high * step_flops(probe) < 67e12


def test_a_forward_pass_is_a_third_of_a_step_and_a_sixth_of_one_with_sam():
    assert forward_rate(paper(), OURS).likely == pytest.approx(3 * 3000)
    steps = [step("patchify", 5000.0, mode=MODE), *OURS]
    assert forward_rate(paper(), steps) == forward_rate(paper(), OURS), "evaluations are uncompiled"
    assert forward_rate(paper("optimizer=sam"), OURS).likely == pytest.approx(6 * 1600)


def test_loader_processes_lose_their_share_of_what_sixteen_lose():
    alone, some, all_of_them, more = (
        loader_rate("reference", count, RECORDS) for count in (1, 10, 16, 32)
    )
    assert (alone.likely, alone.high) == (200, 200)
    assert (all_of_them.likely, all_of_them.basis) == (1600, Basis.MEASURED)
    assert more == all_of_them
    assert (some.low, some.high) == pytest.approx((10 * 100, 10 * 200))
    assert some.likely == pytest.approx(10 * 200 * (1 - 0.5 * 9 / 15))


def test_images_take_the_path_that_a_run_is_configured_for():
    def path(*overrides):
        return our_path(paper(*overrides), RECORDS)

    assert path(*HOST) == "reference"
    assert path(*CROPS) == "device"
    tensors = path("data.augment=device", "data.decoder=tensor")
    assert tensors == evaluation_path(tensors) == "device, decoder=tensor"
    assert path("recipe=dino", *HOST) == "DINO, reference"
    assert path("recipe=dino", "data.augment=device") == "DINO"
    assert evaluation_path("DINO") == evaluation_path("VOLO") == tensors
    assert evaluation_path("DINO, reference") == evaluation_path("VOLO, reference") == "device"
    assert official_path(paper("recipe=dino"), RECORDS) == "DINO's script"
    probe = paper("recipe=linear_probe", *HOST)  # crops and flips only
    assert our_path(probe, RECORDS) == "device"
    assert official_path(probe, RECORDS) == "timm's script without RandAugment"


def test_volo_has_its_own_path_as_soon_as_it_is_measured():
    volo = paper("recipe=volo", "model=volo_d1")
    paths = [(our_path(volo, one), official_path(volo, one)) for one in (RECORDS, WITH_VOLO)]
    assert paths == [("reference", "DeiT's script"), ("VOLO", "VOLO's script")]
