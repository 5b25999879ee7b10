"""Which training steps are timed, the most important first: a budget cuts off the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import yaml

from scaledrelu.bench.scripts import Script
from scaledrelu.bench.table import Row
from scaledrelu.config.options import group_options
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.trust import check_targets
from scaledrelu.errors import ConfigError

BOTH = ("patchify", "conv")  # stems that every comparison is made behind; the others follow
OPTIMIZERS = ("adamw", "sam")
HALF = ("fp16_2021", "fp16", "bf16")
BATCH = {"mini": 64, "smoke": 64, "small": 512, "paper": 128}  # images per update, in one group
METHODS = {  # images per update of the other recipes
    "dino": {"mini": 32, "smoke": 32, "small": 256, "paper": 64},
    "volo": {"mini": 64, "smoke": 64, "small": 512, "paper": 128},
}
GROUPS = 8  # of the profile's batch, in one update: an update of the paper on one GPU
GRAPHS = "reduce-overhead"  # of torch.compile: replays CUDA graphs, as the paper profile does
OTHER_BATCHES = {"small": (128, 1024), "paper": (256, 512)}
PROFILES = tuple(BATCH)


def all_stems() -> tuple[str, ...]:
    """Return the stems that are timed: all that need no ``trust``, :data:`BOTH` first."""
    others = (name for name in group_options(CONF_DIR)["stem"] if name not in BOTH)
    return (*BOTH, *(name for name in others if _is_trusted(name)))


def _is_trusted(stem: str) -> bool:
    try:
        check_targets(yaml.safe_load((CONF_DIR / "stem" / f"{stem}.yaml").read_text()))
    except (ConfigError, yaml.YAMLError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison: our step and a plain one, of the same model.

    Attributes:
        profile: mini | small | paper | smoke.
        stem: option of the group ``stem``.
        optimizer: adamw | sam.
        precision: option of the group ``precision``.
        batch: images per update, in one group.
        channels_last: memory layout of ours, and of the plain step unless ``defaults``.
        compiled: ours compiles its networks; so does the plain step, in the same mode, unless
            ``defaults`` or ``eager_peer``.
        fused: fused AdamW, in both unless ``defaults``.
        defaults: the plain step as timm's training script does it by default: NCHW, unfused, the
            loss read at every step. Otherwise the plain step has every switch that ours has.
        recipe: deit | volo | dino.
        groups: groups of an update in ours; the plain step normalises the whole batch at once.
        at_once: all groups in one pass; otherwise one after the other.
        mode: name of a mode of ``torch.compile``, the same in both.
        eager_peer: of a compiled case: the plain step is not compiled.
        whole_loop: data included: ours with loader, augmentation, mixup and targets, the plain one
            with bare indexing, shift and normalisation. Otherwise one batch stays on the device.
        more: further overrides, such as a smaller model.
    """

    profile: str
    stem: str
    optimizer: str = "adamw"
    precision: str = "fp32"
    batch: int = 64
    channels_last: bool = True
    compiled: bool = False
    fused: bool = True
    defaults: bool = False
    recipe: str = "deit"
    whole_loop: bool = False
    groups: int = 1
    at_once: bool = False
    mode: str = "default"
    eager_peer: bool = False
    more: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Return the case in words, for the console."""
        marks = {
            "nchw": not self.channels_last,
            "compile": self.compiled,
            self.mode: self.mode != "default",
            "unfused": not self.fused,
            "timm defaults": self.defaults,
            "with data": self.whole_loop,
            f"groups {self.grouping}": self.groups > 1,
            "eager peer": self.eager_peer,
        }
        method = [] if self.recipe == "deit" else [self.recipe]
        words = [self.profile, *method, self.stem, self.optimizer, self.precision]
        words.append(f"B={self.batch}")
        return " ".join(words + [name for name, on in marks.items() if on])

    @property
    def grouping(self) -> str:
        """Return how an update's groups are passed, or nothing where it has one."""
        return f"{self.groups} {'at once' if self.at_once else 'in turn'}" * (self.groups > 1)

    @property
    def compiles_peer(self) -> bool:
        """Whether the plain step is compiled, too."""
        return self.compiled and not (self.defaults or self.eager_peer)

    @property
    def peer(self) -> str:
        """Return the plain step in words."""
        if self.defaults:
            return Script.DINO if self.recipe == "dino" else Script.TIMM_DEFAULTS
        return "same switches, eager" if self.eager_peer else "same switches"

    def row(self) -> Row:
        """Return the row of this case before anything is measured."""
        return Row(
            kind="loop" if self.whole_loop else "step",
            profile=self.profile,
            recipe=self.recipe,
            stem=self.stem,
            optimizer=self.optimizer,
            precision=self.precision,
            batch=self.batch,
            layout="channels_last" if self.channels_last else "contiguous",
            compiled=self.compiled,
            compile_mode="" if self.mode == "default" else self.mode,
            fused=self.fused,
            groups=self.grouping,
            peer=self.peer,
        )

    def overrides(self, device: str) -> list[str]:
        """Return the Hydra overrides whose run has this step.

        Args:
            device: cpu or cuda.
        """
        return [
            "launch=local",
            f"profile={self.profile}",
            f"recipe={self.recipe}",
            *(["model=volo_d1"] if self.recipe == "volo" else []),
            f"stem={self.stem}",
            f"optimizer={self.optimizer}",
            f"precision={self.precision}",
            f"batch.total={self.batch}",
            f"batch.group={self.batch // self.groups}",
            "profile.batch_scale=1.0",
            f"optimizer.build.fused={str(self.fused).lower()}",
            f"launch.channels_last={str(self.channels_last).lower()}",
            f"launch.compile={str(self.compiled).lower()}",
            f"launch.compile_mode={self.mode}",
            f"launch.groups_at_once={str(self.at_once).lower()}",
            f"launch.device={device}",
            *self.more,
        ]


