"""Which scripts are timed from JPEG file to update, the most wanted first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scaledrelu.bench.cases import BATCH, GRAPHS, METHODS, Case
from scaledrelu.bench.scripts import Script
from scaledrelu.bench.table import Row

# At paper size a step on a processor takes seconds.
SMALL_NAME = "small model"
SMALL_BATCH = 16
SMALL_VIT = ("model.width=32", "model.depth=2", "model.heads=2")
SMALL = {
    "deit": SMALL_VIT,
    "dino": (*SMALL_VIT, "task.out_dim=1024", "task.head_hidden=64", "task.bottleneck=32"),
    "volo": (
        "model.width=32",
        "model.heads=2",
        "model.build.layers=[1,1,1,1]",
        "model.build.outlook_width=32",
        "model.build.outlook_heads=1",
        "model.build.post_blocks=1",
        "stem.hidden=8",
    ),
}


@dataclass(frozen=True, slots=True)
class EndCase:
    """A script beside ours, both from JPEG files to updates.

    Attributes:
        script: whose data path and loop are the peer.
        step: the update of both.
        name: what is not as at paper size.
    """

    script: Script
    step: Case
    name: str = ""

    @property
    def label(self) -> str:
        """Return the case in words, for the console."""
        return f"JPEG to update, {self.script}: {self.step.label}"

    def row(self) -> Row:
        """Return the row of this case before anything is measured."""
        return replace(self.step.row(), kind="end", name=self.name, peer=self.script)


def list_end_cases(device: str) -> list[EndCase]:
    """Return the cases, the most important first.

    Args:
        device: cpu, with small models; or cuda, with those of the paper.
    """
    if device == "cpu":
        return [_small(script, recipe) for script, recipe in RECIPES.items()]
    eager = Case("paper", "conv", precision="fp16_2021", batch=BATCH["paper"])
    deit = replace(eager, compiled=True, mode=GRAPHS)
    dino = replace(deit, recipe="dino", batch=METHODS["dino"]["paper"])
    volo = replace(eager, recipe="volo", batch=METHODS["volo"]["paper"])
    return [
        EndCase(Script.DEIT, replace(deit, defaults=True)),
        EndCase(Script.TIMM, deit),
        EndCase(Script.DINO, replace(dino, defaults=True)),
        EndCase(Script.VOLO, replace(volo, defaults=True)),
        EndCase(Script.TIMM_DEFAULTS, replace(deit, defaults=True)),
        EndCase(Script.TIMM, replace(deit, precision="bf16")),
        EndCase(Script.DEIT, replace(deit, stem="patchify", defaults=True)),
        EndCase(Script.TIMM, replace(deit, stem="patchify")),
    ]


RECIPES = {
    Script.TIMM: "deit",
    Script.DEIT: "deit",
    Script.DINO: "dino",
    Script.VOLO: "volo",
    Script.TIMM_DEFAULTS: "deit",
}


def _small(script: Script, recipe: str) -> EndCase:
    step = Case(
        "paper",
        "conv" if recipe == "volo" else "patchify",
        recipe=recipe,
        batch=SMALL_BATCH,
        defaults=script not in (Script.TIMM, Script.VOLO),  # timm has no small VOLO
        more=(*SMALL[recipe], "launch.threads=1"),
    )
    return EndCase(script, step, SMALL_NAME)
