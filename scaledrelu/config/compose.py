"""From overrides to one validated, resolved, plain configuration of a run."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from scaledrelu.config.check import check_values
from scaledrelu.config.digest import pin_data_digest
from scaledrelu.config.overrides import check_overrides
from scaledrelu.config.schema import RunConfig
from scaledrelu.errors import ConfigError, ScaledReluError, nearest

CONF_DIR = Path(__file__).resolve().parents[2] / "conf"


def compose(overrides: Sequence[str], *, searchpath: str | None = None) -> dict[str, Any]:
    """Compose ``conf/train.yaml`` with overrides, exactly as the shell would.

    Args:
        overrides: Hydra overrides, e.g. ``["stem=conv", "lr.base=1e-3"]``.
        searchpath: folder with further groups (generated experiments).

    Raises:
        ConfigError: one line naming the key, the value and what is allowed.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException

    check_overrides(overrides, CONF_DIR)
    extra = [f"hydra.searchpath=[file://{searchpath}]"] if searchpath else []
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            composed = hydra_compose("train", overrides=[*overrides, *extra])
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error
    return finalize(composed)


def finalize(composed: DictConfig) -> dict[str, Any]:
    """Check a composed configuration against the schema, resolve it and pin the data digest.

    Raises:
        ConfigError: unknown key (with the file that holds it), wrong type, or values that clash.
    """
    try:
        typed = OmegaConf.merge(OmegaConf.structured(RunConfig), composed)
        config = OmegaConf.to_container(typed, resolve=True, throw_on_missing=True)
    except ConfigKeyError as error:
        raise ConfigError(_unknown_key(error)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from error
    check_values(config)
    pin_data_digest(config)
    return config


def _unknown_key(error: ConfigKeyError) -> str:
    """Say which key a YAML file should not have, and in which file it stands."""
    full_key = str(error.full_key or error.key)
    leaf = full_key.rsplit(".", 1)[-1]
    files = [
        str(path.relative_to(CONF_DIR.parent))
        for path in sorted(CONF_DIR.rglob("*.yaml"))
        if f"{leaf}:" in path.read_text()
    ]
    known = [f.name for f in dataclasses.fields(error.object_type or RunConfig)]
    where = f" in {', '.join(files[:3])}" if files else ""
    return (
        f"unknown key '{full_key}'{where}{nearest(leaf, known)}; "
        f"allowed here: {', '.join(known)}. Types stand in scaledrelu/config/schema.py."
    )


def one_line(error: Exception) -> str:
    """Return a library's error message as one line without its type table."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    keep = [line for line in lines if not line.startswith(("reference_type", "object_type"))]
    return "; ".join(keep) + ". See conf/ for what is allowed, or run with --cfg job."


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Print what a user can fix as one line and exit 2; let bugs keep their traceback."""
    from hydra.errors import HydraException

    try:
        yield
    except ScaledReluError as error:
        message = str(error)
    except (HydraException, OmegaConfBaseException) as error:
        message = one_line(error)
    else:
        return
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
