"""What the run that a row starts from has of its row: the backbone, and the data set.

A pre-training on other images than those of its rows would be trained without a word, so it takes
theirs unless the table names others for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from scaledrelu.config.evaluation import OF_PEOPLE
from scaledrelu.config.group import TARGET
from scaledrelu.config.run import RunConfig
from scaledrelu.tables.composer import Compose
from scaledrelu.tables.spec import merge_overrides

GROUPS_OF_A_BACKBONE = ("model", "stem", "ffn")  # a run has them from the run it starts from
CHOOSES_A_SET = ("data", "data.root", "data.name", "data.build")
# Not what a portion (Table 7), a recipe or a profile decides: fraction, augment, decoder, ...
OF_A_SET = (
    *CHOOSES_A_SET,
    *("data.num_classes", "data.image_size", "data.image_width", "data.mean", "data.std"),
    "data.on_bad_image",
)


def overrides_of_start(
    compose: Compose,
    own: Sequence[str],
    config: RunConfig,
    *,
    upstream: Sequence[str],
    profile: Sequence[str],
) -> tuple[str, ...]:
    """Return the overrides of the run that a row starts from, without its profile.

    It trains on the row's data set where the table chooses one for the row and none for this run,
    unless its recipe is for data of another kind: classes are pre-trained on, people re-identified.

    Args:
        compose: overrides -> composed config.
        own: overrides of the row.
        config: the configuration that they compose to.
        upstream: what the table says of the run that the row starts from.
        profile: the override that chooses it.
    """
    start = merge_overrides(filter(_is_of_backbone, own), upstream)
    if not _choose_a_set(own) or _choose_a_set(upstream):
        return start
    alone = compose.unpinned(merge_overrides(start, profile)).config
    if _judges_people(alone) != _judges_people(config):
        return start
    return merge_overrides((item for item in own if _field(item) in OF_A_SET), start)


def _is_of_backbone(override: str) -> bool:
    return _field(override).partition(".")[0] in GROUPS_OF_A_BACKBONE


def _choose_a_set(overrides: Sequence[str]) -> bool:
    return any(_field(item) in CHOOSES_A_SET for item in overrides)


def _field(override: str) -> str:
    """Return the key of an override down to a field of a group: ``data.build.val`` is of build."""
    return ".".join(override.partition("=")[0].split(".")[:2])


def _judges_people(config: RunConfig) -> bool:
    return any(one[TARGET] in OF_PEOPLE for one in config.evaluation.build)
