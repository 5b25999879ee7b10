"""Small tasks and updates that the tests of one update share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scaledrelu.config.optimizer import SamConfig
from scaledrelu.engine.gradients import BatchGradient
from scaledrelu.engine.step import StepReport, Update
from scaledrelu.tasks.base import Progress, Task, TaskOutput


@dataclass(frozen=True)
class Batch:
    images: Tensor
    targets: Tensor
    group: int


class Toy(Task):
    """Cross entropy of a small net, noting every forward; ``trap`` spoils a gradient once."""

    chance_loss = 1.0

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.backbone = net
        self.calls: list[tuple[int, int]] = []
        self.batches: list[Batch] = []
        self.outputs: list[Tensor] = []
        self.hooks: list[str] = []
        self.trap: set[tuple[int, int]] = set()

    def forward(self, batch: Batch, t: Progress) -> TaskOutput:
        logits = self.backbone(batch.images)
        self.calls.append((t.step, batch.group))
        self.batches.append(batch)
        self.outputs.append(logits.detach())
        loss = nn.functional.cross_entropy(
            logits.to(torch.promote_types(logits.dtype, torch.float32)), batch.targets
        )
        if (t.step, batch.group) in self.trap:
            self.trap.remove((t.step, batch.group))
            p = next(self.backbone.parameters())
            loss = loss + torch.sqrt((p - p.detach()).abs()).sum().to(loss.dtype)  # 0, slope NaN
        accuracy = (logits.argmax(1) == batch.targets).float().mean()
        return TaskOutput(loss=loss, logs={"accuracy": accuracy})


class DropPath(nn.Module):
    """Drops whole samples at random, drawing from torch's global generator."""

    def forward(self, x: Tensor) -> Tensor:
        keep = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device, dtype=x.dtype) > 0.3
        return x * keep / 0.7


def smooth_net(seed: int = 0) -> nn.Sequential:
    """Deterministic float64 net whose gradients can be written down by hand."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def conv_net(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU, drop path, head: all that makes groups differ."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        DropPath(),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 3),
    )
    return net.to(dtype)


def vectors(step: int, group: int, images: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(1000 * step + group)
    x = torch.randn(images, 5, generator=generator, dtype=torch.float64)
    return Batch(x, torch.randint(3, (images,), generator=generator), group)


def pictures(step: int, group: int, dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(1000 * step + group)
    x = torch.randn(6, 3, 4, 4, generator=generator, dtype=dtype) * (1 + group)
    return Batch(x, torch.randint(3, (6,), generator=generator), group)


def sam(**changes) -> SamConfig:
    fields = {
        "rho": 0.1,
        "per_group": False,
        "stats_in_second_pass": False,
        "same_masks": False,
    }
    return SamConfig(**(fields | changes))


def adamw(task: nn.Module, **changes) -> torch.optim.AdamW:
    return torch.optim.AdamW(task.parameters(), **({"lr": 0.01, "weight_decay": 0.05} | changes))


def sgd(task: nn.Module, **changes) -> torch.optim.SGD:
    return torch.optim.SGD(task.parameters(), **({"lr": 0.01, "momentum": 0.9} | changes))


class WholeUpdate(Update):
    """Runs both halves when called, with a flag that is down."""

    def __call__(self, batches: Sequence[Any], t: Progress) -> StepReport:
        report = self.gradients(batches, t)
        self.apply(torch.zeros((), dtype=torch.bool, device=self.device), t)
        return report


def make_update(
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    clip_grad: float | None = None,
    clip: str = "global",
    **changes,
) -> WholeUpdate:
    fields = {
        "autocast": "none",
        "scaler": None,
        "sam": None,
        "seed": 0,
        "device": torch.device("cpu"),
        "groups_local": (0,),
        "draw_joined": None,
        "compiled": False,
    }
    gradient = BatchGradient(task, optimizer, **(fields | changes))
    return WholeUpdate(gradient, clip_grad=clip_grad, clip=clip)


def at(step: int) -> Progress:
    return Progress(step=step, total_steps=100, epoch=0, steps_per_epoch=100)


def state_of(task: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Copies of all weights, buffers and optimizer tensors."""
    states = [v for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
    return [v.detach().clone() for v in [*task.state_dict().values(), *states]]
