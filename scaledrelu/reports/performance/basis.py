"""The part of docs/performance.md that says where its numbers come from: speeds, rules, gaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from scaledrelu.config.naming import stem_name
from scaledrelu.config.run import RunConfig
from scaledrelu.cost.hours import (
    BANDWIDTH,
    HOUR,
    OFFICIAL_WORKERS,
    SCALING,
    Hours,
    cost_of,
    loader_processes,
    most_images,
    ours,
)
from scaledrelu.cost.records import Records
from scaledrelu.cost.speed import (
    FULL_PRECISION,
    NEAR,
    Basis,
    Rate,
    loader_rate,
    our_path,
    shared_speed,
    step_rate,
)
from scaledrelu.cost.whole import OURS, Group
from scaledrelu.cost.work import MOVES_OF_A_BLOCK, MOVES_OF_A_CONVOLUTION, parts_of
from scaledrelu.text import markdown_table, ranged

NAMES = {  # (method, with SAM)
    ("deit", False): "DeiT-S, AdamW",
    ("deit", True): "DeiT-S, SAM",
    ("volo", False): "VOLO-D1",
    ("dino", False): "DINO, pre-training",
    ("linear_probe", False): "DINO, linear evaluation",
    ("reid", False): "ReID",
}
SHOWN = (1, 8, 10)  # loader processes whose rates are shown: one, and defaults of scripts
MEASURED_STEMS = ("patchify", "conv")
OPERATIONS = 400  # of the augmentation of 128 images, counted; docs/running.md says the same
MICROSECONDS = (3, 10)  # of a short operation: what a GPU needs, and a host to start it


def spread(number: Hours | Rate) -> str:
    """Return the likely value and, in brackets, its range where it has one."""
    return ranged(number.low, number.likely, number.high)


def speeds(groups: Sequence[Group], records: Records) -> list[str]:
    """Return the rates behind the hours: of steps and of loaders.

    Args:
        groups: all runs.
        records: what was measured.
    """
    steps = []
    for group in groups:
        for convolutions in (False, True):
            of_stem = [c for c in group.configs if bool(c.stem.strides) == convolutions]
            if of_stem:
                steps.append(_step_row(group, _plainest(of_stem), records))
    counts = sorted({*SHOWN, records.processes})
    loaders = []
    for path in dict.fromkeys([*records.together, *records.alone]):
        rates = [loader_rate(path, count, records) for count in counts]
        loaders.append((path, *map(spread, rates), rates[-1].basis))
    processes = [f"{count} process{'' if count == 1 else 'es'}" for count in counts]
    return [
        "## Speeds",
        f"Images a second of one {records.card}: steps in the precision of the recipe. DINO's "
        "images have ten crops each.",
        markdown_table(("steps", "stem", "official", "basis", "ours", "basis", "floor"), steps),
        "Images a second from JPEG files to batches, by loader processes of one GPU:",
        markdown_table(("path", *processes, "basis of the last"), loaders),
    ]


def example(configs: Sequence[RunConfig], records: Records) -> list[str]:
    """Return one run, written out.

    Args:
        configs: all runs.
        records: what was measured.
    """
    config = _with_convolutions(configs)
    training, evaluations = parts_of(config)
    step, processes = step_rate(config, records.ours), loader_processes(config, records)
    data = loader_rate(our_path(config, records), processes, records)
    cost, share = cost_of(config, ours(records), records), SCALING[1]
    decides = min(share * step.likely, data.likely)
    hours = training.images / decides / HOUR
    return [
        "## One run, written out",
        f"DeiT-S with a conv-stem and AdamW trains on {config.run_epochs} x "
        f"{training.images / config.run_epochs:,.0f} = {training.images / 1e6:,.1f} million "
        f"images. Its steps make {step.likely:,.0f} images a second and GPU, times {share} for "
        f"{config.launch.nproc} GPUs together; its {processes} loader "
        f"processes make {data.likely:,.0f}. The lower rate decides: {training.images:,.0f} / "
        f"{decides:,.0f} / 3600 = {hours:.1f} GPU-hours, and {cost.hours.likely - hours:.1f} for "
        f"{evaluations.images / 1e6:.0f} million images of evaluations.",
    ]


def basis(groups: Sequence[Group], records: Records) -> list[str]:
    """Return what every number rests on, and what is missing.

    Args:
        groups: all runs.
        records: what was measured.
    """
    of_ours = [cost for group in groups for cost in group.costs[OURS]]
    counted = Counter(cost.basis for cost in of_ours)
    kinds = ", ".join(f"{counted[one]} {one}" for one in Basis if counted[one])
    rows = [*_basis_of_steps(records), *_basis_of_loaders(records), *_basis_of_the_rest(records)]
    return [
        "## What rests on what",
        markdown_table(("number", "is"), rows),
        f"The rate that decides the training is, in the {len(of_ours)} runs of ours: {kinds}.",
        f"**No published row measures**: {'; '.join(_unmeasured(groups, records))}; more than one "
        f"GPU; more loader processes than {records.processes} or those of several GPUs side by "
        "side; disks (all files lay in memory); a whole run. Some steps were timed by hand in one "
        "round ([gpu.md](gpu.md)), which no number here rests on.",
        "**Left out**: starting a run, decoding what it keeps in memory, compiling, checkpoints; "
        f"what the GPU does to images before a step, {_augmentation(groups, records)}; label maps "
        "for VOLO, which its authors publish (making them anew is a forward pass of a large "
        "teacher over ImageNet); k-NN of the official scripts, which is a command of its own, "
        "where ours runs it twice per pre-training; the 800 epochs behind the released DINO "
        "weights that Tables 6 and 7 start from; further seeds.",
        "For comparison, published: DINO's README says 1.75 days on 8 GPUs of its time for one "
        "ViT-S/16 of 100 epochs, 336 GPU-hours.",
    ]


def _basis_of_steps(records: Records) -> list[tuple[str, str]]:
    """Return what the rates of steps rest on."""
    slow, middle, fast = (f"{peak / 1e12:.0f}" for peak in FULL_PRECISION)
    bench = f"../results/published/bench/{records.path.stem}.md"
    return [
        (
            "a step of ours, and the official step",
            f"measured on one {records.card} ([rows]({bench})), a batch of one group, nothing else "
            "in the loop. The official step is a plain loop with timm's defaults (NCHW, no fused "
            "optimizer, the loss read at every step), not the scripts themselves; of two rows "
            "about one step the faster, in the range of both",
        ),
        (
            "a step with another stem of the same kind",
            f"the measured one, {NEAR:.0%} either way",
        ),
        (
            "any other step",
            "modelled: the measured operations a second of the nearest step, over its own "
            "operations, which are counted. The range is the same where a step of the recipe is "
            "measured, else that of all measured steps and as much beyond it",
        ),
        (
            "a compiled step",
            "measured where the table of that card has it, with CUDA graphs, or the measured one "
            f"with another stem of the same kind, {NEAR:.0%} either way; with SAM half the rate of "
            f"the same step without, {NEAR:.0%} either way; else modelled: what those gain that "
            f"were measured both ways, in a range from nothing to {NEAR:.0%} more. VOLO's is not "
            "compiled ([gpu.md](gpu.md))",
        ),
        (
            "steps in fp32 (linear evaluation)",
            f"modelled: {middle} TFLOP/s ({slow} to {fast}) of the 67 that NVIDIA's datasheet says",
        ),
    ]


def _basis_of_loaders(records: Records) -> list[tuple[str, str]]:
    """Return what the rates of loaders rest on."""
    workers = ", ".join(f"{method} {number}" for method, number in OFFICIAL_WORKERS.items())
    return [
        (
            f"{records.processes} loader processes",
            "measured on the same machine, for the paths with that word in the table",
        ),
        (
            "fewer of them",
            f"modelled: one alone is measured; beside {records.processes - 1} others a process "
            f"keeps {shared_speed(records):.2f} of that, beside fewer more, in proportion. The "
            "range has all of it and that share",
        ),
        (
            "a path that was measured on another machine only",
            "modelled: as much faster or slower than DeiT's script as there, by the ratio to its "
            "peer and that of the peers",
        ),
        (
            "loader processes of the official scripts",
            f"published: their defaults ({workers})",
        ),
    ]


def _basis_of_the_rest(records: Records) -> list[tuple[str, str]]:
    """Return what evaluations, several GPUs and the floor rest on."""
    low, likely, high = SCALING
    return [
        (
            "evaluations",
            "modelled: a forward pass at the operations a second of the step that is not compiled, "
            "decoding as fast as the device path. DeiT without `--dist-eval` and DINO's linear "
            "evaluation classify all images on every GPU (their code); ours shares them and, where "
            "memory allows, decodes those for top-1 once a run",
        ),
        (
            "GPUs together",
            f"assumed: {likely} of their sum ({low} to {high:g}); never measured",
        ),
        (
            "the floor",
            f"modelled: the operations at {records.peak / 1e12:.0f} TFLOP/s, the fastest large "
            f"product measured, or the bytes at {BANDWIDTH / 1e12} TB/s (datasheet), whichever "
            f"takes longer. A block moves a token {MOVES_OF_A_BLOCK:.0f} times in 16 bits, forward "
            f"and backward, a convolution of the stem its output {MOVES_OF_A_CONVOLUTION:.0f} "
            "times. Images never wait, GPUs lose nothing together",
        ),
    ]


def _augmentation(groups: Sequence[Group], records: Records) -> str:
    """Say what the operations on images would add to a step, were they as long as is usual."""
    config = _with_convolutions(one for group in groups for one in group.configs)
    rate, batch = step_rate(config, records.ours).likely, config.batch.group
    shares = (OPERATIONS * 1e-6 * took * rate / batch for took in MICROSECONDS)
    low, high = (f"{share:.0%}" for share in shares)
    return (
        f"about {OPERATIONS:,} short operations for a batch where it augments (never measured; at "
        f"{MICROSECONDS[0]} to {MICROSECONDS[1]} microseconds each they would add {low} to {high} "
        "to the step of DeiT-S with the conv-stem)"
    )


def _with_convolutions(configs: Iterable[RunConfig]) -> RunConfig:
    """Return the first run of DeiT-S with a conv-stem and AdamW."""
    return next(
        one
        for one in configs
        if one.method == "deit" and one.stem.strides and not one.optimizer.sam
    )


def compiled_steps(config: RunConfig, records: Records) -> int:
    """Return how many steps are measured in the mode and the precision of a compiled run.

    Args:
        config: the run.
        records: what was measured.
    """
    how = config.launch.compile_mode, config.precision.label
    return sum((step.mode, step.precision) == how for step in records.ours)


def _unmeasured(groups: Sequence[Group], records: Records) -> list[str]:
    """Return the kinds of steps that no row of the card is about."""
    measured = {step.recipe for step in records.ours}
    found = [
        f"{NAMES[group.method, group.sam]} on a GPU"
        for group in groups
        if group.method not in measured
    ]
    if not any(step.sam for step in records.official):
        found.append("SAM with timm's defaults")
    count = compiled_steps(groups[0].configs[0], records)
    return [*found, f"compiled steps with CUDA graphs in the recipes' precision, except {count}"]


def _step_row(group: Group, config: RunConfig, records: Records) -> tuple[str, ...]:
    theirs, own = (step_rate(config, steps) for steps in (records.official, records.ours))
    return (
        NAMES[group.method, group.sam],
        "conv" if config.stem.strides else "patchify",
        spread(theirs),
        theirs.basis,
        spread(own),
        own.basis,
        f"{most_images(parts_of(config)[0], records):,.0f}",
    )


def _plainest(configs: Sequence[RunConfig]) -> RunConfig:
    """Return the first with a stem that was measured, else the first."""
    return next((c for c in configs if stem_name(c.stem) in MEASURED_STEMS), configs[0])
