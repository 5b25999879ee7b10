"""What moves the weights: decay groups, SAM's perturbation, the learning rate over time."""

from scaledrelu.optim.cosine import CosineSchedule
from scaledrelu.optim.params import parameter_groups
from scaledrelu.optim.sam import SamPerturbation
from scaledrelu.optim.schedule import (
    LrSchedule,
    ScheduleSpec,
    effective_lr,
    run_epochs,
    warmup_length,
)

__all__ = [
    "CosineSchedule",
    "LrSchedule",
    "SamPerturbation",
    "ScheduleSpec",
    "effective_lr",
    "parameter_groups",
    "run_epochs",
    "warmup_length",
]
