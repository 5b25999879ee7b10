"""The options of ``conf/``: those that the paper's tables train, and what a person added.

What is known of the paper's options, such as counts of parameters, is compared for those alone;
what holds for every option is tried on every one.
"""

from __future__ import annotations

import re
from functools import cache

import yaml

from scaledrelu.config.openers import opener_of
from scaledrelu.config.options import group_options
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.trust import TRUSTED
from scaledrelu.tables.spec import load_table, table_names

GROUPS = group_options(CONF_DIR)
STEMS, FFNS = GROUPS["stem"], GROUPS["ffn"]
TARGETS = re.compile(r"_target_: ([\w.]+)\.\w+")


@cache
def of_the_paper(group: str) -> list[str]:
    """Return the options of a group that rows with a number of the paper train.

    Args:
        group: one that has a default option.
    """
    tables = (load_table(name, CONF_DIR) for name in table_names(CONF_DIR))
    tables = [table for table in tables if table.is_of_the_paper]
    rows = [run for table in tables for row in table.rows for run in (row.run, row.upstream or ())]
    rows += [column.run for table in tables for column in table.columns]
    defaults = yaml.safe_load((CONF_DIR / "train.yaml").read_text())["defaults"]
    (usual,) = (one[group] for one in defaults if group in one)
    chosen = (override.partition("=") for run in rows for override in run)
    return sorted({usual, *(option for key, _, option in chosen if key == group)})


def own_code(*overrides: str) -> tuple[str, ...]:
    """Return the override that lets options call what their files name beside our own code.

    A person who adds a class of their own to ``conf/`` has to trust it on every command line; the
    tests of all options do.

    Args:
        overrides: ``group=option``; others name no file.
    """
    chosen = (override.partition("=") for override in overrides)
    named = {module for group, _, option in chosen for module in _own_modules(group, option)}
    return (f"trust=[{','.join(sorted(named))}]",) if named else ()


def fitting_recipe(*overrides: str) -> tuple[str, ...]:
    """Return the recipe that judges what data show, where it is not the usual one: people.

    Args:
        overrides: ``group=option``.
    """
    chosen = [option for group, _, option in (one.partition("=") for one in overrides)
              if group == "data"]  # fmt: skip
    return ("recipe=reid",) if any(map(_shows_people, chosen)) else ()


@cache
def _shows_people(data: str) -> bool:
    values = yaml.safe_load((CONF_DIR / "data" / f"{data}.yaml").read_text())
    opener = opener_of(values.get("build", {}))
    bases = (one for one in values.get("defaults", ()) if one not in ("_self_", "_base"))
    return opener.has_people if opener is not None else any(map(_shows_people, bases))


@cache
def _own_modules(group: str, option: str) -> frozenset[str]:
    """Return the modules that an option, or one that it rests on, names beside trusted ones."""
    path = CONF_DIR / group / f"{option}.yaml"
    if not path.is_file():
        return frozenset()
    text = path.read_text()
    bases = (one for one in yaml.safe_load(text).get("defaults", ()) if isinstance(one, str))
    below = (_own_modules(group, base) for base in bases if base != "_self_")
    trusted = tuple(f"{module}." for module in (*TRUSTED, "scaledrelu"))
    own = {module for module in TARGETS.findall(text) if not f"{module}.".startswith(trusted)}
    return frozenset(own).union(*below)
