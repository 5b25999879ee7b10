"""The one place that turns a ``_target_`` into an object."""

from __future__ import annotations

import inspect
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate


def create(build: Any, *args: Any, **fields: Any) -> Any:
    """Call what ``build["_target_"]`` names; its own error comes out, not Hydra's wrapper of it."""
    try:
        return instantiate(build, *args, **fields)
    except InstantiationException as error:
        raise (error.__cause__ or error) from None


def parameters_of(build: Any) -> set[str]:
    """Return the names that what ``build["_target_"]`` names takes as arguments."""
    return set(inspect.signature(target_of(build)).parameters)


def target_of(build: Any) -> Any:
    """Return what ``build["_target_"]`` names: a class or a function."""
    return get_object(build["_target_"])
