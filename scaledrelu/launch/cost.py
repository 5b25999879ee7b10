"""What a plan costs beyond time: GPU-hours, wall time, disk and loader cores; torch-free.

Measured where a run like it has finished here. Otherwise from the operations of its model, counted
by hand to a few per cent, at a GPU and a utilisation that the text states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from scaledrelu.config.model import ModelConfig
from scaledrelu.config.run import RunConfig
from scaledrelu.launch.estimate import Estimate
from scaledrelu.tables.plan import PlannedRun
from scaledrelu.text import duration

PEAK_FLOPS, GPU_NAME = 312e12, "A100, 312 TFLOP/s in 16 bits"
UTILISATION = 0.25  # of the peak, by small transformers
DECODED_PER_CORE = 120.0  # JPEGs a second and core through the reference transforms (make bench)
TRAINING = 3.0  # forward and backward in units of the forward pass
OUTLOOK = 9.0  # tokens around it that an outlooker attends to
BYTES = 4
CHECKPOINTS = 2  # last.pt and the one before
GB, HOUR = 1e9, 3600.0


def cost_text(
    todo: Sequence[PlannedRun],
    *,
    gpus: int,
    estimate: Callable[[PlannedRun], Estimate],
) -> str:
    """Return what training some runs on GPUs costs, in one or two lines.

    Args:
        todo: the runs.
        gpus: number of GPUs that they share.
        estimate: duration of a whole run, where a similar one has finished here.
    """
    hours, measured, unknown = 0.0, 0, 0
    for run in todo:
        left = 1.0 - (run.saved.share if run.saved else 0.0)
        found = estimate(run)
        if found.measured and found.seconds is not None:
            hours += left * found.seconds * run.config.launch.nproc / HOUR
            measured += 1
        elif (flops := run_flops(run.config)) is not None:
            hours += left * flops / (PEAK_FLOPS * UTILISATION) / HOUR
        else:
            unknown += 1
    disk = sum(disk_bytes(run.config) for run in todo) / GB
    rates = [PEAK_FLOPS * UTILISATION / step_flops(r.config) for r in todo if _decodes(r.config)]
    cores = math.ceil(gpus * max(rates, default=0.0) / DECODED_PER_CORE)
    rest = f" and {unknown} runs of unknown length" if unknown else ""
    how = f"{measured} of {len(todo)} runs from measured speed"
    if measured < len(todo):
        how += f"; else {GPU_NAME}, {UTILISATION:.0%} of it used"
    return (
        f"cost: {hours:,.0f} GPU-hours{rest}, {duration(hours * HOUR / gpus)} on {gpus} "
        f"GPU{'s' if gpus > 1 else ''}; disk {disk:,.1f} GB; {cores} cores to decode images "
        f"({DECODED_PER_CORE:.0f} a second and core)\n  ({how})"
    )


def run_flops(config: RunConfig) -> float | None:
    """Return the operations of a whole run; None if the number of images is unknown."""
    images = (config.data.build.get("expect") or {}).get("train")
    if images is None:
        return None
    return step_flops(config) * images * config.data.fraction * config.run_epochs


def step_flops(config: RunConfig) -> float:
    """Return the operations of training on one image, all its views and both passes of SAM."""
    height, width, crops = config.data.height, config.data.width, config.augment.multi_crop
    if crops:  # the student sees all views, the teacher the two global ones
        whole = 2 * forward_flops(config, height, width)
        small = crops.num_local * forward_flops(config, crops.local_size, crops.local_size)
        per_image = TRAINING * (whole + small) + whole
    elif "num_blocks" in config.task:  # of a frozen backbone, whose features it reads
        per_image = forward_flops(config, height, width)
    else:
        per_image = TRAINING * forward_flops(config, height, width)
    return per_image * (2.0 if config.optimizer.sam else 1.0)


def forward_flops(config: RunConfig, height: int, width: int) -> float:
    """Return the operations of a forward pass over one image; 2 per multiply-add.

    Args:
        config: resolved.
        height: image height in pixels.
        width: image width in pixels.
    """
    model = config.model
    cells = height * width / model.patch_size**2
    macs = _stem_macs(config, height * width)
    for blocks, channels, tokens, seen in _stages(model, cells):
        macs += blocks * tokens * channels**2 * (4 + 2 * model.mlp_ratio)
        macs += blocks * tokens * 2 * seen * channels
    return 2.0 * macs


def parameters(config: RunConfig) -> float:
    """Return about how many parameters a backbone has."""
    model = config.model
    return sum(
        blocks * channels**2 * (4 + 2 * model.mlp_ratio)
        for blocks, channels, *_ in _stages(model, 1.0)
    )


def disk_bytes(config: RunConfig) -> float:
    """Return what the checkpoints of a run take: weights, two moments, an average, a teacher."""
    copies = 3.0 + (1.0 if config.ema else 0.0) + (1.0 if config.augment.multi_crop else 0.0)
    return CHECKPOINTS * BYTES * copies * parameters(config)


def _stages(model: ModelConfig, cells: float) -> list[tuple[int, int, float, float]]:
    """Return (blocks, channels, tokens, tokens that each attends to) of each part of a backbone."""
    if model.depth is not None:
        return [(model.depth, model.width, cells, cells)]
    build = model.build  # VOLO: outlookers on the cells of the stem, then a quarter of them
    outlookers, *later = build["layers"]
    near = (outlookers, build["outlook_width"], cells, OUTLOOK)
    whole = (sum(later), model.width, cells / 4, cells / 4)
    return [near, whole, (build["post_blocks"], model.width, 1.0, cells / 4)]


def _stem_macs(config: RunConfig, pixels: float) -> float:
    stem = config.stem
    channels, macs = 3, 0.0
    # A patchify stem has no strides, whatever kernels stand beside them.
    for stride, kernel in zip(stem.strides, stem.kernels, strict=False):
        pixels /= stride**2
        macs += pixels * kernel**2 * channels * stem.hidden
        channels = stem.hidden
    # The projection reads every remaining pixel once: its kernel is as wide as its stride.
    return macs + pixels * channels * config.model.width


def _decodes(config: RunConfig) -> bool:
    return not config.data.in_memory
