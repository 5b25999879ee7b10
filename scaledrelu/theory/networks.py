"""Theorem 1 and the cosine before and after a ReLU, measured on whole networks in float64.

Shapes: B images, C channels, H height, W width; N positions of a feature map, D channels there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from scaledrelu.engine.distributed import World
from scaledrelu.evals.tokens import layer_similarity
from scaledrelu.models.channels import ChannelPair, channel_pairs
from scaledrelu.randomness import derive_seed
from scaledrelu.runs.build import build
from scaledrelu.runs.initial import finished_run
from scaledrelu.theory.plan import TheoryRun
from scaledrelu.theory.theorem1 import FirstLayer

FEW = 64  # images that show whether two networks are one function
AT_START, TRAINED = "before training", "trained"


@dataclass(frozen=True, slots=True)
class Network:
    """A backbone in float64 and evaluation mode, and the validation images that it is shown."""

    name: str
    seed: int
    state: str  # before training, or trained
    model: nn.Module
    images_BCHW: Tensor  # noqa: N815


@dataclass(frozen=True, slots=True)
class AroundReLU:
    """How alike the positions of the stem's last feature map are, mean over images.

    Attributes:
        network: whose stem it is.
        before: mean absolute cosine of what the BatchNorm normalises: zero mean, as in Theorem 2.
        after: the same of what the ReLU lets through.
        before_signed: mean signed cosine before.
        after_signed: mean signed cosine after; equals ``after``, since nothing is negative.
        num_tokens: N.
        num_features: D.
    """

    network: Network
    before: float
    after: float
    before_signed: float
    after_signed: float
    num_tokens: int
    num_features: int


def load_networks(run: TheoryRun) -> list[Network]:
    """Return the network of a run before its training and as trained.

    Args:
        run: a finished run, whose checkpoint is there.

    Raises:
        ConfigError, CheckpointError: its weights are missing or damaged.
    """
    results = run.folder.parents[1]
    finished = finished_run(results, run.run.run_id)
    job = build(finished.config, World(0, 1, torch.device("cpu")))
    try:
        images = torch.cat([batch.images for batch in job.validation]).double()
    finally:
        job.close()
    task = job.training.task.double().eval()
    start = deepcopy(task.backbone)
    task.load_state_dict(finished.state["task"])
    states = ((AT_START, start), (TRAINED, task.backbone))
    return [Network(run.name, run.seed, state, model, images) for state, model in states]


@torch.no_grad()
def rescaling_error(network: Network, pair: str) -> float:
    """Rescale every channel of a pair by a random factor; return how far the logits move.

    Args:
        network: left as it is.
        pair: name of the pair, see ``models/channels.py``.

    Returns:
        Largest change of a logit over the largest logit; rounding in float64 is about 1e-15.
    """
    copy = deepcopy(network.model)
    scales = channel_pairs(copy)[pair]
    seed = derive_seed(network.seed, "theory", pair)
    factors = np.random.default_rng(seed).lognormal(sigma=1.0, size=len(scales.beta))
    images = network.images_BCHW[:FEW]
    before = network.model(images)
    scales.rescale(torch.from_numpy(factors))
    return float((copy(images) - before).abs().max() / before.abs().max())


def as_first_layer(pair: ChannelPair) -> FirstLayer:
    """Return a pair as the arrays that Theorem 1 speaks about."""
    alpha, beta, weights = pair.alpha.detach(), pair.beta.detach(), pair.reader_weights()
    return FirstLayer(alpha.numpy(), beta.numpy(), weights.numpy())


@torch.no_grad()
def around_last_relu(network: Network) -> AroundReLU | None:
    """Measure the tokens on both sides of the stem's last BatchNorm and ReLU; None without one."""
    found = _last_norm_and_relu(network.model.patch_embed)
    if found is None:
        return None
    norm, relu = found
    with _outputs(norm, relu) as seen:
        network.model.patch_embed(network.images_BCHW)
    affine = [part.detach()[:, None, None] for part in (norm.weight, norm.bias)]
    before_BND = _positions((seen[norm] - affine[1]) / affine[0])
    after_BND = _positions(seen[relu])
    before, after = layer_similarity(before_BND), layer_similarity(after_BND)
    return AroundReLU(
        network,
        float(before.absolute),
        float(after.absolute),
        float(before.signed),
        float(after.signed),
        *before_BND.shape[1:],
    )


def _last_norm_and_relu(stem: nn.Module) -> tuple[nn.BatchNorm2d, nn.ReLU] | None:
    layers = [layer for layer in stem.modules() if not any(layer.children())]
    found = [
        (one, other)
        for one, other in pairwise(layers)
        if isinstance(one, nn.BatchNorm2d) and isinstance(other, nn.ReLU)
    ]
    return found[-1] if found else None


@contextmanager
def _outputs(*layers: nn.Module) -> Iterator[dict[nn.Module, Tensor]]:
    """Keep what some layers return while open; copied, since a ReLU may work in place."""
    seen: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, _: object, output: Tensor) -> None:
        seen[layer] = output.clone()

    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _positions(features_BCHW: Tensor) -> Tensor:
    return features_BCHW.flatten(2).transpose(1, 2)
