"""Dense class logits of a network: its own classifier at every position, without the pooling.

Shapes: B images, K classes, H and W of the grid of positions, N tokens, C features.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from scaledrelu.errors import ConfigError


def dense_logits(model: nn.Module, image_BCHW: Tensor) -> Tensor:
    """Return the class logits of every position, B x K x H x W.

    A network with its own dense output (VOLO's auxiliary head) returns that. Any other timm network
    classifies each position of its last features as if it were the whole image: where the
    classifier is linear in the pooled mean, the mean over the positions is the usual output.

    Args:
        model: a network in evaluation mode, with ``forward_dense``, or timm's
            ``forward_features`` and ``forward_head``.
        image_BCHW: normalised images.

    Raises:
        ConfigError: if the features are not a map or a square of tokens.
    Source: recipes B.4 (label maps of the official generator).
    """
    if hasattr(model, "forward_dense"):
        return _as_map(model.forward_dense(image_BCHW, None).tokens_BNC, model.token_grid)
    features = model.forward_features(image_BCHW)
    if not isinstance(features, Tensor) or features.ndim not in (3, 4):
        raise ConfigError(_unusable(model, f"its features are {_describe(features)}"))
    if features.ndim == 4:
        return _logits_of_map(model, features)
    prefix, grid = _token_layout(model, features.shape[1])
    patches_BNC = features[:, prefix:]
    if isinstance(getattr(model, "aux_head", None), nn.Module):
        return _as_map(model.aux_head(patches_BNC), grid)
    return _as_map(_logits_of_tokens(model, patches_BNC, prefix), grid)


@torch.no_grad()
def dense_grid(model: nn.Module, *, image_size: int, num_classes: int) -> tuple[int, int]:
    """Try the dense output on one black image and return its (height, width).

    Args:
        model: a network in evaluation mode, which :func:`dense_logits` accepts.
        image_size: side of the image in pixels.
        num_classes: K that its output must have.

    Raises:
        ConfigError: if this network cannot give class logits per position.
    """
    parameter = next(model.parameters())
    image_1CHW = parameter.new_zeros(1, 3, image_size, image_size)
    try:
        logits = dense_logits(model, image_1CHW)
    except (ConfigError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a foreign network may fail in any way on an unexpected input
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise ConfigError(_unusable(model, reason)) from error
    if logits.ndim != 4 or logits.shape[:2] != (1, num_classes):
        found = f"its dense output is {_describe(logits)} for {num_classes} classes"
        raise ConfigError(_unusable(model, found))
    if logits.shape[-2:] == (1, 1):
        raise ConfigError(_unusable(model, f"only one position at {image_size} pixels"))
    return tuple(logits.shape[-2:])


def _logits_of_map(model: nn.Module, features: Tensor) -> Tensor:
    """Classify a 4-D map, positions as images of one pixel."""
    last = _channels_last(model, features)
    rows_BHWC = features if last else features.permute(0, 2, 3, 1)
    B, H, W, C = rows_BHWC.shape
    one_pixel = (B * H * W, 1, 1, C) if last else (B * H * W, C, 1, 1)
    logits = model.forward_head(rows_BHWC.reshape(one_pixel))
    return logits.reshape(B, H, W, -1).permute(0, 3, 1, 2)


def _channels_last(model: nn.Module, features: Tensor) -> bool:
    layout = str(getattr(model, "output_fmt", ""))
    if layout in ("NHWC", "NCHW"):
        return layout == "NHWC"
    width = getattr(model, "num_features", None)
    if width not in (features.shape[1], features.shape[3]):
        raise ConfigError(_unusable(model, f"unknown channel axis of {_describe(features)}"))
    return features.shape[1] != width


def _logits_of_tokens(model: nn.Module, patches_BNC: Tensor, prefix: int) -> Tensor:
    """Classify every patch token as a sequence in which all tokens are this one.

    Whether the classifier pools a prefix token, the patches or both, it sees this token.
    """
    B, N, C = patches_BNC.shape
    sequences = patches_BNC.reshape(B * N, 1, C).expand(-1, prefix + 1, -1)
    return model.forward_head(sequences).reshape(B, N, -1)


def _token_layout(model: nn.Module, num_tokens: int) -> tuple[int, tuple[int, int]]:
    """Return how many tokens stand before the patches, and the (height, width) of the patches."""
    declared = getattr(model, "num_prefix_tokens", None)
    known = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    for prefix in (0, 1) if declared is None else (declared,):
        patches = num_tokens - prefix
        side = math.isqrt(patches)
        if known is not None and math.prod(known) == patches:
            return prefix, tuple(known)
        if side * side == patches:
            return prefix, (side, side)
    raise ConfigError(_unusable(model, f"its {num_tokens} tokens are not a square of patches"))


def _as_map(tokens_BNK: Tensor, grid: tuple[int, int]) -> Tensor:
    return tokens_BNK.transpose(1, 2).unflatten(2, tuple(grid))


def _describe(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _unusable(model: nn.Module, reason: str) -> str:
    return (
        f"{type(model).__name__}: cannot give class logits per position ({reason}); choose a "
        "teacher that pools a feature map or a square grid of tokens, e.g. dm_nfnet_f6 or "
        "vit_base_patch16_224"
    )
