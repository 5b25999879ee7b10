"""Which code a configuration may name: a ``_target_`` is called, and configurations travel.

Decides by name alone; ``runs/create.py`` looks at what the name stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scaledrelu.config.group import TARGET
from scaledrelu.errors import ConfigError

TRUSTED = (
    "scaledrelu.models",
    "scaledrelu.tasks",
    "scaledrelu.data",
    "scaledrelu.evals",
    "scaledrelu.optim",
    "torch.optim",
    "timm.optim",
)


def check_targets(config: Any, *, trust: Sequence[str] = (), where: str = "") -> None:
    """Refuse a configuration that names code outside the trusted modules, at any depth.

    Args:
        config: resolved, or a part of one.
        trust: further modules, e.g. ``["lion_pytorch"]``; only from the person who starts this,
            never from a stored configuration.
        where: the file that holds the configuration, for the error.

    Raises:
        ConfigError: naming the key, the target and what is trusted.
    """
    for one in find_untrusted(config, trust=trust):
        option = " ".join(f"--trust {module}" for module in one.to_trust)
        option = f" (scripts: {option})" if where else ""
        raise ConfigError(f"{where and f'{where}: '}{one}{option}")


@dataclass(frozen=True, slots=True)
class Untrusted:
    """A ``_target_`` that may not be called; as text, what is wrong and how to allow it.

    Attributes:
        key: dotted key of the target.
        target: what stands there.
        allowed: the modules that may be called.
        to_trust: the modules that are trusted already and those that would have to be, too.
    """

    key: str
    target: Any
    allowed: tuple[str, ...]
    to_trust: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.key}={self.target}: not trusted code; allowed: public names in "
            f"{', '.join(self.allowed)}; if you trust this code, add "
            f"trust=[{','.join(self.to_trust)}]"
        )


def find_untrusted(config: Any, *, trust: Sequence[str] = ()) -> Iterator[Untrusted]:
    """Yield every ``_target_`` of code outside the trusted modules, at any depth.

    Args:
        config: resolved, or a part of one.
        trust: further modules.
    """
    modules = (*TRUSTED, *map(str, trust))
    found = [pair for pair in find_targets(config) if not _is_trusted(pair[1], modules)]
    lacking = (str(target).rpartition(".")[0] or "<module>" for _, target in found)
    to_trust = tuple(dict.fromkeys([*map(str, trust), *lacking]))
    for key, target in found:
        yield Untrusted(key, target, modules, to_trust)


def find_targets(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, target) of every ``_target_``.

    Args:
        value: plain values of a configuration, or a part of them.
    """
    for key, build in find_builds(value):
        yield f"{key}.{TARGET}" if key else TARGET, build[TARGET]


def find_builds(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (dotted key, dictionary) of all that has a ``_target_``, outer ones first.

    Args:
        value: plain values of a configuration, or a part of them.
        path: dotted key of that part.
    """
    if isinstance(value, dict):
        if TARGET in value:
            yield path, value
        for key, item in value.items():
            yield from find_builds(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from find_builds(item, f"{path}[{number}]")


def _is_trusted(target: Any, modules: Sequence[str]) -> bool:
    """Say whether a target is a public name below one of the modules."""
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", target):
        return False
    return any(target.startswith(f"{module}.") for module in modules)
