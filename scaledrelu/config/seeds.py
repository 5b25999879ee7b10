"""Seeds of a table or figure: one list, or one per profile, whose runs cost seconds or days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaledrelu.config.options import options_of
from scaledrelu.config.ranges import SEED
from scaledrelu.errors import nearest

DEFAULT = "default"
ALLOWED = (
    f"must be different whole numbers in {SEED.interval}, or {{{DEFAULT}: <such a list>, "
    "<profile>: <such a list>}"
)


@dataclass(frozen=True, slots=True)
class Seeds:
    """Which seeds a table has.

    Attributes:
        default: of every profile that is not named.
        at_profile: profile -> its own.
    """

    default: tuple[int, ...]
    at_profile: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def at(self, profile: str) -> tuple[int, ...]:
        """Return the seeds of a profile, an option of ``conf/profile``."""
        return self.at_profile.get(profile, self.default)


def seeds_of(value: Any) -> Seeds | None:
    """Return the seeds that a file names; None for what is not :data:`ALLOWED`.

    Args:
        value: what stands behind ``seeds:``.
    """
    lists = value if isinstance(value, Mapping) else {DEFAULT: value}
    if DEFAULT not in lists or not all(map(_are_seeds, lists.values())):
        return None
    found = {str(name): tuple(seeds) for name, seeds in lists.items()}
    return Seeds(found.pop(DEFAULT), found)


def unknown_profile(names: Iterable[str], conf_dir: Path) -> str | None:
    """Return one line about the first name that is not a profile; None if all are.

    Args:
        names: what a file calls profiles.
        conf_dir: the configuration tree.
    """
    allowed = options_of(conf_dir, "profile")
    for name in names:
        if name not in allowed:
            return f"no profile '{name}'{nearest(name, allowed)}; allowed: {', '.join(allowed)}"
    return None


def _are_seeds(found: Any) -> bool:
    if not isinstance(found, list) or not found:
        return False
    whole = all(isinstance(seed, int) and SEED.holds(seed) for seed in found)
    return whole and len(set(found)) == len(found)
