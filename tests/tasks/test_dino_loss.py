"""The cheap loss equals the slow one, and a teacher that collapses shows."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from scaledrelu.tasks.dino_loss import collapse_signs, pair_loss, teacher_log_probs

STUDENT_TEMP, TEACHER_TEMP = 0.1, 0.04


def scores(views, images, prototypes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(views, images, prototypes, generator=generator, dtype=dtype) * 2 - 1


def slow_loss(student, teacher, centre):
    """Mean over pairs and images of a cross entropy, one number after another."""
    terms = []
    for i in range(2):
        for j in range(len(student)):
            if i == j:
                continue
            for image in range(student.shape[1]):
                wanted = [
                    math.exp((s - c) / TEACHER_TEMP)
                    for s, c in zip(teacher[i, image].tolist(), centre.tolist(), strict=True)
                ]
                given = student[j, image] / STUDENT_TEMP
                log_norm = given.exp().sum().log()
                weights = torch.tensor(wanted, dtype=torch.float64) / math.fsum(wanted)
                terms.append(-(weights * (given - log_norm)).sum())
    assert len(terms) == ((len(student) * 2) - 2) * student.shape[1]
    return sum(terms) / len(terms)


def cheap_loss(student, teacher, centre):
    log_probs = teacher_log_probs(teacher, centre, temp=TEACHER_TEMP)
    return pair_loss(student, log_probs.exp(), STUDENT_TEMP)


@pytest.mark.parametrize("local", [0, 1, 8])
@pytest.mark.parametrize("images", [1, 3])
def test_loss_and_gradient_equal_a_slow_double_loop(local, images):
    student = scores(2 + local, images, 7).requires_grad_()
    teacher, centre = scores(2, images, 7, seed=1), scores(1, 1, 7, seed=2)[0, 0] * 0.1
    expected = slow_loss(student, teacher, centre)
    (slope,) = torch.autograd.grad(expected, student)
    found = cheap_loss(student, teacher, centre)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    (found_slope,) = torch.autograd.grad(3 * found, student)
    torch.testing.assert_close(found_slope, 3 * slope, rtol=1e-10, atol=1e-14)
    single = student.detach().float()
    in_float32 = cheap_loss(single, teacher.float(), centre.float())
    assert in_float32.item() == pytest.approx(expected.item(), rel=1e-5)


def test_gradient_is_that_of_the_value():
    student, probs = scores(4, 2, 5).requires_grad_(), F.softmax(scores(2, 2, 5, seed=1), -1)
    assert torch.autograd.gradcheck(lambda s: pair_loss(s, probs, STUDENT_TEMP), (student,))


def test_half_precision_scores_keep_the_small_gradients_of_a_scaled_loss():
    student, teacher = scores(10, 16, 1024) * 0.3, scores(2, 16, 1024, seed=1) * 0.3
    wide = student.half().double().requires_grad_()
    centre = torch.zeros(1024)
    (expected,) = torch.autograd.grad(cheap_loss(wide, teacher, centre.double()), wide)
    half = student.half().requires_grad_()
    loss = cheap_loss(half, teacher.float(), centre)
    assert loss.dtype == torch.float32
    (found,) = torch.autograd.grad(loss * 2.0**14, half)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.double() / 2.0**14, expected, rtol=1e-3, atol=1e-10)
    unscaled = (expected.half().double() - expected).abs()
    assert (unscaled > 1e-3 * expected.abs() + 1e-10).double().mean() > 0.2


class Seen(TorchDispatchMode):
    """Notes every operation and how much it writes."""

    def __init__(self):
        super().__init__()
        self.calls, self.largest = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append(func.overloadpacket.__name__)
        if isinstance(result, torch.Tensor) and "select" not in self.calls[-1]:
            self.largest = max(self.largest, result.numel())
        return result


def test_a_student_view_costs_one_log_softmax_and_no_tensor_grows_with_the_views():
    student, probs = scores(10, 3, 8).requires_grad_(), F.softmax(scores(2, 3, 8, seed=1), -1)
    with Seen() as seen:
        loss = pair_loss(student, probs, STUDENT_TEMP)
    assert seen.calls.count("_log_softmax") == 10
    assert seen.calls.count("_softmax") == 0
    assert seen.largest == 3 * 8
    with Seen() as seen:
        loss.backward()
    assert seen.calls.count("_softmax") == 10
    assert sum(name.startswith("empty") for name in seen.calls) == 1  # the gradient


def signs(log_probs, features):
    found = collapse_signs(log_probs, log_probs.exp(), features)
    return {name.removeprefix("teacher/"): float(value) for name, value in found.items()}


PROTOTYPES, IMAGES, WIDTH = 32, 64, 16


def features_of(spread):
    torch.manual_seed(0)
    return torch.ones(2 * IMAGES, WIDTH) + spread * torch.randn(2 * IMAGES, WIDTH)


def test_uniform_collapse_shows():
    log_probs = torch.full((2, IMAGES, PROTOTYPES), -math.log(PROTOTYPES))
    found = signs(log_probs, features_of(0.0))
    assert found["entropy"] == pytest.approx(math.log(PROTOTYPES), rel=1e-5)
    assert found["entropy_fraction"] == pytest.approx(1, rel=1e-5)
    assert found["mean_entropy"] == pytest.approx(math.log(PROTOTYPES), rel=1e-5)
    assert found["divergence"] == pytest.approx(0, abs=1e-5)
    assert found["feature_std"] == pytest.approx(0, abs=1e-6)


def test_one_hot_collapse_shows():
    log_probs = F.log_softmax(100 * F.one_hot(torch.full((2, IMAGES), 5), PROTOTYPES).float(), -1)
    found = signs(log_probs, features_of(0.0))
    assert found["entropy"] + found["entropy_fraction"] == pytest.approx(0, abs=1e-5)
    assert found["mean_entropy"] == pytest.approx(0, abs=1e-5)
    assert found["divergence"] == pytest.approx(0, abs=1e-5)
    assert found["feature_std"] == pytest.approx(0, abs=1e-6)


def test_a_healthy_teacher_looks_like_neither_collapse():
    favourite = torch.arange(2 * IMAGES).view(2, IMAGES) % PROTOTYPES
    log_probs = F.log_softmax(100 * F.one_hot(favourite, PROTOTYPES).float(), -1)
    found = signs(log_probs, features_of(1e6))
    assert found["entropy_fraction"] == pytest.approx(0, abs=1e-5)  # sure of each image,
    assert found["mean_entropy"] == pytest.approx(math.log(PROTOTYPES), rel=1e-5)  # but of all
    assert found["divergence"] == pytest.approx(math.log(PROTOTYPES), rel=1e-5)
    assert found["feature_std"] == pytest.approx(1 / math.sqrt(WIDTH), rel=0.05)


def test_signs_equal_their_definitions():
    log_probs = F.log_softmax(5 * scores(2, 3, 7), -1)
    features = scores(1, 6, 4, seed=3)[0]
    found = signs(log_probs, features)
    p = log_probs.exp().reshape(6, 7).numpy()
    mean = p.mean(0)
    assert found["entropy"] == pytest.approx(-(p * np.log(p)).sum(1).mean())
    divergence = sum((row * np.log(row / mean)).sum() for row in p) / 6
    assert found["divergence"] == pytest.approx(divergence)
    unit = features.numpy() / (features.numpy() ** 2).sum(1, keepdims=True) ** 0.5
    assert found["feature_std"] == pytest.approx(unit.std(0).mean())
