"""Facts of the set-up, against the networks themselves."""

import pytest

from scaledrelu.reports.claims.facts import fact, is_as_said, shown
from tests.helpers.configs import composed
from tests.helpers.model_builders import DEIT_S, make_vit


@pytest.mark.parametrize("stem", ["patchify", "conv", "conv_relu"])
def test_parameters_are_those_of_the_network(stem):
    import torch

    with torch.device("meta"):
        network = make_vit(stem, num_classes=1000, **DEIT_S)
    config = composed("recipe=deit", "model=vit_small", f"stem={stem}", "profile=paper")
    assert fact(config, "parameters") == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("found", "said", "figures", "holds"),
    [
        (22_050_664, 22_000_000, 2, True),
        (22_550_664, 22_000_000, 2, False),
        (1_281_167, 1_300_000, 2, True),
        (50_000, 50_000, None, True),
        (50_001, 50_000, None, False),
        (5.0, 5, None, True),
        ([7, 3, 3, 8], [7, 3, 3, 8], None, True),
        ([7, 3, 3, 2], [7, 3, 3, 8], None, False),
    ],
)
def test_a_fact_is_compared_in_the_figures_that_the_paper_prints(found, said, figures, holds):
    assert is_as_said(found, said, figures) is holds


def test_facts_are_written_as_people_write_them():
    facts = (22_050_664, 5.0, 0.0016, [2, 1, 1, 8])
    assert [shown(one) for one in facts] == ["22,050,664", "5", "1.6e-3", "(2, 1, 1, 8)"]
