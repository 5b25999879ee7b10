"""Whether all that a configuration names is there and takes its arguments, before a run starts.

Imports what the run will import; builds no network but a stem with code of one's own, and opens no
data.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from scaledrelu.config.evaluation import REPORTED
from scaledrelu.config.group import TARGET
from scaledrelu.config.openers import opener_of
from scaledrelu.config.run import RunConfig, plain
from scaledrelu.config.trust import find_builds
from scaledrelu.errors import ConfigError
from scaledrelu.runs.create import check_build, check_layer, target_of
from scaledrelu.runs.optimisation import build_fall

log = logging.getLogger(__name__)

NO_ARGUMENT = {"optimizer.build": {"weight_decay"}}  # goes into the groups of parameters
STEM_GETS = ("width", "patch_size", "image_size", "create")  # beside the fields of the group
LAYERS = ("stem.norm", "stem.act", "stem.tail")


def unresolved(config: RunConfig) -> str | None:
    """Return a line about the first name or argument that is wrong; None if there is none.

    Args:
        config: the run's configuration, whose targets may be called.
    """
    for key, build in find_builds(plain(config)):
        own = {name: value for name, value in build.items() if name not in NO_ARGUMENT.get(key, ())}
        try:
            _check(key.partition("[")[0], own)
        except ConfigError as error:
            return f"{key}: {error}"
    try:
        build_fall(config)
        _check_stem(config)
        _check_judges(config)
    except ConfigError as error:
        return str(error)
    return None


def _check(group: str, build: Mapping[str, Any]) -> None:
    """Refuse what cannot be made of a dictionary in the place that its key names."""
    (check_layer if group in LAYERS else check_build)(build)
    if group == "evaluation.build" and build[TARGET] not in REPORTED:
        from scaledrelu.runs.observe import check_evaluator  # imports what the whole run needs

        check_evaluator(build)


def _check_judges(config: RunConfig) -> None:
    """Refuse an evaluator of one's own that judges other data than the run's, where it is known."""
    opener = opener_of(config.data.build)
    if opener is not None and any(one[TARGET] not in REPORTED for one in config.evaluation.build):
        from scaledrelu.runs.observe import check_judges  # imports what the whole run needs

        check_judges(config, has_people=opener.has_people)


def _check_stem(config: RunConfig) -> None:
    """Refuse a stem of one's own that does not take what it gets, or returns the wrong map."""
    stem = config.stem
    if stem.own_class:
        target = target_of(stem.build)
        given = {name: value for name, value in stem.build.items() if name != TARGET}
        given = {"settings": given} if hasattr(target, "Settings") else given
        try:
            inspect.signature(target).bind(stem, **dict.fromkeys(STEM_GETS), **given)
        except TypeError as error:
            raise ConfigError(
                f"stem.build: {stem.build[TARGET]}: {error}; a stem is made as MyStem(stem, *, "
                f"{', '.join(STEM_GETS)})"
            ) from error
    if stem.own_code:
        from scaledrelu.runs.build import try_stem  # imports what the whole run needs

        try:
            try_stem(config)
        except ConfigError:
            raise
        except Exception as error:  # the run meets it again, and tells its line and traceback
            log.debug("the stem cannot be made: %s", error)
