"""Facts about how the paper's rows are set up, read from their configuration at paper scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from scaledrelu.config.run import RunConfig, plain, value_of
from scaledrelu.errors import TableError, nearest
from scaledrelu.reports.claims.spec import WHERE
from scaledrelu.tables.captions import value_text


def fact(config: RunConfig, key: str) -> Any:
    """Return a fact: one of `FACTS`, else the value under a dotted key.

    Args:
        config: a row at paper scale.
        key: its name.

    Raises:
        TableError: there is no such fact and no such key.
    """
    if key in FACTS:
        return FACTS[key](config)
    try:
        return plain(value_of(config, key))
    except KeyError:
        raise TableError(
            f"{WHERE}: no setting '{key}'{nearest(key, FACTS)}; allowed: {', '.join(FACTS)}, or a "
            "key that --cfg job prints"
        ) from None


def is_as_said(found: Any, said: Any, figures: int | None) -> bool:
    """Say whether a fact is what the paper says.

    Args:
        found: ours.
        said: the paper's.
        figures: significant figures of a number that the paper rounds; None: exact.
    """
    if isinstance(found, int | float) and figures is not None and found:
        digits = figures - 1 - math.floor(math.log10(abs(found)))
        found = round(found, digits)
    return found == said


def shown(found: Any) -> str:
    """Return a fact as people write it: 22,050,664 or 1.6e-3 or (7, 3, 3, 8)."""
    if isinstance(found, list):
        return f"({', '.join(map(str, found))})"
    whole = isinstance(found, int | float) and found == int(found)
    return f"{int(found):,}" if whole else value_text(found)


def _kernels(config: RunConfig) -> list[int]:
    return [*config.stem.kernels, config.stem.fit(config.model.patch_size).proj_kernel]


def _strides(config: RunConfig) -> list[int]:
    fitted = config.stem.fit(config.model.patch_size)
    return [*fitted.strides, fitted.proj]


def _layers(config: RunConfig) -> int:
    """Stem, position embedding, blocks (Figure 1)."""
    return 2 + config.model.depth


def _parameters(config: RunConfig) -> int:
    """Return the parameters of a ViT: stem, class token, positions, blocks, norm, head.

    Counted on paper, because reports do without torch; a test compares it with the network.
    """
    model, tokens = config.model, config.data.height * config.data.width
    width, inner = model.width, round(model.width * model.mlp_ratio)
    attention = 4 * width * width + 4 * width
    ffn = 2 * width * inner + inner + width
    blocks = model.depth * (attention + ffn + 2 * 2 * width)
    positions = (1 + tokens // model.patch_size**2) * width
    classes = config.data.num_classes or 0
    head = width * classes + classes
    return _stem_parameters(config) + width + positions + blocks + 2 * width + head


def _stem_parameters(config: RunConfig) -> int:
    """Convolutions without a bias and their BatchNorm, then the projection with one."""
    stem, channels, total = config.stem, 3, 0
    for kernel in stem.kernels if stem.strides else ():
        total += channels * stem.hidden * kernel**2
        total += 2 * stem.hidden * (stem.norm != "none")
        channels = stem.hidden
    fitted = stem.fit(config.model.patch_size)
    return total + (channels * fitted.proj_kernel**2 + 1) * config.model.width


FACTS: dict[str, Callable[[RunConfig], Any]] = {
    "kernels": _kernels,
    "strides": _strides,
    "layers": _layers,
    "parameters": _parameters,
}
