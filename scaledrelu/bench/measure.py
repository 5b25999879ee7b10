"""One case: build both sides, make sure that they do the same work, then time them in turns."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from scaledrelu.bench.cases import Case
from scaledrelu.bench.flops import training_flops
from scaledrelu.bench.machine import DTYPES, peak_tflops, step_clock, synchronizer
from scaledrelu.bench.ours import OurFeed, OurStep, noise_batch
from scaledrelu.bench.pairing import alternate
from scaledrelu.bench.plain import PlainStep
from scaledrelu.bench.table import Row
from scaledrelu.config.compose import compose
from scaledrelu.data.batch import Batch
from scaledrelu.engine.distributed import World
from scaledrelu.randomness import derive_seed
from scaledrelu.runs.build import build_task

CHECKED_STEPS = 3  # the later ones see the optimizer and SAM as well
TOLERANCE = {"none": 1e-5, "fp16": 1e-2, "bf16": 1e-2}  # of the first loss, relative
WARM_STEPS = 3


class UnequalWorkError(RuntimeError):
    """The two sides do not compute the same thing: their times must not be compared."""


@dataclass(slots=True)
class Sides:
    """Both contenders of a case, and the batch that they agree on."""

    config: dict[str, Any]
    ours: OurStep
    plain: PlainStep
    batch: Batch
    feed: OurFeed | None


def measure_case(case: Case, device: torch.device, *, rounds: int, turn_seconds: float) -> Row:
    """Time one case.

    Args:
        case: what to compare.
        device: where.
        rounds: of A B B A, A ours.
        turn_seconds: of one turn.

    Raises:
        UnequalWorkError: if parameters or losses differ.
    """
    sides = build_sides(case, device)
    gap = check_same_work(sides)
    run_ours, run_plain = steppers(sides, case)
    if case.compiled:
        sides.ours.task.backbone.compile()
        sides.plain.model.compile()
    wait = synchronizer(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    first_s = warm(run_ours, wait)
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    warm(run_plain, wait)
    pairing = alternate(
        run_ours,
        run_plain,
        rounds=rounds,
        turn_seconds=turn_seconds,
        synchronize=wait,
        clock=step_clock(device),
    )
    autocast = sides.config["precision"]["autocast"]
    flops = training_flops(sides.ours.task.backbone, sides.config["data"]["image_size"])
    flops *= 2 if sides.config["optimizer"]["sam"] else 1
    peak, rate = peak_tflops(device, autocast), pairing.rate_a * case.batch
    return Row(
        kind="loop" if case.whole_loop else "step",
        profile=case.profile,
        model=sides.config["model"]["label"],
        stem=case.stem,
        optimizer=case.optimizer,
        precision=case.precision,
        attention=sides.config["precision"]["attention"],
        batch=case.batch,
        layout="channels_last" if case.channels_last else "contiguous",
        compiled=case.compiled,
        fused=case.fused,
        peer="timm defaults" if case.defaults else "same switches",
        threads=torch.get_num_threads() if device.type == "cpu" else None,
        steps_per_s=pairing.rate_a,
        images_per_s=rate,
        plain_images_per_s=pairing.rate_b * case.batch,
        ratios=pairing.ratios,
        gflop_per_image=flops / 1e9,
        mfu_percent=100 * rate * flops / 1e12 / peak,
        peak_tflops=peak,
        parameters=sum(p.numel() for p in sides.ours.task.parameters()),
        loss_gap=gap,
        first_step_s=first_s if case.compiled else None,
        memory_gib=memory,
    )


def build_sides(case: Case, device: torch.device) -> Sides:
    """Build our step and the plain one from one configuration and one set of weights."""
    config = compose([*case.overrides(device.type), "warmup=none", "wandb=disabled"])
    if config["launch"]["threads"]:
        torch.set_num_threads(config["launch"]["threads"])
    world = World(0, 1, device)
    feed = OurFeed(config, world) if case.whole_loop else None
    num_classes = feed.num_classes if feed else config["data"]["num_classes"]
    torch.manual_seed(derive_seed(config["seed"], "init"))
    task = build_task(config, num_classes).to(device)
    model = copy.deepcopy(task.backbone)
    if case.channels_last:
        task.to(memory_format=torch.channels_last)
        if not case.defaults:
            model.to(memory_format=torch.channels_last)
    ours = OurStep(config, task, world)
    if feed:
        ours.steps_per_epoch = feed.loader.steps_per_epoch
    plain = build_plain(config, model, lr=ours.schedule.at(0), defaults=case.defaults)
    batch = feed(ours.now)[0] if feed else noise_batch(config, num_classes, device)
    return Sides(config, ours, plain, batch, feed)


def build_plain(
    config: dict[str, Any], model: nn.Module, *, lr: float, defaults: bool
) -> PlainStep:
    """Build the peer with the numbers of a run's configuration."""
    optimizer, sam = config["optimizer"]["build"], config["optimizer"]["sam"]
    precision = config["precision"]
    return PlainStep(
        model.train(),
        optimizer={
            "lr": lr,
            "betas": tuple(optimizer["betas"]),
            "eps": optimizer["eps"],
            "weight_decay": optimizer["weight_decay"],
            "fused": None if defaults else optimizer["fused"],
        },
        dtype=None if precision["autocast"] == "none" else DTYPES[precision["autocast"]],
        scaled=precision["loss_scaling"],
        rho=sam["rho"] if sam else None,
        ema_decay=config["ema"]["decay"] if config["ema"] else None,
        reads_loss=defaults,
    )


