"""DINO's loss over pairs of views, computed view by view, and signs of a collapsed teacher.

Shapes: V student views (the first two are the teacher's), B images, K prototypes, D features.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from scaledrelu.tasks.base import at_least_float32


def pair_loss(scores_VBK: Tensor, probs_2BK: Tensor, student_temp: float) -> Tensor:
    """Mean cross entropy over the pairs (teacher view, another student view), in float32.

    The terms of one student view share its log-softmax, so their teacher views are averaged first:
    one pass over each student view instead of one per pair, and nothing of the size V x B x K is
    kept but the scores and their gradient.

    Args:
        scores_VBK: the student's; views 0 and 1 are the same crops as the teacher's.
        probs_2BK: the teacher's, without gradient.
        student_temp: divides the scores.

    Returns:
        Scalar, mean over 2V - 2 pairs and B images.
    Source: DINO main_dino.py ``DINOLoss.forward``; recipes C.1.
    """
    first, second = probs_2BK.unbind()
    return _PairLoss.apply(scores_VBK, student_temp, second, first, (first + second) / 2)


class _PairLoss(torch.autograd.Function):
    """Targets are the mean teacher of view 0, of view 1 and of every later view."""

    @staticmethod
    def forward(ctx: Any, scores_VBK: Tensor, temp: float, *targets_BK: Tensor) -> Tensor:
        ctx.temp = temp
        ctx.save_for_backward(scores_VBK, *targets_BK)
        total = targets_BK[0].new_zeros(())
        for view, scores_BK in enumerate(scores_VBK):
            log_probs_BK = F.log_softmax(_scaled(scores_BK, temp), dim=-1)
            target_BK = targets_BK[min(view, 2)]
            total -= _num_teachers(view) * torch.dot(log_probs_BK.flatten(), target_BK.flatten())
        return total / _num_terms(scores_VBK)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scores_VBK, *targets_BK = ctx.saved_tensors
        # Includes the loss scale, before anything is rounded to the scores' own precision.
        weight = grad / (_num_terms(scores_VBK) * ctx.temp)
        grad_VBK = torch.empty_like(scores_VBK)
        for view, scores_BK in enumerate(scores_VBK):
            probs_BK = F.softmax(_scaled(scores_BK, ctx.temp), dim=-1)
            excess_BK = probs_BK.sub_(targets_BK[min(view, 2)])
            torch.mul(excess_BK, _num_teachers(view) * weight, out=grad_VBK[view])
        return grad_VBK, None, None, None, None


def _num_teachers(view: int) -> int:
    return 1 if view < 2 else 2


def _scaled(scores: Tensor, temp: float) -> Tensor:
    return at_least_float32(scores) / temp


def _num_terms(scores_VBK: Tensor) -> int:
    return (2 * len(scores_VBK) - 2) * scores_VBK.shape[1]


@torch.no_grad()
def teacher_log_probs(scores_2BK: Tensor, centre_K: Tensor, *, temp: float) -> Tensor:
    """Return the teacher's centred and sharpened log probabilities, in float32.

    Args:
        scores_2BK: the teacher's, global crop by global crop.
        centre_K: subtracted from the scores.
        temp: temperature; divides the difference.
    """
    return F.log_softmax((scores_2BK - centre_K) / temp, dim=-1)


@torch.no_grad()
def collapse_signs(
    log_probs_2BK: Tensor, probs_2BK: Tensor, features_BD: Tensor
) -> dict[str, Tensor]:
    """Return scalars that distinguish a healthy teacher from a collapsed one.

    A uniform output has entropy ln K (fraction 1). One prototype for all images has an entropy of
    the mean output of 0. In both, the divergence from the mean output and the spread of the
    features fall towards 0.

    Args:
        log_probs_2BK: the teacher's log probabilities.
        probs_2BK: the same as probabilities.
        features_BD: the teacher's backbone features, any number of rows.

    Returns:
        ``entropy`` of an image's output in nats, mean over images, and its fraction of ln K;
        ``mean_entropy``, of the mean output over images; ``divergence``, the mean
        Kullback-Leibler divergence of an output from the mean output; ``feature_std``, per channel
        over the images, of features scaled to length 1, mean over channels (1/sqrt(D) when they
        point everywhere).
    """
    entropy = -(probs_2BK * log_probs_2BK).sum(-1).mean()
    mean_entropy = torch.special.entr(probs_2BK.mean((0, 1))).sum()
    spread = F.normalize(at_least_float32(features_BD), dim=-1).std(dim=0, correction=0).mean()
    return {
        "teacher/entropy": entropy,
        "teacher/entropy_fraction": entropy / math.log(probs_2BK.shape[-1]),
        "teacher/mean_entropy": mean_entropy,
        "teacher/divergence": mean_entropy - entropy,
        "teacher/feature_std": spread,
    }
