"""One case: build both sides, check that they do the same work, then time them in turns."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from timm.layers import DropPath
from timm.models.volo import VOLO
from torch import Tensor, nn

from scaledrelu.bench.cases import Case
from scaledrelu.bench.flops import task_flops, training_flops
from scaledrelu.bench.gpu_step import count_kernels, host_syncs
from scaledrelu.bench.machine import peak_tflops, step_clock, synchronizer
from scaledrelu.bench.ours import OurFeed, OurStep, noise_batches
from scaledrelu.bench.pairing import Pairing, alternate, join
from scaledrelu.bench.peers import build_plain, write_plainly
from scaledrelu.bench.plain import PlainStep, plain_batches
from scaledrelu.bench.table import Row
from scaledrelu.config.compose import compose
from scaledrelu.config.run import RunConfig
from scaledrelu.data.batch import Batch, join_batches, lay_out
from scaledrelu.engine.distributed import World
from scaledrelu.randomness import derive_seed
from scaledrelu.runs.build import build_task
from scaledrelu.runs.feed import open_data
from scaledrelu.tasks.base import Task
from scaledrelu.tasks.volo import Volo

CHECKED_STEPS = 3  # the later ones see the optimizer and SAM as well
TOLERANCE = {"none": 1e-5, "fp16": 1e-2, "bf16": 1e-2}  # of the first loss, relative
WARM_STEPS = 3
ROUNDS = 2  # of A B B A in a block with its own build


class UnequalWorkError(RuntimeError):
    """The two sides do not compute the same thing, so their times must not be compared."""


@dataclass(slots=True)
class Sides:
    """Both sides of a case, and the batch that they agree on."""

    config: RunConfig
    ours: OurStep
    plain: PlainStep
    twin: Task  # whose networks the plain step has
    groups: list[Batch]  # what our step is given
    batch: Batch  # the same as one batch
    feed: OurFeed | None


def measure_case(case: Case, device: torch.device, *, blocks: int, turn_seconds: float) -> Row:
    """Time one case.

    On a CPU every block builds both sides anew, alternately ours or the plain one first: the
    memory addresses of the weights change the ratio of a tiny model by several percent.

    Args:
        case: what to compare.
        device: the device.
        blocks: number of ratios.
        turn_seconds: length of one turn; a round has four, A B B A with A ours.

    Raises:
        UnequalWorkError: if parameters or losses differ.
    """
    rebuilds = device.type == "cpu" and not case.compiled
    found, gap, flops, first_s, memory, syncs, sides = [], 0.0, 0.0, None, None, None, None
    for block in range(blocks if rebuilds else 1):
        sides = build_sides(case, device, swapped=block % 2 == 1)
        with torch.compiler.set_stance("force_eager") if case.compiled else nullcontext():
            gap = max(gap, check_same_work(sides))
        steps = steppers(sides, case)
        flops = flops or _step_flops(case, sides)
        compile_plain(case, sides)
        first_s, memory = warm_up(*steps, device)
        syncs = host_syncs(steps[0], device)
        found.append(
            alternate(
                *steps,
                rounds=ROUNDS if rebuilds else blocks,
                turn_seconds=turn_seconds,
                synchronize=synchronizer(device),
                clock=step_clock(device),
            )
        )
    pairing = join(found) if rebuilds else found[0]
    ours, plain = (count_kernels(step, device) for step in steps)
    return replace(
        _describe(case, sides, pairing, device, flops),
        loss_gap=gap,
        memory_gib=memory,
        first_step_s=first_s if case.compiled else None,
        host_syncs=syncs,
        kernels=ours and ours.count,
        gpu_ms=ours and ours.ms,
        plain_kernels=plain and plain.count,
        plain_gpu_ms=plain and plain.ms,
    )


def _step_flops(case: Case, sides: Sides) -> float:
    """Return the operations of a training step per image; kernels of compiled modules hide them."""
    task = sides.twin
    if case.recipe == "deit":
        flops = training_flops(task.backbone, sides.config.data.image_size)
    else:
        flops = task_flops(task, sides.batch, sides.ours.now, case.batch)
    return flops * (2 if sides.config.optimizer.sam else 1)


def _describe(
    case: Case, sides: Sides, pairing: Pairing, device: torch.device, flops: float
) -> Row:
    """Turn times into a row: rates, operations (``flops`` per image of a step), utilisation."""
    precision, task = sides.config.precision, sides.ours.task
    peak, rate = peak_tflops(device, precision.autocast), pairing.rate_a * case.batch
    return replace(
        case.row(),
        model=sides.config.model.label,
        attention=precision.attention,
        threads=torch.get_num_threads() if device.type == "cpu" else None,
        steps_per_s=pairing.rate_a,
        images_per_s=rate,
        plain_images_per_s=pairing.rate_b * case.batch,
        ratios=pairing.ratios,
        gflop_per_image=flops / 1e9,
        mfu_percent=100 * rate * flops / 1e12 / peak,
        peak_tflops=peak,
        parameters=sum(p.numel() for p in task.parameters()),
    )


def build_sides(case: Case, device: torch.device, *, swapped: bool = False) -> Sides:
    """Build our step and the plain one from one configuration and one set of weights.

    Args:
        case: what to compare.
        device: the device.
        swapped: give our side the copy of the weights, and the plain step the first ones.
    """
    config = compose([*case.overrides(device.type), "warmup=none", "wandb=disabled"])
    if config.launch.threads:
        torch.set_num_threads(config.launch.threads)
    world = World(0, 1, device)
    splits = open_data(config) if case.whole_loop else None
    num_classes = splits.num_classes if splits else config.data.num_classes
    torch.manual_seed(derive_seed(config.seed, "init"))
    task = build_task(config, num_classes).to(device)
    twin = copy.deepcopy(task)
    if swapped:
        task, twin = twin, task
    write_plainly(twin)
    if case.channels_last:
        task.to(memory_format=torch.channels_last)
        if not case.defaults:
            twin.to(memory_format=torch.channels_last)
    feed = OurFeed(config, splits, world, task) if splits else None
    steps = {"steps_per_epoch": feed.loader.steps_per_epoch} if feed else {}
    ours = OurStep(config, task, world, **steps)
    plain = build_plain(config, twin, lr=ours.schedule.at(0), defaults=case.defaults)
    now = ours.now
    groups = feed(now) if feed else noise_batches(config, num_classes, world, task, now)
    return Sides(config, ours, plain, twin, groups, join_batches(groups), feed)


def compile_plain(case: Case, sides: Sides) -> None:
    """Compile the plain side where the case says so; ours compiles itself.

    Args:
        case: what is compared.
        sides: both sides.
    """
    if case.compiles_peer:
        sides.plain.compile(sides.config.launch.compile_mode)


def check_same_work(sides: Sides) -> float:
    """Take a few steps with both sides on one batch and return the largest relative loss gap.

    Drop path and MixToken are off during the check: the sides draw them differently.

    Raises:
        UnequalWorkError: if the numbers of parameters, decayed ones included, or losses differ.
    """
    counts = [_counts(side.optimizer) for side in (sides.ours, sides.plain)]
    if counts[0] != counts[1]:
        raise UnequalWorkError(f"parameters by weight decay: ours {counts[0]}, plain {counts[1]}")
    batch, gaps = sides.batch, []
    with _without_chance(sides.ours.task), _without_chance(sides.plain.model):
        for _ in range(CHECKED_STEPS):
            mine = float(sides.ours(sides.groups))
            theirs = float(sides.plain(batch))
            gaps.append(abs(mine - theirs) / max(abs(theirs), 1e-6))
    tolerance = TOLERANCE[sides.config.precision.autocast]
    # Rounding differs by order of summation and grows with every update.
    if not (gaps[0] <= tolerance and max(gaps) <= 30 * tolerance):
        raise UnequalWorkError(f"relative loss gaps of the first steps: {gaps}")
    return max(gaps)


def _counts(optimizer: torch.optim.Optimizer) -> dict[float, int]:
    counts: dict[float, int] = {}
    for group in optimizer.param_groups:
        size = sum(p.numel() for p in group["params"])
        counts[group["weight_decay"]] = counts.get(group["weight_decay"], 0) + size
    return counts


@contextmanager
def _without_chance(module: nn.Module) -> Iterator[None]:
    """Switch drop path and MixToken off inside the block."""
    names = {DropPath: "drop_prob", Volo: "mix_token", VOLO: "mix_token"}
    before = [
        (m, name, getattr(m, name))
        for m in module.modules()
        for kind, name in names.items()
        if isinstance(m, kind)
    ]
    for layer, name, _ in before:
        setattr(layer, name, 0)
    yield
    for layer, name, value in before:
        setattr(layer, name, value)


def plain_layout(case: Case) -> torch.memory_format:
    """Return the memory format of what the plain step is given."""
    keeps = case.channels_last and not case.defaults
    return torch.channels_last if keeps else torch.contiguous_format


def steppers(sides: Sides, case: Case) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Return one step of each side as a call without arguments.

    Args:
        sides: both sides.
        case: what is compared.
    """
    ours, plain, batch, feed = sides.ours, sides.plain, sides.batch, sides.feed
    layout = plain_layout(case)
    if feed is None:
        theirs = lay_out(batch, layout)
        return lambda: ours(sides.groups), lambda: plain(theirs)
    data, augment, device = sides.config.data, sides.config.augment, batch.images.device
    classes = torch.as_tensor(feed.source.targets)
    batches = plain_batches(
        feed.source.images.to(device),
        nn.functional.one_hot(classes, feed.num_classes).float().to(device),
        batch=case.batch,
        mean=data.mean,
        std=data.std,
        shift=augment.shift if augment.crop == "shift" else 0,
        layout=layout,
    )
    return lambda: ours(feed(ours.now)), lambda: plain(next(batches))


def warm_up(
    ours: Callable[[], object], plain: Callable[[], object], device: torch.device
) -> tuple[float, float | None]:
    """Warm up both sides; return the seconds of our first step, and the most GiB while ours trains.

    The seconds include compilation; the GiB, None on a CPU, what the plain side keeps on the GPU.

    Args:
        ours: one step of our side.
        plain: one step of the plain side.
        device: the device.
    """
    wait, on_gpu = synchronizer(device), device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    ours()
    wait()
    first = time.perf_counter() - start
    for _ in range(WARM_STEPS):
        ours()
    wait()
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if on_gpu else None
    for _ in range(1 + WARM_STEPS):
        plain()
    wait()
    return first, memory
