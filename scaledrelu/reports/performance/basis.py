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
        f"Images a second that one {records.card} trains on, in the precision of the recipe. Each "
        "of DINO's images has ten crops.",
        markdown_table(("steps", "stem", "official", "basis", "ours", "basis", "floor"), steps),
        "Images a second that the loader processes of one GPU turn from JPEG files into batches:",
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
        f"images. Its steps process {step.likely:,.0f} images a second on one GPU, times {share} "
        f"because {config.launch.nproc} GPUs train together; the {processes} loader processes of a "
        f"GPU make {data.likely:,.0f}. The lower rate decides: {training.images:,.0f} / "
        f"{decides:,.0f} / 3600 = {hours:.1f} GPU-hours. Evaluations on "
        f"{evaluations.images / 1e6:.0f} million images add {cost.hours.likely - hours:.1f}.",
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
        f"Basis of the rate that decides the training, in our {len(of_ours)} runs: {kinds}.",
        "**No published row measures:**",
        _bullets(_unmeasured(groups, records)),
        "Some steps were timed by hand in one round ([gpu.md](gpu.md)); no number here rests on "
        "them.",
        "**Left out:**",
        _bullets(_left_out(groups, records)),
        "For comparison: DINO's README says that one ViT-S/16 of 100 epochs took 1.75 days on 8 "
        "GPUs of its time, which is 336 GPU-hours.",
    ]


def _basis_of_steps(records: Records) -> list[tuple[str, str]]:
    """Return what the rates of steps rest on."""
    slow, middle, fast = (f"{peak / 1e12:.0f}" for peak in FULL_PRECISION)
    bench = f"../results/published/bench/{records.path.stem}.md"
    return [
        (
            "a step of ours, and the official step",
            f"measured on one {records.card} ([rows]({bench})), with the batch of one group and "
            "nothing else in the loop. The official step is a plain loop with timm's defaults "
            "(NCHW, no fused optimizer, the loss read at every step), not the scripts themselves. "
            "Where two rows are about one step, the faster counts and the range covers both",
        ),
        (
            "a step with another stem of the same kind",
            f"the rate of the measured step, {NEAR:.0%} either way",
        ),
        (
            "any other step",
            "modelled: the operations a second of the nearest measured step, divided by the "
            f"counted operations of this one. The range is {NEAR:.0%} either way if a step of the "
            f"recipe is measured, else from {NEAR:.0%} below the slowest measured step to "
            f"{NEAR:.0%} above the fastest",
        ),
        (
            "a compiled step",
            "with CUDA graphs. Measured if that card's table has it, or the measured step with "
            f"another stem of the same kind, {NEAR:.0%} either way. With SAM: half the rate of the "
            f"same step without SAM, {NEAR:.0%} either way. Otherwise modelled: the uncompiled "
            f"step with the gain of those measured both ways, from no gain to {NEAR:.0%} more. "
            "VOLO's step is not compiled ([gpu.md](gpu.md))",
        ),
        (
            "steps in fp32 (linear evaluation)",
            f"modelled: {middle} TFLOP/s ({slow} to {fast}) of the 67 in NVIDIA's datasheet",
        ),
    ]


def _basis_of_loaders(records: Records) -> list[tuple[str, str]]:
    """Return what the rates of loaders rest on."""
    workers = ", ".join(f"{method} {number}" for method, number in OFFICIAL_WORKERS.items())
    return [
        (
            f"{records.processes} loader processes",
            "measured on the same machine, for the paths that the table calls measured",
        ),
        (
            "fewer of them",
            "modelled: one process alone is measured. Beside "
            f"{records.processes - 1} others it keeps {shared_speed(records):.2f} of its speed; "
            "beside fewer, proportionally more. The range goes from this share to full speed",
        ),
        (
            "a path that was measured on another machine only",
            "modelled: as much faster or slower than DeiT's script as on that machine, by the "
            "ratio of the path to its peer and of the peer to DeiT's script",
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
            "modelled: a forward pass at the operations a second of the uncompiled step, with "
            "decoding as fast as the device path. DeiT without `--dist-eval` and DINO's linear "
            "evaluation classify all images on every GPU (their code). Ours shares the images and, "
            "if memory allows, decodes those for top-1 only once a run. All sides count k-NN twice "
            "per pre-training, as ours runs it (in DINO's code it is a separate command)",
        ),
        (
            "GPUs together",
            f"assumed: {likely} of the sum of their rates ({low} to {high:g}); never measured",
        ),
        (
            "the floor",
            f"modelled: the operations at {records.peak / 1e12:.0f} TFLOP/s, the fastest large "
            f"matrix product measured, or the bytes at {BANDWIDTH / 1e12} TB/s (datasheet), "
            "whichever takes longer. In 16 bits, forward and backward, a block moves each token "
            f"{MOVES_OF_A_BLOCK:.0f} times and a convolution of the stem moves its output "
            f"{MOVES_OF_A_CONVOLUTION:.0f} times. Steps never wait for images, and GPUs lose no "
            "speed together",
        ),
    ]


def _left_out(groups: Sequence[Group], records: Records) -> list[str]:
    """Return what no hour counts."""
    return [
        "starting a run, decoding the images that it keeps in memory, compiling, checkpoints",
        f"what the GPU does to images before a step: {_augmentation(groups, records)}",
        "label maps for VOLO, which its authors publish (making them anew takes a forward pass of "
        "a large teacher over ImageNet)",
        "the 800 epochs behind the released DINO weights that Tables 6 and 7 start from",
        "further seeds",
    ]


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _augmentation(groups: Sequence[Group], records: Records) -> str:
    """Say what the operations on images would add to a step, were they as long as is usual."""
    config = _with_convolutions(one for group in groups for one in group.configs)
    rate, batch = step_rate(config, records.ours).likely, config.batch.group
    shares = (OPERATIONS * 1e-6 * took * rate / batch for took in MICROSECONDS)
    low, high = (f"{share:.0%}" for share in shares)
    return (
        f"about {OPERATIONS:,} short operations per batch if it augments (never measured; at "
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
    """Return what no row of the card is about, kinds of steps first."""
    measured = {step.recipe for step in records.ours}
    found = [
        f"{NAMES[group.method, group.sam]} on a GPU"
        for group in groups
        if group.method not in measured
    ]
    if not any(step.sam for step in records.official):
        found.append("SAM with timm's defaults")
    count = compiled_steps(groups[0].configs[0], records)
    return [
        *found,
        f"compiled steps with CUDA graphs in the recipes' precision, except {count}",
        "more than one GPU",
        f"more than {records.processes} loader processes, or those of several GPUs side by side",
        "disks (all files lay in memory)",
        "a whole run",
    ]


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
