import json

import numpy as np
import pytest
import torch

from scaledrelu.config.augment import CORRECTED, OFFICIAL
from scaledrelu.labels.dense_targets import box_spans, dense_targets, pool

CASES = ("dense_rows_asym", "dense_random", "dense_small7_nosmooth", "dense_size1")
RECORDED = {OFFICIAL: "official", CORRECTED: "rows_cols_as_intended"}


@pytest.fixture
def golden(fixtures):
    """A function: case -> (settings, its recorded arrays by the rest of their names)."""
    arrays = np.load(fixtures / "token_label.npz")
    settings = {c["name"]: c for c in json.loads((fixtures / "token_label.json").read_text())}

    def read(name):
        prefix = f"{name}_"
        found = {k.removeprefix(prefix): arrays[k] for k in arrays if k.startswith(prefix)}
        return settings[name], {k: torch.from_numpy(v) for k, v in found.items()}

    return read


def random_maps(batch, side, classes, depth=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randn(batch, classes, side, side, generator=generator)
    best = cells.topk(depth, 1)
    return torch.stack((best.values, best.indices.float()), 1).half()


def random_boxes(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    length = 0.02 + 0.98 * torch.rand(batch, 2, generator=generator)
    return torch.cat((torch.rand(batch, 2, generator=generator) * (1 - length), length), 1)


@pytest.mark.parametrize("axes", [OFFICIAL, CORRECTED])
@pytest.mark.parametrize("name", CASES)
def test_targets_are_those_of_the_official_code(golden, name, axes):
    case, arrays = golden(name)
    side = case["label_size"]
    class_BC, tokens_BNC = dense_targets(
        arrays["in"],
        arrays["coords_top_left_h_w"],
        num_classes=case["classes"],
        grid=(side, side),
        smoothing=case["smoothing"],
        axes=axes,
    )
    # Official layout: B x C x (truth, class target, tokens); without the tokens if there is one.
    expected = arrays[RECORDED[axes]].transpose(1, 2)
    tokens = expected[:, 2:] if side > 1 else expected[:, 1:]
    torch.testing.assert_close(class_BC, expected[:, 1], rtol=0, atol=1e-5)
    torch.testing.assert_close(tokens_BNC, tokens, rtol=0, atol=1e-5)


def test_recorded_axes_differ_so_that_a_mix_up_would_show(golden):
    for name in CASES:
        _, arrays = golden(name)
        assert (arrays["official"] - arrays["rows_cols_as_intended"]).abs().max() > 0.5


@pytest.mark.parametrize("axes", [OFFICIAL, CORRECTED])
@pytest.mark.parametrize(
    ("height", "width", "bins"),
    [(18, 18, (14, 14)), (18, 18, (1, 1)), (4, 4, (2, 2)), (7, 5, (3, 9)), (3, 9, (2, 2))],
)
def test_pooling_is_roi_align(height, width, bins, axes):
    from torchvision.ops import roi_align

    cells = torch.randn(40, height, width, 3, generator=torch.Generator().manual_seed(1))
    boxes = random_boxes(40)
    boxes[0] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    (top, bottom), (left, right) = (x.T for x in box_spans(boxes, height, width, axes=axes))
    rois = torch.stack((torch.arange(40.0), left, top, right, bottom), 1)
    expected = roi_align(cells.permute(0, 3, 1, 2), rois, bins).flatten(2).transpose(1, 2)
    found = pool(cells, *box_spans(boxes, height, width, axes=axes), bins)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_official_axes_are_the_corrected_ones_of_the_turned_box():
    maps, boxes = random_maps(4, 6, 12), random_boxes(4)
    fields = {"num_classes": 12, "grid": (3, 3), "smoothing": 0.1}
    official = dense_targets(maps, boxes, **fields, axes=OFFICIAL)
    turned = dense_targets(maps, boxes[:, [1, 0, 3, 2]], **fields, axes=CORRECTED)
    for one, other in zip(official, turned, strict=True):
        assert torch.equal(one, other)


def test_smoothing_bounds_every_probability_and_adds_its_share_to_the_sum():
    fields = {"num_classes": 10, "grid": (2, 2), "axes": OFFICIAL}
    for part in dense_targets(random_maps(3, 4, 10), random_boxes(3), **fields, smoothing=0.5):
        # Officially p (1 - s + s / C) + s / C, which sums to 1 + s / C.
        torch.testing.assert_close(part.sum(-1), torch.full(part.shape[:-1], 1.05))
        assert part.min() >= 0.05
        assert part.max() <= 0.6


def test_group_of_one_image_is_the_same_as_in_a_larger_group():
    maps, boxes = random_maps(3, 6, 12), random_boxes(3)
    fields = {"num_classes": 12, "grid": (3, 4), "smoothing": 0.1, "axes": OFFICIAL}
    whole = dense_targets(maps, boxes, **fields)
    alone = dense_targets(maps[1:2], boxes[1:2], **fields)
    assert alone[0].shape == (1, 12)
    assert alone[1].shape == (1, 12, 12)
    for one, other in zip(alone, whole, strict=True):
        torch.testing.assert_close(one[0], other[1])


def test_half_precision_training_does_not_round_the_targets():
    fields = {"num_classes": 12, "grid": (3, 3), "smoothing": 0.1, "axes": OFFICIAL}
    maps, boxes = random_maps(2, 6, 12), random_boxes(2)
    expected = dense_targets(maps, boxes, **fields)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = dense_targets(maps, boxes, **fields)
    assert torch.equal(found[1], expected[1])
