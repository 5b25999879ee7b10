"""The peer: one training step as in timm's training script, written out plainly.

Same model, same weights, timm's loss, optimizer factory and weight average; no keyed randomness, no
judge of divergence, no gradient norm, nothing that a reproducible run needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from scaledrelu.data.batch import Batch

Loss = Callable[[nn.Module, Batch], Tensor]


def soft_target_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Return timm's loss of the logits.

    Args:
        model: (B, 3, H, W) -> (B, C).
        batch: images and soft targets, on the device.
    """
    return SoftTargetCrossEntropy()(model(batch.images), batch.targets)


class PlainStep:
    """Forward, backward, optimizer step; with ``rho`` the usual two passes of SAM.

    Args:
        model: the model to train, on its device, in its memory layout.
        loss: (model, batch) -> loss.
        optimizer: arguments of AdamW: lr, betas, eps, weight_decay, fused.
        dtype: autocast type; None = off.
        scaled: whether the loss is scaled.
        rho: SAM's radius; None = one pass.
        ema_decay: decay of timm's weight average; None = none.
        reads_loss: read the loss at every step, as timm's script does for its meter.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Loss,
        optimizer: dict[str, Any],
        dtype: torch.dtype | None,
        scaled: bool,
        rho: float | None,
        ema_decay: float | None,
        reads_loss: bool,
    ) -> None:
        self.model, self.loss, self.dtype = model, loss, dtype
        self.rho, self.reads_loss = rho, reads_loss
        self.device = next(model.parameters()).device
        self.optimizer = create_optimizer_v2(model, opt="adamw", **optimizer)
        self.params = [p for p in model.parameters() if p.requires_grad]
        self.norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.ema = ModelEmaV3(model, decay=ema_decay) if ema_decay is not None else None
        self.compiled = False

    def __call__(self, batch: Batch) -> Tensor:
        """Train on one batch, on the device, and return its (first) loss."""
        if self.compiled:
            # Once one side marks its steps, torch finds no others by itself, and CUDA graphs would
            # be recorded anew in every step of the side that does not.
            torch.compiler.cudagraph_mark_step_begin()
        loss = self._backward(batch)
        self.after_backward()
        if self.rho is not None:
            moves = self._climb()
            self.optimizer.zero_grad()
            self._track(False)
            self._backward(batch)
            self._track(True)
            self._descend(moves)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.after_update()
        if self.ema is not None:
            self.ema.update(self.model)
        if self.reads_loss:
            loss.item()
        return loss.detach()

    def compile(self, mode: str) -> None:
        """Compile what the loss calls.

        Args:
            mode: name of a mode of ``torch.compile``.
        """
        self.compiled = True
        self._compile_networks(mode)

    def after_backward(self) -> None:
        """Do nothing with the gradient."""

    def after_update(self) -> None:
        """Do nothing after an update."""

    def _compile_networks(self, mode: str) -> None:
        self.model.compile(mode=mode)

    def _backward(self, batch: Batch) -> Tensor:
        with torch.autocast(
            self.device.type, dtype=self.dtype or torch.bfloat16, enabled=self.dtype is not None
        ):
            loss = self.loss(self.model, batch)
        self.scaler.scale(loss).backward()
        return loss

    @torch.no_grad()
    def _climb(self) -> list[Tensor]:
        norm = torch.norm(torch.stack([p.grad.norm() for p in self.params]))
        moves = [p.grad * (self.rho / (norm + 1e-12)) for p in self.params]
        for p, move in zip(self.params, moves, strict=True):
            p.add_(move)
        return moves

    @torch.no_grad()
    def _descend(self, moves: Sequence[Tensor]) -> None:
        for p, move in zip(self.params, moves, strict=True):
            p.sub_(move)

    def _track(self, tracks: bool) -> None:
        for norm in self.norms:
            norm.track_running_stats = tracks


def plain_batches(
    images: Tensor,
    targets: Tensor,
    *,
    batch: int,
    mean: Sequence[float],
    std: Sequence[float],
    shift: int,
    layout: torch.memory_format,
) -> Iterator[Batch]:
    """Yield the batches of a plain loop over images in memory: shuffle, index, shift, scale.

    Args:
        images: N x 3 x H x W, uint8, on the device.
        targets: N x C soft targets, on the device.
        batch: images per step.
        mean: 3 channel means, in [0, 1].
        std: 3 channel standard deviations.
        shift: largest shift in pixels.
        layout: memory layout of a batch.
    """
    centre, spread = (torch.tensor(v, device=images.device).view(3, 1, 1) for v in (mean, std))
    while True:
        order = torch.randperm(len(images)).to(images.device)
        for at in range(0, len(images) - batch + 1, batch):
            chosen = order[at : at + batch]
            pixels = shifted((images[chosen].float() / 255 - centre) / spread, shift)
            yield Batch(pixels.contiguous(memory_format=layout), targets[chosen], group=0)


def shifted(images: Tensor, most: int) -> Tensor:
    """Move every image of a batch by up to ``most`` pixels each way, filling in zeros.

    Args:
        images: B x 3 x H x W.
        most: largest shift in pixels.
    """
    if not most:
        return images
    count, channels, height, width = images.shape
    device = images.device
    padded = nn.functional.pad(images, [most] * 4)
    down, right = torch.randint(0, 2 * most + 1, (2, count, 1), device=device)
    rows = (down + torch.arange(height, device=device))[:, None, :, None]
    columns = (right + torch.arange(width, device=device))[:, None, None, :]
    which = torch.arange(count, device=device).view(-1, 1, 1, 1)
    return padded[which, torch.arange(channels, device=device).view(1, -1, 1, 1), rows, columns]
