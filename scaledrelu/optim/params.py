"""Which parameters decay: the official exemptions, and nothing about the optimizer itself."""

from __future__ import annotations

from typing import Any

from torch import nn

from scaledrelu.errors import ConfigError


def parameter_groups(
    model: nn.Module, weight_decay: float, *, decay_tokens: bool = False
) -> list[dict[str, Any]]:
    """Split the trainable parameters into an exempt group and a decaying one, in that order.

    Exempt are parameters with at most one dimension (biases, normalisation, the alpha and beta of a
    scaled ReLU), names that end in ``.bias``, and what a module's ``no_weight_decay()`` names
    (timm's ViT: position embedding and class token). Convolution kernels of a stem decay.

    Args:
        model: a backbone, or anything around one; wrappers do not hide its exemptions.
        weight_decay: of the second group.
        decay_tokens: let the names that modules declare as exempt decay after all, as DINO does
            (recipes C.1).

    Returns:
        Two groups for a torch optimizer; frozen parameters are in neither. ``decays`` marks the
        second: a schedule may move its weight decay.

    Raises:
        ConfigError: if nothing is trainable or the decay is negative.
    Source: recipes A.3 (DeiT); the scaling theorem of the paper assumes decay on BatchNorm too,
        which the official filter does not give (recipes H33).
    """
    if weight_decay < 0:
        raise ConfigError(f"weight_decay is {weight_decay}; it must not be negative.")
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise ConfigError("No parameter of the model is trainable; unfreeze some or check init.")
    exempt_names = set() if decay_tokens else _declared_exempt(model)
    exempt = [p for name, p in named if _is_exempt(name, p, exempt_names)]
    decaying = [p for name, p in named if not _is_exempt(name, p, exempt_names)]
    return [
        {"params": exempt, "weight_decay": 0.0, "decays": False},
        {"params": decaying, "weight_decay": weight_decay, "decays": True},
    ]


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
