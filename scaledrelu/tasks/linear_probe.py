"""Linear evaluation: one linear layer on the class tokens of a frozen backbone (recipes C.2).

Shapes: B images, D width, F features (D times the number of blocks), C classes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from scaledrelu.errors import ConfigError
from scaledrelu.models.tokens import (
    LargestValues,
    SeeTokens,
    first_attention,
    layer_tokens,
    score_hooks,
    token_hooks,
)
from scaledrelu.tasks.base import Progress, Task, TaskOutput

CLASSIFIER_STD = 0.01  # DINO eval_linear.py ``LinearClassifier``


class Probe(nn.Module):
    """Images, or features already computed, to logits; only the classifier can train.

    Args:
        frozen: ViT that stays in evaluation mode and keeps its weights.
        num_classes: C.
        num_blocks: last blocks whose class tokens, after the final LayerNorm, are the features.

    Attributes:
        num_features: F.

    Raises:
        ConfigError: if the ViT has fewer blocks.
    """

    def __init__(self, frozen: VisionTransformer, *, num_classes: int, num_blocks: int) -> None:
        super().__init__()
        if not 1 <= num_blocks <= len(frozen.blocks):
            raise ConfigError(
                f"task.num_blocks={num_blocks}: must lie in [1, {len(frozen.blocks)}], the blocks "
                "of the backbone"
            )
        self.frozen = frozen.requires_grad_(False).eval()
        self.num_blocks = num_blocks
        self.num_features = num_blocks * frozen.embed_dim
        self.classifier = nn.Linear(self.num_features, num_classes)
        nn.init.normal_(self.classifier.weight, std=CLASSIFIER_STD)
        nn.init.zeros_(self.classifier.bias)

    @property
    def patch_embed(self) -> nn.Module:
        """The stem."""
        return self.frozen.patch_embed

    def train(self, mode: bool = True) -> Probe:
        """Change the classifier's mode; the backbone stays in evaluation mode."""
        super().train(mode)
        self.frozen.eval()
        return self

    @torch.no_grad()
    def embed(self, image_BCHW: Tensor) -> Tensor:
        """Return features B x F x 1 x 1 in float32: a map of one position, handled like images."""
        with torch.autocast(image_BCHW.device.type, enabled=False):
            layers = self.frozen.forward_intermediates(
                image_BCHW.float(),
                indices=self.num_blocks,
                return_prefix_tokens=True,
                norm=True,
                output_fmt="NLC",
                intermediates_only=True,
            )
        return torch.cat([prefix_B1D[:, 0] for _, prefix_B1D in layers], dim=1)[:, :, None, None]

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return logits B x C of images, or of features that ``embed`` returned."""
        is_embedded = image_BCHW.shape[1:] == (self.num_features, 1, 1)
        features_BF11 = image_BCHW if is_embedded else self.embed(image_BCHW)
        return self.classifier(features_BF11.flatten(1))


class LinearProbe(Task):
    """A linear classifier on a frozen backbone, trained on images or on their features.

    Args:
        backbone: ViT without classifier.
        num_classes: C.
        num_blocks: last blocks that give a class token each.

    Source: DINO eval_linear.py, ViT-S settings; recipes C.2.
    """

    headless = True
    joins = True

    def __init__(self, backbone: VisionTransformer, *, num_classes: int, num_blocks: int) -> None:
        super().__init__()
        self.backbone = Probe(backbone, num_classes=num_classes, num_blocks=num_blocks)
        self.chance_loss = math.log(num_classes)

    def networks(self) -> tuple[nn.Module, ...]:
        """Return the bare backbones that the weights of an earlier training go into."""
        return (self.backbone.frozen,)

    def forward(self, batch: Any, t: Progress) -> TaskOutput:
        """Return the mean over images of -sum(target x log softmax(logits)), in float32.

        Args:
            batch: a ``Batch`` with soft targets B x C and images or features, on the device.
            t: where training stands; not used.
        """
        logits_BC = self.backbone(batch.images)
        return TaskOutput(F.cross_entropy(logits_BC.float(), batch.targets))


@layer_tokens.register
def _(model: Probe, image_BCHW: Tensor) -> list[Tensor]:
    return layer_tokens(model.frozen, image_BCHW)


@token_hooks.register
def _(model: Probe, see: SeeTokens) -> list[RemovableHandle]:
    return []  # its own forward leaves autocast, in which tokens are observed


@first_attention.register
def _(model: Probe) -> tuple[nn.LayerNorm, tuple[nn.Parameter, ...]]:
    return first_attention(model.frozen)


@score_hooks.register
def _(model: Probe, largest: LargestValues) -> list[RemovableHandle]:
    return score_hooks(model.frozen, largest)
