"""Depth, stem, FFN and width of a network, read off its weights, for error messages."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

Weights = dict[str, Tensor]


def differences(found: Weights, own: Weights) -> str:
    """Say in which of depth, stem, FFN and width two ViTs differ; empty if weights do not show it.

    Args:
        found: weights of a file, under our names.
        own: weights of the model that they are meant for.
    """
    there, here = _describe(found), _describe(own)
    return "; ".join(
        f"{fact} {there.get(fact, 'none') or 'none'} in the file, {value or 'none'} in this model"
        for fact, value in here.items()
        if there.get(fact) != value
    )


def _describe(weights: Weights) -> dict[str, str]:
    """Return depth, stem, FFN and width, as far as the weights show them."""
    ffn = {n: w for n, w in weights.items() if n.startswith(("blocks.0.mlp.", "blocks.0.norm2."))}
    layers = {n: w for n, w in sorted(ffn.items()) if n.endswith(".weight")}
    facts = {
        "depth": str(len({name.split(".")[1] for name in weights if name.startswith("blocks.")})),
        "stem": " ".join(_stem_layers(weights)),
        "FFN": " ".join(f"{n.split('.')[-2]}({w.shape[0]})" for n, w in layers.items()),
    }
    if "pos_embed" in weights:
        facts["width"] = str(weights["pos_embed"].shape[-1])
    return facts


def _stem_layers(weights: Weights) -> Iterator[str]:
    for name, weight in weights.items():
        if not name.startswith("patch_embed.") or not name.endswith((".weight", ".alpha")):
            continue
        if weight.ndim == 4:
            out, _, height, width = weight.shape
            yield f"{height}x{width}({out})"
        elif name.endswith((".IN.weight", ".BN.weight")):  # TransReID-SSL normalises in halves
            yield "half-" + name.split(".")[-2].lower()
        else:
            yield "norm" if name.endswith(".weight") else "scaled_relu"
