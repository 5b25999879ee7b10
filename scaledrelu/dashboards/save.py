"""Saves the views at W&B, each over the one that was saved before: by name, not by what is on disk.

A workspace has an internal name of our choice, a report is found by its title; so another checkout
or another machine updates the same views.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from scaledrelu.dashboards.views import Where, report, workspace
from scaledrelu.errors import ConfigError, RunError
from scaledrelu.tables.plan import Plan

EXTRA = "wandb_workspaces"
ANY_HOST = "https://wandb.ai"  # of an address that is only taken apart; the key says which server


def check_installed() -> None:
    """Check that the extra is there.

    Raises:
        ConfigError: one line that says how to install it.
    """
    if importlib.util.find_spec(EXTRA) is None:
        raise ConfigError(
            "wandb-workspaces is not installed; run .venv/bin/pip install -e '.[dashboards]' "
            "(or pip install wandb-workspaces)"
        )


def where_of(plan: Plan, *, entity: str | None, project: str) -> Where:
    """Return what views of a plan need to know; asks W&B for the entity if none is given.

    Args:
        plan: the tables.
        entity: team or user; None = the key's own.
        project: project at W&B.
    """
    os.environ.setdefault("WANDB_SILENT", "true")  # each view is printed once, by the script
    import wandb

    config = next(iter(plan.runs.values())).config
    return Where(
        entity=entity or wandb.Api().default_entity,
        project=project,
        profile=plan.profile,
        metric=plan.tables[0].metrics[0].source,
        layers=(config.model.depth or 0) + 2,  # behind the stem, the positions and every block
    )


def save_views(plan: Plan, where: Where) -> Iterator[tuple[str, str]]:
    """Save the workspace of a plan's profile and the report of each of its tables.

    Args:
        plan: the tables.
        where: the project.

    Yields:
        What was saved, and its address.

    Raises:
        RunError: W&B refuses, or does not answer.
    """
    try:
        yield f"workspace {where.profile}", _save_workspace(where)
        for table in plan.tables:
            yield f"report {table.name}", _save_report(report(where, table))
    except (ConfigError, RunError):
        raise
    except Exception as error:  # of the server or of a package that is in preview
        first = next(iter(str(error).splitlines()), "") or "no message"
        raise RunError(f"W&B: {type(error).__name__}: {first}; nothing else was saved") from error


def _save_workspace(where: Where) -> str:
    """Save the workspace of a profile over the one that is there; return its address."""
    import wandb_workspaces.workspaces as ws

    new = workspace(where)
    # Our name for the workspace, in the form that W&B gives such names.
    name = hashlib.sha256(f"scaledrelu/{where.profile}".encode()).hexdigest()[:11]
    try:
        known = ws.Workspace.from_url(f"{ANY_HOST}/{where.entity}/{where.project}?nw={name}")
    except ValueError:  # not saved yet, or no such project: saving says which
        new._internal_name = f"nw-{name}-v"
        return new.save().url
    known.name, known.sections, known.settings = new.name, new.sections, new.settings
    known.runset_settings = new.runset_settings
    return known.save().url


def _save_report(new: Any) -> str:
    """Save a report over the one with the same title; return its address."""
    import wandb

    found = wandb.Api().reports(f"{new.entity}/{new.project}")
    with suppress(ValueError):  # no such project yet
        new.id = next((one.id for one in found if one.display_name == new.title), new.id)
    return new.save().url
