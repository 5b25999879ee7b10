"""How much a run computes: images, and for each image operations and bytes; torch-free.

Counted by hand from the configuration, to a few per cent of what torch counts (2 operations per
multiply-add). How fast any of it goes is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scaledrelu.config.model import ModelConfig
from scaledrelu.config.run import RunConfig

TRAINING = 3.0  # forward and backward in units of the forward pass
SAM_PASSES = 2.0
OUTLOOK = 9.0  # tokens around it that an outlooker attends to
HALF_BYTES = 2.0
# Times that a block moves a token in 16 bits, forward and backward, where nothing is moved twice:
# three products of each linear layer, in and out (48), attention without its scores (12), norms
# and sums of the residual in 32 bits (28), GELU (20).
MOVES_OF_A_BLOCK = 108.0
MOVES_OF_A_CONVOLUTION = 8.0  # of its output: three products, two sums of BatchNorm


@dataclass(frozen=True, slots=True)
class Part:
    """Images that a run treats alike.

    Attributes:
        images: how many, over the whole run and all GPUs.
        again: those of them that were seen before with the same crop: a run may have kept it.
        flops: operations on one image.
        bytes: what one image moves between a GPU and its memory at least, in 16 bits.
    """

    images: float
    flops: float
    bytes: float
    again: float = 0.0


def parts_of(config: RunConfig) -> list[Part]:
    """Return what a run does from its first step to its last evaluation.

    Returns:
        Its training and its evaluations; nothing if nobody has counted the images of its data set.
    """
    expect = config.data.build.get("expect") or {}
    if "train" not in expect:
        return []
    images = expect["train"] * config.data.fraction
    height, width = config.data.height, config.data.width
    once = forward_flops(config, height, width), forward_bytes(config, height, width)
    evaluated = _evaluated(config, expect, images)
    again = max(0.0, evaluated - expect["val"]) if _keeps(config) else 0.0
    return [
        Part(images * config.run_epochs, step_flops(config), step_bytes(config)),
        Part(evaluated, *once, again),
    ]


def step_flops(config: RunConfig) -> float:
    """Return the operations of training on one image, all its views and both passes of SAM."""
    return sum(
        passes * forward_flops(config, height, width) for passes, height, width in _views(config)
    )


def step_bytes(config: RunConfig) -> float:
    """Return what training on one image moves at least, all its views and both passes of SAM."""
    return sum(
        passes * forward_bytes(config, height, width) for passes, height, width in _views(config)
    )


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


def forward_bytes(config: RunConfig, height: int, width: int) -> float:
    """Return what a forward pass over one image moves at least: a third of a training step.

    Args:
        config: resolved.
        height: image height in pixels.
        width: image width in pixels.
    """
    cells = height * width / config.model.patch_size**2
    numbers = sum(
        MOVES_OF_A_BLOCK * blocks * tokens * channels
        for blocks, channels, tokens, _ in _stages(config.model, cells)
    )
    for pixels, _, channels in _stem_layers(config, height * width):
        numbers += MOVES_OF_A_CONVOLUTION * pixels * channels
    return HALF_BYTES * numbers / TRAINING


def parameters(config: RunConfig) -> float:
    """Return about how many parameters a backbone has."""
    model = config.model
    return sum(
        blocks * channels**2 * (4 + 2 * model.mlp_ratio)
        for blocks, channels, *_ in _stages(model, 1.0)
    )


def _views(config: RunConfig) -> Iterator[tuple[float, int, int]]:
    """Yield (forward passes, height, width) of what a training step sees of one image."""
    height, width, crops = config.data.height, config.data.width, config.augment.multi_crop
    passes = SAM_PASSES if config.optimizer.sam else 1.0
    if "num_blocks" in config.task:  # a frozen backbone, whose features it reads
        yield passes, height, width
    elif crops:  # the student sees all views, the teacher the two global ones
        yield passes * 2 * TRAINING + 2, height, width
        yield passes * crops.num_local * TRAINING, crops.local_size, crops.local_size
    else:
        yield passes * TRAINING, height, width


def _keeps(config: RunConfig) -> bool:
    """Say whether a run evaluates nothing but one validation set, whose crops it can keep."""
    return all(one["_target_"].rpartition(".")[2] == "Top1" for one in config.evaluation.build)


def _evaluated(config: RunConfig, expect: Mapping[str, Any], training: float) -> float:
    """Return how many images all evaluations of a run take."""
    epochs, every = config.run_epochs, config.evaluation.every_epochs
    times = -(-epochs // every) + config.evaluation.at_start
    images = 0.0
    for one in config.evaluation.build:
        name = one["_target_"].rpartition(".")[2]
        if name == "RetrievalMap":
            images += times * (expect.get("query", 0) + expect.get("gallery", 0))
        elif name == "FrozenTop1":  # keeps the features of the validation set
            images += expect.get("val", 0)
        else:
            neighbours = training if name == "Knn" else 0.0
            images += times * (expect.get("val", 0) + neighbours)
    return images


def _stages(model: ModelConfig, cells: float) -> list[tuple[int, int, float, float]]:
    """Return (blocks, channels, tokens, tokens that each attends to) of each part of a backbone."""
    if model.depth is not None:
        return [(model.depth, model.width, cells, cells)]
    build = model.build  # VOLO: outlookers on the cells of the stem, then a quarter of them
    outlookers, *later = build["layers"]
    near = (outlookers, build["outlook_width"], cells, OUTLOOK)
    whole = (sum(later), model.width, cells / 4, cells / 4)
    return [near, whole, (build["post_blocks"], model.width, 1.0, cells / 4)]


def _stem_layers(config: RunConfig, pixels: float) -> Iterator[tuple[float, float, int]]:
    """Yield (pixels of the output, products for each number of it, channels) of each layer."""
    stem, channels = config.stem, 3
    # A patchify stem has no strides, whatever kernels stand beside them.
    for stride, kernel in zip(stem.strides, stem.kernels, strict=False):
        pixels /= stride**2
        yield pixels, kernel**2 * channels, stem.hidden
        channels = stem.hidden


def _stem_macs(config: RunConfig, pixels: float) -> float:
    channels, macs = 3, 0.0
    for left, products, hidden in _stem_layers(config, pixels):
        pixels, channels = left, hidden
        macs += pixels * products * hidden
    # The projection reads every remaining pixel once: its kernel is as wide as its stride.
    return macs + pixels * channels * config.model.width
