"""What the run that a row starts from has of its row."""

import pytest

from scaledrelu.tables.composer import Composer
from scaledrelu.tables.starts import overrides_of_start

OWN = ("data=imagefolder", "data.root=/flowers", "data.name=flowers")
PEOPLE = ("recipe=reid", "data=market1501", "data.name=own_people", "data.root=/people")
PROFILES = pytest.mark.parametrize("profile", ["smoke", "mini", "small", "paper", "official"])


@pytest.fixture(scope="module")
def compose(composed_before):
    composer = Composer(composed_before)
    yield composer
    composer.save()


def start(compose, row, upstream=("recipe=dino",), profile="mini"):
    chosen = (f"profile={profile}",)
    config = compose.unpinned((*row, *chosen)).config
    return overrides_of_start(compose, row, config, upstream=upstream, profile=chosen)


@PROFILES
def test_an_upstream_run_has_the_backbone_and_the_data_set_of_its_row(compose, profile):
    sizes = ("data.image_size=32", "data.mean=[0.5, 0.5, 0.5]", "data.build.val=held_out")
    row = ("recipe=linear_probe", "stem=conv", "model.drop_path=0.2", "lr.base=1", *OWN, *sizes)
    found = start(compose, row, profile=profile)
    assert set(found) == {"stem=conv", "model.drop_path=0.2", *OWN, *sizes, "recipe=dino"}
    data = compose.unpinned((*found, f"profile={profile}")).config.data
    assert (data.name, data.root, data.size) == ("flowers", "/flowers", 32)


@pytest.mark.parametrize(
    "own",
    ["data.fraction=0.1", "data.augment=device", "data.decoder=pil", "data.token_labels=none"],
)
def test_what_is_not_the_data_set_stays_with_the_row(compose, own):
    assert set(start(compose, (*OWN, own))) == {*OWN, "recipe=dino"}
    assert start(compose, (own,)) == ("recipe=dino",)


def test_a_size_alone_chooses_no_data_set(compose):
    assert start(compose, ("data.image_size=32",)) == ("recipe=dino",)


@pytest.mark.parametrize("named", ["data=digits", "data.root=/elsewhere", "data.build.val=test"])
def test_an_upstream_run_that_names_a_data_set_takes_nothing_of_its_rows(compose, named):
    assert start(compose, OWN, ("recipe=dino", named)) == ("recipe=dino", named)


def test_an_upstream_run_says_more_of_its_rows_data_set(compose):
    more = ("data.image_size=32", "data.fraction=0.5")
    found = start(compose, (*OWN, "data.image_size=64"), ("recipe=dino", *more))
    assert set(found) == {*OWN, "recipe=dino", *more}


@PROFILES
def test_pre_training_for_people_stays_on_the_images_of_the_profile(compose, profile):
    assert start(compose, PEOPLE, profile=profile) == ("recipe=dino",)
    people = ("recipe=reid", "lr.base=1e-3")
    assert set(start(compose, PEOPLE, people, profile)) == {*PEOPLE[1:], *people}


def test_people_of_an_opener_from_elsewhere_are_no_images_to_pre_train_on(compose):
    foreign = (*PEOPLE, "data.build={_target_: my.open_people}")
    assert start(compose, foreign) == ("recipe=dino",)
