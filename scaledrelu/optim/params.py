"""Which parameters decay and which learn faster; writes scheduled values into their groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scaledrelu.errors import ConfigError
from scaledrelu.optim.schedule import CosineSchedule, LrSchedule

BIAS = "bias"  # anywhere in a name (TRI solver/make_optimizer.py)


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    decay_tokens: bool = False,
    decay_all: bool = False,
    bias_lr_factor: float = 1.0,
) -> list[dict[str, Any]]:
    """Split the trainable parameters into an exempt group and a decaying one, in that order.

    Exempt are parameters with at most one dimension (biases, normalisation, the alpha and beta of a
    scaled ReLU), names that end in ``.bias``, and what a module's ``no_weight_decay()`` names
    (timm's ViT: position embedding and class token). Convolution kernels of a stem decay.

    Args:
        model: a backbone, or anything around one; wrappers do not hide its exemptions.
        weight_decay: the second group's weight decay.
        decay_tokens: let the names that modules declare as exempt decay after all, as DINO does
            (recipes C.1).
        decay_all: let everything decay, as ReID does (recipes D.1): the exempt group is left out.
        bias_lr_factor: peak rate of parameters with ``bias`` anywhere in their name, over that of
            the others (recipes D.1).

    Returns:
        Groups for a torch optimizer; frozen parameters are in none. ``decays`` marks those whose
        weight decay a schedule may move. With a factor other than 1 each group is followed by that
        of its biases, which carries the factor as ``peak_factor``, see `LrSchedule.at`.

    Raises:
        ConfigError: if nothing is trainable.
    Source: recipes A.3 (DeiT); the scaling theorem of the paper assumes decay on BatchNorm too,
        which the official filter does not give (recipes H33). TRI solver/make_optimizer.py (ReID).
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise ConfigError("the model has no trainable parameters; unfreeze at least one")
    declared = set() if decay_tokens else _declared_exempt(model)
    exempt, decaying = {}, {}
    for name, p in named:
        spared = not decay_all and _is_exempt(name, p, declared)
        (exempt if spared else decaying)[name] = p
    groups = _split_biases(decaying, bias_lr_factor, weight_decay=weight_decay, decays=True)
    if decay_all:
        return groups
    return _split_biases(exempt, bias_lr_factor, weight_decay=0.0, decays=False) + groups


def set_lr(optimizer: torch.optim.Optimizer, schedule: LrSchedule, step: int) -> float:
    """Set the rate of every parameter group at a step; return that of a group without a factor.

    A group's ``peak_factor`` goes into its curve.

    Args:
        optimizer: its groups are changed.
        schedule: the learning rate by step.
        step: 0-based update.
    """
    lr = schedule.at(step)
    for group in optimizer.param_groups:
        factor = group.get("peak_factor")
        group["lr"] = lr if factor is None else schedule.at(step, peak_factor=factor)
    return lr


def set_weight_decay(
    optimizer: torch.optim.Optimizer, schedule: CosineSchedule | None, step: int
) -> None:
    """Set the weight decay of the groups that decay, if there is a schedule.

    Args:
        optimizer: its groups are changed.
        schedule: the weight decay by step; None leaves it as it is.
        step: 0-based update.
    """
    for group in optimizer.param_groups if schedule else ():
        if group["decays"]:
            group["weight_decay"] = schedule.at(step)


def _split_biases(
    named: dict[str, nn.Parameter], factor: float, **fields: Any
) -> list[dict[str, Any]]:
    """Return one group of all, or with a factor other than 1 the others and the biases."""
    if factor == 1:
        return [{"params": list(named.values()), **fields}]
    others = [p for name, p in named.items() if BIAS not in name]
    biases = [p for name, p in named.items() if BIAS in name]
    groups = [{"params": others, **fields}, {"params": biases, **fields, "peak_factor": factor}]
    return [group for group in groups if group["params"]]


def _is_exempt(name: str, parameter: nn.Parameter, declared: set[str]) -> bool:
    return parameter.ndim <= 1 or name.endswith(".bias") or name in declared


def _declared_exempt(model: nn.Module) -> set[str]:
    """Return the full names that the model or any module in it declares as not decaying."""
    names: set[str] = set()
    for prefix, module in model.named_modules():
        declare = getattr(module, "no_weight_decay", None)
        if callable(declare):
            names.update(f"{prefix}.{name}" if prefix else name for name in declare())
    return names
