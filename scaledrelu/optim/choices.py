"""The closed sets of words that a schedule understands."""

from __future__ import annotations

from enum import StrEnum

from scaledrelu.errors import ConfigError, nearest


class ScheduleUnit(StrEnum):
    """How often the rate changes: once per epoch of the run (DeiT), or at every step."""

    EPOCH = "epoch"
    STEP = "step"


class WarmupShape(StrEnum):
    """How the rate rises; ``none`` starts at the peak (recipes A.4, H37)."""

    LINEAR = "linear"
    NONE = "none"


class CosineSpan(StrEnum):
    """What the cosine spans: the whole schedule (DeiT, VOLO), or what the warm-up leaves (DINO)."""

    WHOLE = "whole"
    AFTER_WARMUP = "after_warmup"


def check_choice(key: str, value: str, choices: type[StrEnum]) -> None:
    """Refuse a word that is not in its closed set.

    Raises:
        ConfigError: naming the key, the allowed words and the nearest.
    """
    names = [choice.value for choice in choices]
    if value not in names:
        hint = nearest(value, names)
        raise ConfigError(f"{key} is '{value}'; allowed: {', '.join(names)}{hint}.")
