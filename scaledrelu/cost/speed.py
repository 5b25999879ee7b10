"""How many images a second a GPU trains, and its cores deliver: measured, or derived from what is.

Every rate is a range with a likely value and says what it rests on. Rules for a step, the nearest
first:

- measured in this configuration: the range of its blocks;
- the same model with another stem of the same kind (convolutions or none): its rate, 15 % either
  way;
- the operations of the step, at the operations a second of the nearest measured step, 15 % either
  way; for a recipe without a measured step, from 15 % below the slowest to 15 % above the fastest;
- compiled and not measured so: with SAM half the rate of the same step without, 15 % either way;
  else what the same step gains that was measured both ways, from nothing to 15 % more.

Loader processes are slower beside each other; what 16 lose is measured, fewer lose their share.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from scaledrelu.config.naming import USUAL_STRIDES, stem_name
from scaledrelu.config.run import RunConfig
from scaledrelu.cost.records import DEIT, DINO, REFERENCE, TIMM_CROPS, VOLO, Records, Step
from scaledrelu.cost.work import SAM_PASSES, forward_flops, step_flops

NEAR = 0.15  # of a rate: what is derived from a near step may be off by so much
COUNTED = 0.025  # our count of a step's operations and torch's agree to 1.5 % of it
USUAL_KERNELS, USUAL_HIDDEN = (7, 3, 3), 64  # of the stems that were measured (Algorithm 1)
# Without autocast no step was measured: half of the datasheet's 67 TFLOP/s, a quarter, four fifths.
FULL_PRECISION = (0.25 * 67e12, 0.5 * 67e12, 0.8 * 67e12)
CROPS, TENSORS = "device", "device, decoder=tensor"  # decode and crop, as an evaluation does


class Basis(StrEnum):
    """What a rate rests on."""

    MEASURED = "measured"
    NEAR = "measured with a stem of the same kind"
    MODELLED = "modelled"


@dataclass(frozen=True, slots=True)
class Rate:
    """Images a second: the least, the likely and the most."""

    low: float
    likely: float
    high: float
    basis: Basis


def step_rate(config: RunConfig, steps: Sequence[Step]) -> Rate:
    """Return how many images a second one GPU trains.

    Args:
        config: resolved; both gradients of SAM are in its step.
        steps: measured ones of one side, ours or the official scripts'.
    """
    if config.precision.autocast == "none":
        return Rate(*(peak / step_flops(config) for peak in FULL_PRECISION), Basis.MODELLED)
    same = [one for one in steps if one.precision == config.precision.label]
    eager = [one for one in same if not one.mode]
    compiled = _compiled(config, same)
    if not eager:
        return _from_operations(config, steps)
    if not compiled:
        return _rate(config, eager)
    if found := _of_kind(config, compiled):
        return found
    if config.optimizer.sam and (found := _of_kind(_without_sam(config), compiled)):
        return _around(found.likely / SAM_PASSES, Basis.MODELLED)
    rate, gain = _rate(config, eager), _gain(eager, compiled)
    high = (1 + NEAR) * gain * rate.high
    return Rate(rate.low, gain * rate.likely, high, Basis.MODELLED)


def forward_rate(config: RunConfig, steps: Sequence[Step]) -> Rate:
    """Return how many images a second one GPU classifies, uncompiled: it is a third of a step.

    Args:
        config: resolved.
        steps: measured ones of one side.
    """
    rate = step_rate(replace(config, launch=replace(config.launch, compile=False)), steps)
    height, width = config.data.height, config.data.width
    share = step_flops(config) / forward_flops(config, height, width)
    return Rate(share * rate.low, share * rate.likely, share * rate.high, Basis.MODELLED)


def loader_rate(path: str, processes: int, records: Records) -> Rate:
    """Return how many images a second the loader processes of one GPU make.

    Args:
        path: one of ours, or a peer's transform.
        processes: loader processes, on as many cores.
        records: what was measured.
    """
    count = min(processes, records.processes)
    if count == records.processes and path in records.together:
        return Rate(*[records.together[path]] * 3, Basis.MEASURED)
    one, share = records.alone[path], shared_speed(records)
    likely = 1 - (1 - share) * (count - 1) / max(1, records.processes - 1)
    return Rate(count * one * share, count * one * likely, count * one, Basis.MODELLED)


def our_path(config: RunConfig, records: Records) -> str:
    """Return the path of a run's training images, as the bench calls it.

    Args:
        config: resolved.
        records: VOLO's paths are the reference path where they were not measured by themselves.
    """
    if crops := config.augment.multi_crop:
        return "DINO" if crops.pipeline == "device" else "DINO, reference"
    if config.data.has_labels:
        path = "VOLO" if config.data.decoder == "tensor" else "VOLO, reference"
        return path if path in records.alone else REFERENCE
    if config.data.augment != "device":
        return REFERENCE if config.augment.rand_augment else CROPS
    return TENSORS if config.data.decoder == "tensor" else CROPS


def official_path(config: RunConfig, records: Records) -> str:
    """Return the data path of a run's official script, as the bench calls it.

    Args:
        config: resolved.
        records: VOLO's is DeiT's where it was not measured by itself.
    """
    if config.data.has_labels and VOLO in records.alone:
        return VOLO
    if config.augment.multi_crop:
        return DINO
    return DEIT if config.augment.rand_augment else TIMM_CROPS


def evaluation_path(path: str) -> str:
    """Return the path that takes about as long as decoding images for an evaluation."""
    return TENSORS if path in (TENSORS, "DINO", "VOLO") else CROPS


def shared_speed(records: Records) -> float:
    """Return how fast a loader process is beside others, as a share of one alone."""
    path = next(name for name in records.together if name in records.alone)
    return records.together[path] / records.processes / records.alone[path]


def _compiled(config: RunConfig, steps: Sequence[Step]) -> list[Step]:
    """Return the steps that are compiled as a run compiles its networks; none if it does not."""
    if not config.compiles("cuda"):
        return []
    return [one for one in steps if one.mode == config.launch.compile_mode]


def _rate(config: RunConfig, steps: Sequence[Step]) -> Rate:
    """Return the rate of a step by the first rule that applies."""
    return _of_kind(config, steps) or _from_operations(config, steps)


def _of_kind(config: RunConfig, steps: Sequence[Step]) -> Rate | None:
    """Return the rate of this step, or with another stem of the same kind."""
    if found := _measured(config, steps):
        return found
    for one in steps:
        kind = (one.recipe, one.sam, _has_convolutions(one))
        same = (config.method, config.optimizer.sam is not None, bool(config.stem.strides))
        if kind == same and not config.stem.own_class and _is_of_model(one, _usual(config)):
            return _around(one.rate, Basis.NEAR)
    return None


def _without_sam(config: RunConfig) -> RunConfig:
    return replace(config, optimizer=replace(config.optimizer, sam=None))


def _measured(config: RunConfig, steps: Sequence[Step]) -> Rate | None:
    for one in steps:
        same = (one.recipe, one.sam) == (config.method, config.optimizer.sam is not None)
        if same and _is_of(one, config):
            low, high = one.spread
            return Rate(low * one.rate, one.rate, high * one.rate, Basis.MEASURED)
    return None


def _gain(eager: Sequence[Step], compiled: Sequence[Step]) -> float:
    """Return how much faster compiled steps are that were measured both ways."""

    def which(one: Step) -> tuple[object, ...]:
        return one.recipe, one.model, one.stem, one.sam

    gains = [
        fast.rate / slow.rate for fast in compiled for slow in eager if which(fast) == which(slow)
    ]
    return statistics.median(gains) if gains else 1.0


def _from_operations(config: RunConfig, steps: Sequence[Step]) -> Rate:
    """Return the rate at which a step's operations go as fast as those of a measured one."""

    def distance(one: Step) -> tuple[bool, ...]:
        return (
            one.recipe != config.method,
            _has_convolutions(one) != bool(config.stem.strides),
            one.sam != (config.optimizer.sam is not None),
        )

    nearest, flops = min(steps, key=distance), step_flops(config)
    likely = _speed(nearest) / flops
    if nearest.recipe == config.method:
        return _around(likely, Basis.MODELLED)
    speeds = [_speed(one) for one in steps]
    low, high = (1 - NEAR) * min(speeds) / flops, (1 + NEAR) * max(speeds) / flops
    return Rate(low, likely, high, Basis.MODELLED)