def check_same_work(sides: Sides) -> float:
    """Take a few steps with both sides on one batch and return the largest relative loss gap.

    Drop path is off meanwhile: the sides draw it differently.

    Raises:
        UnequalWorkError: if the numbers of parameters, decayed ones included, or losses differ.
    """
    counts = [_counts(side.optimizer) for side in (sides.ours, sides.plain)]
    if counts[0] != counts[1]:
        raise UnequalWorkError(f"parameters by weight decay: ours {counts[0]}, plain {counts[1]}")
    batch, gaps = sides.batch, []
    with without_drop_path(sides.ours.task), without_drop_path(sides.plain.model):
        for _ in range(CHECKED_STEPS):
            mine = float(sides.ours([batch]))
            theirs = float(sides.plain(batch.images, batch.targets))
            gaps.append(abs(mine - theirs) / max(abs(theirs), 1e-6))
    tolerance = TOLERANCE[sides.config["precision"]["autocast"]]
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
def without_drop_path(module: nn.Module) -> Iterator[None]:
    """Switch drop path off inside the block."""
    before = {m: m.drop_prob for m in module.modules() if isinstance(m, DropPath)}
    for layer in before:
        layer.drop_prob = 0.0
    yield
    for layer, rate in before.items():
        layer.drop_prob = rate


def steppers(sides: Sides, case: Case) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Return one step of each side as a call without arguments."""
    ours, plain, batch = sides.ours, sides.plain, sides.batch
    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    if case.defaults:
        layout = torch.contiguous_format
    if sides.feed is not None:
        feed = plain_batches(sides, layout)
        return lambda: ours(sides.feed(ours.now)), lambda: plain(*next(feed))
    images = batch.images.contiguous(memory_format=layout)
    return lambda: ours([batch]), lambda: plain(images, batch.targets)


def plain_batches(sides: Sides, layout: torch.memory_format) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a plain loop over images in memory does: shuffle, index, shift, normalise."""
    data, device = sides.config["data"], sides.batch.images.device
    source, size = sides.feed.source, sides.config["batch"]["group"]
    images = source.images.to(device)
    targets = nn.functional.one_hot(torch.as_tensor(source.targets), sides.feed.num_classes)
    targets = targets.float().to(device)
    mean, std = (torch.tensor(data[k], device=device).view(3, 1, 1) for k in ("mean", "std"))
    augment = sides.config["augment"]
    shift = augment["shift"] if augment["crop"] == "shift" else 0
    while True:
        order = torch.randperm(len(images)).to(device)
        for at in range(0, len(images) - size + 1, size):
            chosen = order[at : at + size]
            pixels = shifted((images[chosen].float() / 255 - mean) / std, shift)
            yield pixels.contiguous(memory_format=layout), targets[chosen]


def shifted(images: Tensor, most: int) -> Tensor:
    """Move every image of a batch by up to ``most`` pixels each way, zeros coming in."""
    if not most:
        return images
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, [most] * 4)
    down, right = torch.randint(0, 2 * most + 1, (2, count, 1), device=images.device)
    rows = (down + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (right + torch.arange(width, device=images.device))[:, None, None, :]
    which = torch.arange(count, device=images.device).view(-1, 1, 1, 1)
    channels = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
    return padded[which, channels, rows, columns]


def warm(step: Callable[[], object], wait: Callable[[], None]) -> float:
    """Take a few steps; return the seconds of the first, compilation included."""
    start = time.perf_counter()
    step()
    wait()
    first = time.perf_counter() - start
    for _ in range(WARM_STEPS):
        step()
    wait()
    return first
