import shutil
from itertools import cycle

import pytest

from scaledrelu.config import digest, hydra_tree
from scaledrelu.config.compose import compose, compose_unpinned, from_values
from scaledrelu.config.identity import run_id
from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import ConfigError
from scaledrelu.tables.composer import Composer
from tests.helpers.options import GROUPS, own_code


@pytest.fixture
def images(tmp_path):
    for split in ("train", "val"):
        for name in ("a", "b"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            (folder / "0.png").write_bytes(b"x")
    return tmp_path / "images"


@pytest.fixture
def planned(images, tmp_path):
    """A function that gives a run's id as the next command would plan it."""
    overrides = ["data=imagefolder", f"data.root={images}"]

    def plan():
        composer = Composer(tmp_path / "results")
        found = run_id(composer(overrides).config)
        composer.save()
        assert found == run_id(compose([*overrides, f"paths.results={tmp_path / 'job'}"]))
        return found

    return plan


def by_hydra(overrides, conf_dir=CONF_DIR):
    """The configuration that Hydra composes at once, without any of our short cuts."""
    return from_values(hydra_tree.compose_tree(overrides, conf_dir).resolved(), conf_dir=conf_dir)


def add(images):
    (images / "train" / "a" / "1.png").write_bytes(b"y")


def remove(images):
    (images / "val" / "b" / "0.png").unlink()


def overwrite(images):
    (images / "train" / "b" / "0.png").write_bytes(b"longer")


@pytest.mark.parametrize("change", [add, remove, overwrite])
def test_cached_plan_follows_the_data(planned, images, change):
    before = planned()
    assert planned() == before
    change(images)
    assert planned() != before


def test_one_plan_looks_at_the_files_once(images, tmp_path, monkeypatch):
    looks = []
    look = digest.data_parts
    monkeypatch.setattr(digest, "data_parts", lambda *of: looks.append(of) or look(*of))
    composer = Composer(tmp_path / "results")
    for seed in range(3):
        composer(["data=imagefolder", f"data.root={images}", f"seed={seed}"])
    assert len(looks) == 1


def test_data_that_appears_after_the_plan_was_cached_is_seen(planned, images):
    images.rename(images.with_name("away"))
    before = planned()
    images.with_name("away").rename(images)
    assert planned() != before


VALUES = [
    "lr.base=1e-3",
    "warmup.epochs=20",
    "stem.strides=[2,2,2]",
    "stem.proj_kernel=8",
    "model.label='DINO-S/16 100 epoch'",
    "model.label=VOLO-d1",
    "augment.rand_augment=null",
    "augment.hflip=1",
    "optimizer.build={weight_decay: 0.1}",
    "optimizer.sam.rho=0.2",
    "data.build.expect={train: 3}",
    "seed=3",
]


def test_values_are_set_as_hydra_sets_them(tmp_path):
    composer = Composer(tmp_path)
    options = ["optimizer=sam", "profile=mini"]
    for extra in (VALUES[:5], VALUES[5:]):
        fresh = by_hydra([*options, *extra])
        assert composer.unpinned([*options, *extra]).config == fresh, extra
        assert compose_unpinned([*options, *extra]) == fresh, extra


def test_rows_that_differ_in_values_only_share_one_composition(tmp_path, monkeypatch):
    asked = []
    tree = hydra_tree.compose_tree
    monkeypatch.setattr(hydra_tree, "compose_tree", lambda o, c: asked.append(o) or tree(o, c))
    composer = Composer(tmp_path)
    rates = [composer([f"lr.base={lr}", "stem=conv"]).config.lr.base for lr in (1e-4, 2e-4)]
    assert rates == [1e-4, 2e-4]
    assert asked == [("~stem",)]


def said_or_made(compose, overrides):
    """Return what a command line makes, or what is said of it."""
    try:
        return compose(overrides)
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize(
    "overrides",
    [
        ["ema={decay: 0.9}", "ema.decay=0.8"],
        ["ema.decay=0.8", "ema={decay: 0.9}"],
        ["optimizer.build.amsgrad=false", "+optimizer.build.amsgrad=true"],
        ["~optimizer.build.fused", "optimizer.build.fused=true"],
        ["seed=4", "stem.act=gelu", "stem=conv", "lr.base=1", "seed=5", "lr.base=2"],
        ["stem=conv", "lr.base=1", "stem=conv_bn"],
        ["ffn=mlp_relu", "stem=conv_bn", "ffn=conv1d", "stem=conv"],
        ["optimizer=sam", "optimizer=adamw", "optimizer.build.weight_decay=0.1"],
        ["recipe=dino", "recipe=deit", "profile=small", "profile=mini"],
    ],
    ids=" ".join,
)
def test_a_command_line_means_what_hydra_says_whatever_its_order(overrides):
    assert said_or_made(compose_unpinned, overrides) == said_or_made(by_hydra, overrides)


def test_an_edited_file_is_composed_anew(tmp_path):
    conf = shutil.copytree(CONF_DIR, tmp_path / "conf")
    path = conf / "stem" / "conv.yaml"
    text = path.read_text()
    for label in ("ViT_a", "ViT_b"):  # of the same length, perhaps within a tick of the clock
        path.write_text(text.replace("ViT_c", label))
        assert compose_unpinned(["stem=conv"], conf_dir=conf).stem.label == label


FRAMES = [["recipe=volo", "profile=small"], ["recipe=reid"], ["recipe=dino", "profile=paper"]]
APART = [[f"stem={s}", f"ffn={f}"] for s, f in zip(GROUPS["stem"], cycle(GROUPS["ffn"]))]
APART += [["init=run", "init.run=deit-0123456789ab", "ffn=mlp_relu"]]


@pytest.fixture(scope="module")
def composer(tmp_path_factory):
    return Composer(tmp_path_factory.mktemp("composer"))


@pytest.mark.parametrize(("options", "frame"), list(zip(APART, cycle(FRAMES))), ids=str)
def test_options_put_in_afterwards_make_what_hydra_makes(composer, options, frame):
    asked = [*frame, *options, *own_code(*options)]
    found = composer.unpinned(asked)
    assert found.config == by_hydra(asked)
    assert found.config == compose_unpinned(asked)
    assert found.choices["ffn"] == options[-1].partition("=")[2]


def test_an_option_that_reaches_beyond_its_group_is_left_to_hydra(tmp_path):
    conf = shutil.copytree(CONF_DIR, tmp_path / "conf")
    (conf / "stem" / "own.yaml").write_text(
        "# @package _global_\ndefaults: [conv@stem, _self_]\nstem: {hidden: 24}\nlr: {base: 0.5}\n"
    )
    overrides = ["stem=own", "profile=mini"]
    found = Composer(tmp_path, conf_dir=conf).unpinned(overrides).config
    assert found == by_hydra(overrides, conf)
    assert found == compose_unpinned(overrides, conf_dir=conf)


def test_a_recipe_that_chooses_its_stem_is_left_to_hydra(tmp_path):
    conf = shutil.copytree(CONF_DIR, tmp_path / "conf")
    recipe = conf / "recipe" / "deit.yaml"
    recipe.write_text(
        recipe.read_text().replace("  - _base\n", "  - _base\n  - override /stem: conv\n", 1)
    )
    for overrides in (["profile=mini"], ["profile=mini", "stem=conv_bn"]):
        found = Composer(tmp_path, conf_dir=conf).unpinned(overrides)
        assert found.config == by_hydra(overrides, conf)
        assert found.config == compose_unpinned(overrides, conf_dir=conf)
        assert found.config.stem.strides == (2, 1, 1)


@pytest.mark.parametrize("value", ["lr.base=fast", "lr.base=[1,2]", "optimizer.sam.rho=0.1"])
def test_a_value_that_does_not_fit_is_one_line(tmp_path, value):
    with pytest.raises(ConfigError) as error:
        Composer(tmp_path)([value, "profile=mini"])
    assert "\n" not in str(error.value)


def test_an_argument_that_a_row_cannot_add_is_said_in_plain_words(tmp_path):
    with pytest.raises(ConfigError, match=r"^optimizer.build: no such key 'xxx'; allow") as caught:
        Composer(tmp_path)(["stem=conv", "optimizer.build.xxx=true"])
    assert str(caught.value).endswith("; to add an argument set all of optimizer.build")
