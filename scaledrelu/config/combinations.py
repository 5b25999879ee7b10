"""Which methods, models and data sets go together, as far as a configuration alone tells.

Looked at where a run is composed, not where a stored one is read: a run that was trained before
there was such a rule can still be read.
"""

from __future__ import annotations

from scaledrelu.config.data import DataConfig
from scaledrelu.config.evaluation import OF_PEOPLE, REPORTED
from scaledrelu.config.group import TARGET, require, typed
from scaledrelu.config.model import BLOCK_TOKENS, IMAGE_SIZES, TOKEN_LOGITS
from scaledrelu.config.openers import opener_of
from scaledrelu.config.run import RunConfig

# For the line of an error: a model that offers it.
EXAMPLES = {BLOCK_TOKENS: "vit_small", IMAGE_SIZES: "vit_small", TOKEN_LOGITS: "volo_d1"}


def check_combination(config: RunConfig) -> None:
    """Refuse a model that lacks what the method asks of it, and evaluators of other data.

    Args:
        config: a run's configuration.

    Raises:
        ConfigError: one line naming the key, what is asked and what is allowed.
    """
    _check_tokens(config)
    _check_crops(config)
    opener = opener_of(config.data.build)
    for build in config.evaluation.build if opener is not None else ():
        name = build[TARGET]
        judges_people = name in OF_PEOPLE if name in REPORTED else None
        check_judged(name, config.data, judges_people=judges_people, has_people=opener.has_people)


def check_judged(
    evaluator: str, data: DataConfig, *, judges_people: bool | None, has_people: bool
) -> None:
    """Refuse to look for people where there are none, and to compare the classes of people.

    Args:
        evaluator: name of its class.
        data: the data set.
        judges_people: whether the evaluator looks people up in a gallery (True) or compares classes
            (False); None = neither.
        has_people: whether the data set has queries and a gallery, of people that are not among the
            training images.

    Raises:
        ConfigError: one line naming the data set and the evaluator.
    """
    require(
        not judges_people or has_people,
        f"data.name={data.name}: has no query and gallery images, which {evaluator} needs; choose "
        "data=market1501 or data=msmt17",
    )
    require(
        judges_people is not False or not has_people,
        f"data.name={data.name}: shows other people in its queries than in its training images, so "
        f"{evaluator} has no classes to compare; choose a data set of classes, e.g. "
        f"data=imagenet1k, or evaluation.build=[{{{TARGET}: {OF_PEOPLE[0]}}}]",
    )


def _check_tokens(config: RunConfig) -> None:
    """Refuse a model without the tokens that the method reads or learns from."""
    task, labels = config.task, config.data.token_labels
    if "num_blocks" in task:
        reads = "reads the class token behind each of the last blocks"
        _check_offer(config, BLOCK_TOKENS, f"task.num_blocks={task['num_blocks']}: {reads}")
    learns = "learns from logits of every token"
    if "token_weight" in task:
        _check_offer(config, TOKEN_LOGITS, f"task.token_weight={task['token_weight']}: {learns}")
    if config.data.has_labels:
        _check_offer(config, TOKEN_LOGITS, f"data.token_labels={labels}: {learns}")


def _check_crops(config: RunConfig) -> None:
    """Refuse crops of another size than the images that the model is built for, if it takes none.

    Crops are squares: the global ones of ``data.image_size``, whatever the width of the images.
    """
    data, crops = config.data, config.augment.multi_crop
    if crops is None:
        return
    sides = {"data.image_size": data.image_size}
    sides |= {"augment.multi_crop.local_size": crops.local_size} if crops.num_local else {}
    for key, side in sides.items():
        if (side, side) != (data.height, data.width):
            shows = f"shows crops of {side}x{side} pixels beside images of {data.height}x"
            _check_offer(config, IMAGE_SIZES, f"{key}={side}: {shows}{data.width}")


def _check_offer(config: RunConfig, offer: str, asked: str) -> None:
    model = config.model
    require(
        offer in model.offers,
        f"{asked}; {model.label} does not allow that (model.offers={typed(model.offers)} lacks "
        f"{offer}); choose a model that does, e.g. model={EXAMPLES[offer]}",
    )
