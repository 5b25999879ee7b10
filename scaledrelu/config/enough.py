"""Whether there are images enough for one update, and classes to tell apart, in a data set.

Looks at class folders, and at what a library brings; lists no more than that takes. Other data sets
are not there before they are made, or have an order of their own. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from scaledrelu.config.artifacts import data_root
from scaledrelu.config.batch import SELECTED, TooFewImagesError, steps_per_epoch
from scaledrelu.config.data import OWN_OPENERS
from scaledrelu.config.first_look import split_of
from scaledrelu.config.group import TARGET
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import ConfigError, DataError
from scaledrelu.inputs.listing import class_names, class_sizes
from scaledrelu.inputs.pack import pack_of, read_pack

CLASS_FOLDERS = f"{OWN_OPENERS}datasets.open_image_folder"


def check_images(config: RunConfig) -> None:
    """Refuse a data set with too few images for one update, or one class where they are told apart.

    Args:
        config: the run's configuration; its folder, if it has one, is there.

    Raises:
        ConfigError: naming both numbers, and a batch that they are enough for.
        DataError: naming the only class; a folder that cannot be listed, or a damaged pack.
    """
    data = config.data
    if data.build.get(TARGET) == CLASS_FOLDERS:
        folder = Path(str(data_root(config))) / split_of(data.build, "train")
        pack = pack_of(folder)
        counts = None if pack is None else read_pack(pack).counts
        if config.evaluation.counts_right_classes:
            names = class_names(folder) if counts is None else counts
            _check_several(pack or folder, list(names))
        if config.batch.instances is None:
            sizes = class_sizes(folder) if counts is None else counts.values()
            _check_enough(config, _number(config, sizes))
    elif config.batch.instances is None and data.root is None and data.build.get("expect"):
        published = data.build["expect"]
        # data.subset rounds in each class, and keeps at least one image of it.
        number = round(data.fraction * published["train"]) + published["classes"]
        said = "" if data.fraction == 1 else "at most "
        _check_enough(config, min(number, published["train"]), said=said)


def _check_several(place: Path, names: Sequence[str]) -> None:
    """Refuse class folders with one class, of which top-1 is always 100."""
    if len(names) == 1:
        raise DataError(
            f"{place}: holds one class only ({names[0]}), of which top-1 is always 100; "
            "classes are the folders directly in it: arrange folders so, or set data.root, or "
            "data.build.train and data.build.val, to where they are"
        )


def _check_enough(config: RunConfig, number: int, *, said: str = "") -> None:
    try:
        steps_per_epoch(
            number,
            num_groups=config.num_groups,
            group_size=config.batch.group,
            repeats=config.augment.repeats,
        )
    except TooFewImagesError as error:
        raise ConfigError(f"{said}{error.found}; {_advice(config, error.usable)}") from error


def _advice(config: RunConfig, usable: int) -> str:
    """Return what changes anything: a batch of 2, 4, 8 ... a process, and what is not set yet."""
    share, processes = usable // config.launch.nproc, config.launch.nproc
    group = min(config.batch.group, 1 << max(share.bit_length() - 1, 0))
    total = round(group * processes / config.profile.batch_scale)
    ways = [f"set batch.total={total} batch.group={group}"] if total and 2 <= group <= share else []
    ways += ["raise data.fraction"] if config.data.fraction < 1 else []
    ways += ["set augment.repeats=1"] if config.augment.repeats > 1 else []
    return ", or ".join([*ways, "use more images"])


def _number(config: RunConfig, sizes: Iterable[int]) -> int:
    """Return the number of images that are trained on, or one that is large enough."""
    enough = config.num_groups * config.batch.group + SELECTED
    fraction, number = config.data.fraction, 0
    for size in sizes:
        number += size if fraction == 1 else max(1, round(fraction * size))  # as data.subset keeps
        if number >= enough:
            break
    return number
