"""What moves the weights: decay groups, SAM's perturbation, the learning rate over time."""

from scaledrelu.optim.cosine import CosineSchedule
from scaledrelu.optim.params import parameter_groups
from scaledrelu.optim.sam import SamPerturbation
from scaledrelu.optim.schedule import Curve, LrSchedule

__all__ = ["CosineSchedule", "Curve", "LrSchedule", "SamPerturbation", "parameter_groups"]
