"""The one place that turns a ``_target_`` into an object."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate


def create(build: Any, *args: Any, **fields: Any) -> Any:
    """Call what ``build["_target_"]`` names; its own error comes out, not Hydra's wrapper of it."""
    try:
        return instantiate(build, *args, **fields)
    except InstantiationException as error:
        raise (error.__cause__ or error) from None
