"""The one place that turns a ``_target_`` into an object."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping
from importlib import import_module
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from scaledrelu.config.group import TARGET
from scaledrelu.config.trust import find_targets
from scaledrelu.errors import ConfigError, nearest

CHANNELS = ("channels", "num_channels", "num_features")  # arguments that take their number


def create(build: Mapping[str, Any], *args: Any, **fields: Any) -> Any:
    """Call what ``build["_target_"]`` names; its own error is raised, not Hydra's wrapper of it.

    A class with many numbers has a dataclass ``Settings``, which takes the arguments of ``build``
    and is passed on as ``settings``.

    Args:
        build: the target and its own arguments.
        args: positional arguments of the call.
        fields: further keyword arguments.

    Raises:
        ConfigError: a target that is not what its name says, or arguments that it does not take.
    """
    for _, target in find_targets(build):
        locate(target)
    check_build(build, fields)
    target = target_of(build)
    if hasattr(target, "Settings"):
        own = {name: value for name, value in build.items() if name != TARGET}
        return target(*args, settings=target.Settings(**own), **fields)
    try:
        call = instantiate(dict(build), _partial_=True, _convert_="all")
    except InstantiationException as error:
        raise (error.__cause__ or error) from None
    return call(*args, **fields)


def create_layer(build: Mapping[str, Any], channels: int) -> nn.Module:
    """Make a norm or an activation for feature maps.

    The number of channels goes to the argument that is not given and has no default, or one of the
    names in ``CHANNELS``; a class without such an argument, e.g. ``torch.nn.SiLU``, gets none.

    Args:
        build: the class and its own arguments.
        channels: C, of the maps that the layer sees.

    Raises:
        ConfigError: as :func:`create`; not a class of layers, or several arguments are left.
    """
    check_layer(build)
    lacking = _lacking(build)
    if lacking and lacking[0].kind in (Parameter.VAR_POSITIONAL, Parameter.POSITIONAL_ONLY):
        return create(build, channels)
    return create(build, **{one.name: channels for one in lacking})


def check_layer(build: Mapping[str, Any]) -> None:
    """Refuse what :func:`create_layer` cannot make.

    Raises:
        ConfigError: naming what is wrong.
    """
    target = target_of(build)
    if not (inspect.isclass(target) and issubclass(target, nn.Module)):
        raise ConfigError(
            f"_target_={build[TARGET]}: is not a layer; name a subclass of torch.nn.Module"
        )
    check_build(build)
    if len(lacking := _lacking(build)) > 1:
        raise ConfigError(
            f"{build[TARGET]}: needs {', '.join(one.name for one in lacking)}; give all but the "
            "one that takes the number of channels"
        )


def _lacking(build: Mapping[str, Any]) -> list[Parameter]:
    """Return the arguments of a layer that are not given and have no default, or take channels."""
    target = target_of(build)
    if target.__init__ is nn.Module.__init__:  # it takes no arguments, whatever its signature says
        return []
    found = [
        one
        for one in inspect.signature(target).parameters.values()
        if (one.default is Parameter.empty or one.name in CHANNELS)
        and one.kind is not Parameter.VAR_KEYWORD
        and one.name not in (*build, "settings")  # which create() makes of the others
    ]
    named = [one for one in found if one.kind is not Parameter.VAR_POSITIONAL]
    return named or found


def parameters_of(build: Any) -> set[str]:
    """Return the argument names of what ``build["_target_"]`` names."""
    return set(inspect.signature(target_of(build)).parameters)


def target_of(build: Any) -> Any:
    """Return what ``build["_target_"]`` names: a class or a function."""
    return locate(build[TARGET])


def locate(target: str) -> Any:
    """Return the class or function of a dotted name.

    A trusted name must not lead elsewhere: ``torch.optim.adam.torch.load`` is reached by way of a
    module that ``torch.optim.adam`` happens to import, and is not part of it.

    Raises:
        ConfigError: there is no such thing, or it comes from another package than its name says.
    """
    parts, found = target.split("."), None
    name = part = parts[0]
    try:
        found = import_module(name)
        for end, part in enumerate(parts[1:], start=2):
            name = ".".join(parts[:end])
            found = getattr(found, part) if hasattr(found, part) else import_module(name)
            if isinstance(found, ModuleType) and found.__name__ != name:
                above = ".".join(parts[: end - 1])
                raise ConfigError(f"_target_={target}: {found.__name__} is not part of {above}")
    except ConfigError:
        raise
    except Exception as error:
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == name
        wrong = _not_found(found, part) if is_absent else _not_imported(name, error)
        raise ConfigError(f"_target_={target}: {wrong}") from error
    home = getattr(found, "__module__", None) or ""
    if not callable(found) or home.split(".")[0] != parts[0]:
        raise ConfigError(
            f"_target_={target}: is not a class or function of {parts[0]} "
            f"(found {type(found).__name__}{f' of {home}' if home else ''}); name it where it is "
            "defined"
        )
    return found


def _not_found(around: Any, part: str) -> str:
    """Return that a name leads nowhere, and the nearest name that does."""
    if around is None:
        return f"no such class or function (No module named '{part}')"
    known = [name for name in vars(around) if name[0] != "_"]
    return f"no such class or function{nearest(part, known)}"


def _not_imported(module: str, error: Exception) -> str:
    """Return what went wrong in a module, and where; an error of syntax says that itself."""
    told = f"{type(error).__name__}: {error}"
    if not isinstance(error, SyntaxError):
        last = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{Path(last.filename).name}, line {last.lineno}: {told}"
    return f"{module} cannot be imported ({told})"


def check_build(build: Mapping[str, Any], fields: Mapping[str, Any] | None = None) -> None:
    """Refuse a name that leads nowhere, and arguments that what it names does not take.

    Args:
        build: the target and its own arguments.
        fields: arguments that the run itself gives.

    Raises:
        ConfigError: naming the target and the argument.
    """
    target, fields = target_of(build), fields or {}
    settings = getattr(target, "Settings", None)
    parameters = inspect.signature(settings or target).parameters
    free = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    for name in map(str, build):
        if name in fields:
            raise ConfigError(f"{build[TARGET]}: '{name}' is set by the run itself; leave it out")
        if not (name.startswith("_") or free or name in parameters):
            raise ConfigError(
                f"{build[TARGET]}: has no argument '{name}'{nearest(name, parameters)}; "
                f"allowed: {', '.join(parameters)}"
            )
    lacking = [name for name in parameters if settings and name not in build]
    if lacking:
        raise ConfigError(f"{build[TARGET]}: needs {', '.join(lacking)}; add these arguments")