def list_cases(
    profiles: Sequence[str], device: str, *, quick: bool = False, batch: int | None = None
) -> list[Case]:
    """Return the cases of some profiles, the most important first.

    Args:
        profiles: names of profiles.
        device: cpu or cuda.
        quick: patchify and conv stem only, one precision, no switches.
        batch: images per update of every case; None = the profile's.
    """
    ranked = [
        (rank, at, case)
        for at, profile in enumerate(profiles)
        for rank, case in _ranked(profile, device, quick, batch or BATCH[profile])
    ]
    ordered = [case for _, _, case in sorted(ranked, key=lambda item: item[:2])]
    return list(dict.fromkeys(ordered))


def _ranked(profile: str, device: str, quick: bool, batch: int) -> Iterator[tuple[int, Case]]:
    """Yield (rank, case); lower ranks are measured first."""
    precision = HALF[0] if device == "cuda" else "fp32"
    base = Case(profile, "patchify", precision=precision, batch=batch)
    for stem in BOTH:
        for rank, optimizer in enumerate(OPTIMIZERS):
            yield rank, replace(base, stem=stem, optimizer=optimizer)
    if profile == "mini":  # the only profile whose images are on every machine
        for stem in BOTH:
            yield 1, replace(base, stem=stem, whole_loop=True)
    if quick:
        return
    for stem in BOTH:
        yield 4 if device == "cuda" else 2, replace(base, stem=stem, defaults=True)
    yield from _methods(base, device)
    yield from _switches(base) if device == "cuda" else _cpu_switches(base)
    for stem in all_stems()[len(BOTH) :]:
        for rank, optimizer in enumerate(OPTIMIZERS):
            yield 8 + rank, replace(base, stem=stem, optimizer=optimizer)


def _methods(base: Case, device: str) -> Iterator[tuple[int, Case]]:
    """Yield VOLO and DINO behind both stems; on a GPU with what changes their speed, too."""
    for recipe, batches in METHODS.items():
        first = replace(base, recipe=recipe, batch=batches[base.profile])
        conv = replace(first, stem="conv")
        yield 4 if device == "cuda" else 2, first
        yield 3 if device == "cuda" else 2, conv
        if device == "cuda":
            graphs = replace(conv, compiled=True, mode=GRAPHS)
            yield 4, graphs
            yield 6, replace(graphs, stem="patchify")
            yield 6, replace(graphs, mode="default")
            yield 6, replace(conv, channels_last=False)
            if base.profile == "paper":  # of VOLO timm has no other size
                yield 4, replace(conv, defaults=True)
                yield 5, replace(graphs, defaults=True)


def _switches(base: Case) -> Iterator[tuple[int, Case]]:
    for stem in BOTH:
        one = replace(base, stem=stem)
        yield 2, replace(one, precision="bf16")
        # Compiling takes as long as six other cases, but it is what a run of the paper does.
        graphs = replace(one, compiled=True, mode=GRAPHS)
        varied = [{"optimizer": "sam"}, {"defaults": True}, {"precision": "bf16"}]
        compiled = [graphs, *(replace(graphs, **switch) for switch in varied)]
        yield 3, compiled[0]
        yield from ((4, case) for case in compiled[1:])
        yield from ((7, replace(case, mode="default")) for case in compiled)
        yield 5, replace(one, precision="fp16")
        yield 6, replace(one, channels_last=False)
        for precision in HALF[1:]:
            yield 6, replace(one, precision=precision, optimizer="sam")
    conv = replace(base, stem="conv")
    groups = replace(conv, batch=GROUPS * conv.batch, groups=GROUPS)
    yield 2, replace(groups, at_once=True)
    yield 2, groups
    at_once = replace(groups, at_once=True, compiled=True, mode=GRAPHS)
    yield 6, replace(at_once, precision="bf16", eager_peer=True)
    yield 6, replace(conv, fused=False)
    for batch in OTHER_BATCHES.get(base.profile, ()):
        yield 6, replace(conv, batch=batch)
    yield 7, replace(conv, compiled=True, mode=GRAPHS, channels_last=False)


def _cpu_switches(base: Case) -> Iterator[tuple[int, Case]]:
    for stem in BOTH:
        yield 4, replace(base, stem=stem, channels_last=False)
        yield 4, replace(base, stem=stem, fused=False)
    yield 6, replace(base, stem="conv", precision="bf16")
