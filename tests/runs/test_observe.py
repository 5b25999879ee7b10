"""What an evaluation sees of a network, and how often it passes it for that."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from scaledrelu.engine.autocast import autocast_context
from scaledrelu.evals.tokens import layer_similarity
from scaledrelu.models.tokens import layer_tokens, watch_largest
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.observe import Evaluators
from scaledrelu.runs.spawn import run_job
from scaledrelu.tasks.linear_probe import Probe
from tests.helpers.configs import with_values
from tests.helpers.model_builders import MINI_VOLO, make_vit, make_volo


def backbones() -> dict[str, nn.Module]:
    return {
        "vit": make_vit("conv"),
        "volo": make_volo(**MINI_VOLO),
        "linear probe": Probe(make_vit("conv", num_classes=0), num_classes=10, num_blocks=2),
    }


@pytest.mark.parametrize("autocast", ["none", "bf16"])
@pytest.mark.parametrize(("name", "passes"), [("vit", 1), ("volo", 1), ("linear probe", 2)])
def test_one_pass_serves_extremes_and_similarity_to_the_bit(name, passes, autocast) -> None:
    """But for a linear probe, whose own pass leaves the autocast in which tokens are observed."""
    backbone, images = backbones()[name].eval(), torch.randn(4, 3, 16, 16)
    context = partial(autocast_context, autocast, torch.device("cpu"))
    with torch.no_grad(), context(), watch_largest(backbone) as largest:
        backbone(images)
    with torch.no_grad(), context():
        apart = [layer_similarity(tokens) for tokens in layer_tokens(backbone, images)]
    seen: list[nn.Module] = []
    backbone.patch_embed.register_forward_hook(lambda module, *_: seen.append(module))
    task, source = SimpleNamespace(backbone=backbone), SimpleNamespace(probe=images)
    with torch.no_grad():
        found = Evaluators(task, (), source, context)(None)
    assert len(seen) == passes
    observed = [found.observed[f"similarity/signed_{i:02d}"] for i in range(len(apart))]
    assert observed == [float(layer.signed) for layer in apart]
    assert found.observed["largest/activation"] == float(largest.activation)
    assert found.observed["largest/score"] == float(largest.score)


class OneNumber:
    """A metric that returns its number alone."""

    headline = "val/one"

    def __call__(self, network):
        return 1.0


class TwoNumbers(OneNumber):
    """A metric that returns no dictionaries."""

    def __call__(self, network):
        return 1.0, 2.0


class Nameless:
    """A metric of which nobody knows what counts."""

    def __call__(self, network):
        return {"val/one": 1.0}, {}


@pytest.mark.parametrize(
    ("metric", "line"),
    [
        (OneNumber, "must return (numbers, arrays), two dictionaries; returned float"),
        (TwoNumbers, "must return (numbers, arrays), two dictionaries; returned float and float"),
        (Nameless, "is the first of the list and needs an attribute `headline`: the name of the"),
    ],
)
def test_a_metric_that_is_none_is_named(metric, line, smoke) -> None:
    build = [{"_target_": f"{__name__}.{metric.__name__}"}]
    report = run_job(with_values(smoke(), {"evaluation.build": build}))
    assert report.ended is Ended.FAILED
    assert report.reason.startswith(f"evaluation.build: {__name__}.{metric.__name__}: {line}")
