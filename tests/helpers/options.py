"""The options of ``conf/``: those that the paper's tables train, and what a person added.

What is known of the paper's options, such as counts of parameters, is compared for those alone;
what holds for every option is tried on every one.
"""

from __future__ import annotations

import re
from functools import cache

import yaml

from scaledrelu.config.overrides import group_options
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


@cache
def own_code() -> tuple[str, ...]:
    """Return the override that lets options call what their files name beside our own code.

    A person who adds a class of their own to ``conf/`` has to trust it on every command line; the
    tests of all options do.
    """
    named = {
        module
        for group in GROUPS
        for path in (CONF_DIR / group).glob("*.yaml")
        for module in TARGETS.findall(path.read_text())
        if not f"{module}.".startswith(tuple(f"{known}." for known in (*TRUSTED, "scaledrelu")))
    }
    return (f"trust=[{','.join(sorted(named))}]",) if named else ()
