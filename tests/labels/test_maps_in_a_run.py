"""A run with label maps trains on dense targets, and its host augments image and map together."""

import pytest
import torch

from scaledrelu.config.compose import compose
from scaledrelu.data.device.normalise import LevelNormalise
from scaledrelu.engine.distributed import World
from scaledrelu.errors import ConfigError
from scaledrelu.labels.dense_targets import dense_targets
from scaledrelu.runs.dry import noise
from scaledrelu.runs.feed import open_data, train_loader, train_transform
from scaledrelu.runs.prepare import Prepare
from scaledrelu.tasks.base import Progress
from tests.helpers.configs import with_values
from tests.helpers.errors import one_line
from tests.helpers.label_maps import label_map, write_maps

CPU = torch.device("cpu")
START = Progress(0, 10, 0, 5)


@pytest.fixture(scope="module")
def composed():
    return compose(["recipe=volo", "profile=smoke", "data.token_labels=none"])


@pytest.fixture
def volo(composed, tmp_path):
    """A function: changes -> a smoke VOLO run on digits whose maps lie in a folder."""

    def make(**augment):
        splits = open_data(composed)
        root = write_maps(tmp_path / "maps", splits.train, classes=10)
        changes = {f"augment.{name}": value for name, value in augment.items()}
        return with_values(composed, {"data.token_labels": str(root), **changes}), splits

    return make


def first_group(config, splits):
    return next(iter(train_loader(config, splits, [0], World(0, 1, CPU)).epoch(0)))[0]


def test_run_with_label_maps_gets_dense_targets(volo):
    config, splits = volo(smoothing=0.1)
    raw = first_group(config, splits)
    (batch,) = Prepare(config, 10, CPU, (2, 3))([raw], START)
    fields = {"num_classes": 10, "grid": (2, 3), "smoothing": 0.1, "axes": "official"}
    expected = dense_targets(raw.maps, raw.boxes, **fields)
    assert torch.equal(batch.targets, expected[0])
    assert torch.equal(batch.token_targets, expected[1])
    assert batch.token_targets.shape == (len(raw.images), 6, 10)


def test_run_follows_the_axes_that_it_names(volo):
    config, splits = volo(label_axes="corrected")
    raw = first_group(config, splits)
    (batch,) = Prepare(config, 10, CPU, (2, 2))([raw], START)
    fields = {"num_classes": 10, "grid": (2, 2), "smoothing": config.augment.smoothing}
    corrected = dense_targets(raw.maps, raw.boxes, **fields, axes="corrected")
    official = dense_targets(raw.maps, raw.boxes, **fields, axes="official")
    assert torch.equal(batch.token_targets, corrected[1])
    assert not torch.equal(corrected[1], official[1])


def test_images_with_label_maps_are_not_augmented_again_on_the_device(volo):
    config, splits = volo(hflip=0.5)
    assert config.data.augment == "device"
    raw = first_group(config, splits)
    assert raw.images.dtype == torch.uint8
    (batch,) = Prepare(config, 10, CPU, (2, 2))([raw], START)
    normalise = LevelNormalise(mean=config.data.mean, std=config.data.std)
    assert torch.equal(batch.images, normalise(raw.images))


def test_host_augments_images_with_label_maps_whatever_the_data_says(volo):
    config, splits = volo(erasing=1.0)
    transform = train_transform(config.data, config.augment, in_memory=True)
    found = transform(splits.train.load(0), label_map(0, classes=10))
    assert found.image.shape == (3, config.data.height, config.data.width)
    assert found.erased is not None


def test_run_without_label_maps_opens_no_folder(volo):
    config, splits = volo()
    config = with_values(config, {"data.token_labels": "none"})
    raw = first_group(config, splits)
    (batch,) = Prepare(config, 10, CPU)([raw], START)
    assert raw.maps is None
    assert batch.token_targets is None
    assert batch.targets.shape == (len(raw.images), 10)


def test_label_maps_need_a_model_with_tokens(volo):
    config, _ = volo()
    with pytest.raises(ConfigError, match=r"data\.token_labels=none") as error:
        Prepare(config, 10, CPU)
    one_line(error)


def test_dry_group_has_random_maps_without_any_folder(volo):
    config, _ = volo()
    config = with_values(config, {"data.token_labels": "data/nowhere"})
    raw = noise(config, 1000, 0)
    (batch,) = Prepare(config, 1000, CPU, (14, 14))([raw], START)
    assert raw.maps.shape[1:] == (2, 5, 18, 18)
    assert batch.token_targets.shape == (config.batch.group, 196, 1000)
    assert batch.token_targets.std() > 0
    config = with_values(config, {"data.token_labels": "none"})
    assert noise(config, 1000, 0).maps is None
