"""Made-up measurements whose numbers can be followed in the head."""

from __future__ import annotations

from pathlib import Path

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.cost.records import DEIT, DINO, TIMM_CROPS, Records, Step

HOST = ["data.augment=reference", "data.decoder=pil"]  # the official data path
CROPS = ["data.augment=device", "data.decoder=pil"]


def paper(*overrides):
    return compose_unpinned(["profile=paper", *overrides])


# Operations on one image: what a step of another model does not have.
GFLOP = {("deit", "patchify"): 27.44e9, ("deit", "conv"): 35.2e9, ("volo", "conv"): 41.88e9}


def step(stem="patchify", rate=1000.0, *, recipe="deit", sam=False, mode=""):
    flops = (2 if sam else 1) * GFLOP[recipe, stem]
    vit = {"width": 384, "depth": 12, "patch_size": 16}
    model = {**vit, "depth": None, "patch_size": 8} if recipe == "volo" else vit
    return Step(recipe, model, stem, sam, "fp16_2021", mode, rate, (0.9, 1.05), flops)


OURS = (
    step("patchify", 3000.0),
    step("conv", 2000.0),
    step("patchify", 1600.0, sam=True),
    step("conv", 1000.0, recipe="volo"),
)
OFFICIAL = (step("patchify", 1500.0), step("conv", 1000.0))
RECORDS = Records(
    card="NVIDIA H200",
    path=Path("card.csv"),
    ours=OURS,
    official=OFFICIAL,
    alone={
        "reference": 200.0,
        "device": 300.0,
        "device, decoder=tensor": 400.0,
        "DINO, reference": 20.0,
        "DINO": 120.0,
        DINO: 24.0,
        DEIT: 210.0,
        TIMM_CROPS: 280.0,
    },
    together={"reference": 1600.0, "device": 2400.0, "device, decoder=tensor": 3200.0},
    processes=16,
    peak=800e12,
)
