"""Which code a configuration may name: a ``_target_`` is called, and configurations travel.

Decides by name alone; ``runs/create.py`` looks at what the name stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
    modules = (*TRUSTED, *map(str, trust))
    for key, target in find_targets(config):
        if not _is_trusted(target, modules):
            module = str(target).rpartition(".")[0] or "<module>"
            raise ConfigError(
                f"{where and f'{where}: '}{key}={target}: not trusted code; allowed: public "
                f"names in {', '.join(modules)}; if you trust this code, add trust=[{module}]"
                f"{f' (scripts: --trust {module})' if where else ''}"
            )


def find_targets(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, target) of every ``_target_``.

    Args:
        value: plain values of a configuration, or a part of them.
        path: dotted key of that part.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            below = f"{path}.{key}" if path else str(key)
            if key == TARGET:
                yield below, item
            yield from find_targets(item, below)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from find_targets(item, f"{path}[{number}]")


def _is_trusted(target: Any, modules: Sequence[str]) -> bool:
    """Say whether a target is a public name below one of the modules."""
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", target):
        return False
    return any(target.startswith(f"{module}.") for module in modules)