def _is_of(step: Step, config: RunConfig) -> bool:
    """Say whether a measured step has the backbone of a run."""
    usual_ffn = config.ffn.build["_target_"].rpartition(".")[2] == "Mlp"
    usual_strides = tuple(config.stem.strides) in ((), USUAL_STRIDES)
    same_parts = step.stem == stem_name(config.stem) and usual_ffn and usual_strides
    return same_parts and _is_of_model(step, config)


def _is_of_model(step: Step, config: RunConfig) -> bool:
    """Say whether a step has the model of a run, and images of as many pixels."""
    same = all(getattr(config.model, name) == size for name, size in step.model.items())
    return same and abs(step_flops(config) / step.flops - 1) < COUNTED


def _usual(config: RunConfig) -> RunConfig:
    """Return a run with the measured stem of its kind."""
    if not config.stem.strides:
        return config
    usual = replace(config.stem, strides=USUAL_STRIDES, kernels=USUAL_KERNELS, hidden=USUAL_HIDDEN)
    return replace(config, stem=usual)


def _speed(step: Step) -> float:
    """Return operations a second."""
    return step.rate * step.flops


def _around(rate: float, basis: Basis) -> Rate:
    return Rate((1 - NEAR) * rate, rate, (1 + NEAR) * rate, basis)


def _has_convolutions(step: Step) -> bool:
    return step.stem.startswith("conv")
