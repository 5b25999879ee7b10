"""The generators that augmentation draws from."""

import random

import numpy as np
import torch


def seed(value=0):
    """Start the generators of Python, NumPy and torch at one value."""
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
