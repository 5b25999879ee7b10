"""A method, a model and a data set that do not go together are refused before anything is made."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from scaledrelu.config.combinations import EXAMPLES, check_combination
from scaledrelu.config.compose import compose, compose_unpinned
from scaledrelu.config.evaluation import OF_PEOPLE, REPORTED
from scaledrelu.config.identity import run_id
from scaledrelu.config.model import OFFERS
from scaledrelu.config.openers import OPENERS
from scaledrelu.config.places import CONF_DIR
from scaledrelu.data.reid import ReidSplits
from scaledrelu.errors import ConfigError
from scaledrelu.runs.create import locate, parameters_of
from scaledrelu.runs.dry import dry_step
from scaledrelu.tables.composer import Composer
from tests.helpers.configs import composed, with_values
from tests.helpers.documents import conf_without_examples
from tests.helpers.options import GROUPS

SMALL = ("profile=smoke", "launch.device=cpu", "batch.group=8")
UNLABELLED = ("data.token_labels=none", "data.decoder=pil")
RETRIEVAL = "evaluation.build=[{_target_: scaledrelu.evals.retrieval.RetrievalMap}]"
NO_LOCAL = "augment.multi_crop.num_local=0"
REFUSED = [
    (
        "recipe=linear_probe model=volo_d1",
        "task.num_blocks=4: reads the class token behind each of the last blocks; VOLO-d1-224 does "
        "not allow that (model.offers=[token_logits] lacks block_tokens); choose a model that "
        "does, e.g. model=vit_small",
    ),
    (
        "recipe=dino model=volo_d1",
        "augment.multi_crop.local_size=8: shows crops of 8x8 pixels beside images of 16x16; "
        "VOLO-d1-224 does not allow that (model.offers=[token_logits] lacks image_sizes); choose",
    ),
    (
        f"recipe=dino model=volo_d1 data=market1501 {NO_LOCAL}",
        "data.image_size=32: shows crops of 32x32 pixels beside images of 32x16; VOLO-d1-224 does",
    ),
    (
        "recipe=volo model=vit_small data.token_labels=none data.decoder=pil",
        "task.token_weight=0.5: learns from logits of every token; DeiT-Small does not allow that "
        "(model.offers=[block_tokens,image_sizes] lacks token_logits); choose a model that does, "
        "e.g. model=volo_d1",
    ),
    (
        "recipe=deit data.token_labels=/maps augment.mixup=0 augment.cutmix=0",
        "data.token_labels=/maps: learns from logits of every token; DeiT-Small does not allow",
    ),
    (
        "recipe=deit data=market1501",
        "data.name=mini_market: shows other people in its queries than in its training images, "
        "so scaledrelu.evals.classification.Top1 has no classes to compare; choose a data set of "
        "classes, e.g. data=imagenet1k, or evaluation.build=[{_target_: "
        "scaledrelu.evals.retrieval.RetrievalMap}]",
    ),
    ("recipe=linear_probe data=msmt17", "so scaledrelu.evals.classification.FrozenTop1 has no"),
    ("recipe=dino data=market1501", "so scaledrelu.evals.knn.Knn has no classes to compare"),
    (
        "recipe=reid data=digits",
        "data.name=digits: has no query and gallery images, which "
        "scaledrelu.evals.retrieval.RetrievalMap needs; choose data=market1501 or data=msmt17",
    ),
    ("recipe=reid data=cifar10", "data.name=cifar10: has no query and gallery images"),
]
GO_TOGETHER = [
    ("recipe=dino", "model=volo_d1", NO_LOCAL),
    ("recipe=dino", "model=volo_d1", "augment.multi_crop.local_size=16"),
    ("recipe=dino", "data=market1501", "data.image_width=null", RETRIEVAL),
    ("recipe=deit", "data=market1501", "augment.mixup=0", RETRIEVAL),
]


def small(group: str) -> list[str]:
    """Return the options of a group that have sizes at mini, and so at smoke."""
    folder = CONF_DIR / f"profile_{group}"
    return [name for name in GROUPS[group] if (folder / f"mini_{name}.yaml").is_file()]


@pytest.mark.parametrize(("typed", "line"), REFUSED, ids=[typed for typed, _ in REFUSED])
def test_what_does_not_go_together_is_one_line_with_what_is_allowed(typed: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(["profile=smoke", *typed.split()])
    assert line in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("overrides", GO_TOGETHER, ids=" ".join)
def test_what_goes_together_by_another_field_is_allowed(overrides: tuple[str, ...]) -> None:
    assert compose_unpinned([*SMALL, *overrides]).method


@pytest.mark.parametrize("model", small("model"))
@pytest.mark.parametrize("recipe", small("recipe"))
def test_a_recipe_takes_a_step_with_every_model_that_it_is_not_refused_with(
    recipe: str, model: str
) -> None:
    overrides = [*SMALL, f"recipe={recipe}", f"model={model}", "model.drop_path=0"]
    overrides += UNLABELLED if recipe == "volo" else ()
    config = compose_unpinned(overrides, will_run=False)  # which looks at no combination
    try:
        check_combination(config)
    except ConfigError:
        with pytest.raises((AttributeError, RuntimeError)):  # nothing is refused that would work
            dry_step(config, num_classes=32)
    else:
        assert dry_step(config, num_classes=32).grad_norm > 0


@pytest.mark.parametrize("word", OFFERS)
def test_the_model_that_a_line_names_offers_what_is_asked(word: str) -> None:
    assert word in composed(f"model={EXAMPLES[word]}").model.offers


def test_a_plan_refuses_what_the_shell_refuses(tmp_path: Path) -> None:
    for typed, line in (REFUSED[0], REFUSED[-2]):
        with pytest.raises(ConfigError) as caught:
            Composer(tmp_path)(["profile=smoke", *typed.split()])
        assert line in str(caught.value)


def test_a_backbone_of_ones_own_says_what_it_offers(tmp_path: Path) -> None:
    conf = conf_without_examples(tmp_path)
    own = conf / "model" / "own.yaml"
    asked = ["model=own", "recipe=linear_probe", "profile=paper", "trust=[my]"]
    asked += ["launch=local", "precision=fp32"]
    text = "# My own.\ndefaults: [vit_small, _self_]\nlabel: Own\nbuild: {_target_: my.own}\n"
    own.write_text(f"{text}offers: []\n")
    with pytest.raises(ConfigError, match=r"Own does not allow that \(model\.offers=\[\] lacks"):
        compose_unpinned(asked, conf_dir=conf)
    own.write_text(f"{text}offers: [block_tokens]\n")
    assert compose_unpinned(asked, conf_dir=conf).model.label == "Own"


def test_what_a_model_offers_is_no_part_of_an_id() -> None:
    config = composed()
    assert run_id(with_values(config, {"model.offers": []})) == run_id(config)


def test_an_evaluator_is_of_people_if_it_asks_for_a_gallery() -> None:
    asking = [name for name in REPORTED if "gallery" in parameters_of({"_target_": name})]
    assert sorted(asking) == sorted(OF_PEOPLE)


def test_a_data_set_from_elsewhere_is_judged_where_it_is_opened() -> None:
    config = composed("recipe=reid")
    foreign = replace(config.data, build={"_target_": "my_data.open_mine"})
    check_combination(replace(config, data=foreign))
    check_combination(replace(composed("recipe=deit"), data=foreign))


def test_every_opener_of_ours_says_whether_it_shows_people() -> None:
    for name, opener in OPENERS.items():
        returned = inspect.get_annotations(locate(f"scaledrelu.data.{name}"), eval_str=True)
        assert opener.has_people == (returned["return"] is ReidSplits), name
