"""What a run needs and this machine lacks, found before a process is started for it.

Only what a first look shows: folders and files that are not there, a damaged pack, class folders of
one split alone or without images, a single class where classes are told apart, too few images for
one update, a precision that the device does not have, a run to start from that has no weights for
this one. Lists no more images of a folder than that takes, imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scaledrelu.config.artifacts import data_root, label_folder
from scaledrelu.config.data import MADE
from scaledrelu.config.enough import check_images
from scaledrelu.config.first_look import find_labels, find_weights
from scaledrelu.config.openers import downloads, look_at_data, opener_of
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import ConfigError, ScaledReluError
from scaledrelu.runs.upstream import check_upstream


def lacking_here(config: RunConfig) -> list[str]:
    """Return what keeps a run from being trained by this process, in a line each."""
    return [*lacking_device(config), *lacking_files(config, made=True, known={})]


def lacking_device(config: RunConfig) -> list[str]:
    """Return a line if the device that a run would take here cannot train in its precision."""
    try:
        config.refuse_fp16_on_cpu(on_cpu=not config.launch.takes_gpu)
    except ConfigError as error:
        return [str(error)]
    return []


def lacking_files(config: RunConfig, *, made: bool, known: dict[str, str | None]) -> list[str]:
    """Return a line for each of images, weights and label maps that a run cannot be trained with.

    They are not on this machine, or too few, or of another network.

    Args:
        config: the run's configuration.
        made: whether what a plan makes before the run has to be there already: generated images,
            label maps, and the run that it starts from.
        known: what was found so far, by the data, the groups of an update and how a run is judged;
            filled in, so that a plan of many runs looks at the same images once.
    """
    update = (config.batch, config.num_groups, config.augment.repeats)
    key = repr((config.data, update, config.evaluation.counts_right_classes))
    if key not in known:
        known[key] = _refusal(_look_at_images, config, made)
    others = (_refusal(look, config, made) for look in (_look_at_weights, _look_at_labels))
    return [line for line in (known[key], *others) if line]


def lacking_download(config: RunConfig) -> list[str]:
    """Return a line if a run lacks images that it downloads when it starts."""
    data, opener = config.data, opener_of(config.data.build)
    if opener is None or not opener.downloads or _refusal(_look_at_images, config, False):
        return []
    if data.root is None or not downloads(data.build, Path(data.root)):
        return []
    return [f"{data.root}: CIFAR-10 is not there; the first run that starts downloads its 170 MB"]


def _refusal(look: Callable[[RunConfig, bool], None], config: RunConfig, made: bool) -> str | None:
    try:
        look(config, made)
    except ScaledReluError as error:
        return str(error)
    except OSError as error:  # a folder around it that may not be entered
        return (
            f"{error.filename}: cannot be looked at ({error.strerror}); check that you may read it"
        )
    return None


def _look_at_images(config: RunConfig, made: bool) -> None:
    data = config.data
    if opener_of(data.build) is None or (data.root == MADE and not made):
        return
    if data.root is not None:
        look_at_data(data.build, Path(str(data_root(config))))
    check_images(config)


def _look_at_weights(config: RunConfig, made: bool) -> None:
    if config.init.kind == "checkpoint":
        find_weights(str(config.init.path))
    elif config.init.kind == "run" and made:
        check_upstream(config)


def _look_at_labels(config: RunConfig, made: bool) -> None:
    data = config.data
    if data.has_labels and (data.token_labels != MADE or made):
        find_labels(label_folder(config))
