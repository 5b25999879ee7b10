"""A sweep whose training is a stand-in: real plans and processes, no seconds spent on training."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import yaml

from scaledrelu.config.identity import canonical
from scaledrelu.config.places import CONF_DIR
from scaledrelu.runs.record import read_status, run_directory
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import Settings, load_settings
from scripts.sweep import sweep
from tests.helpers import fake_train

_ROWS = (["stem=patchify"], ["stem=conv"], ["stem=conv", "lr.base=1e-3"])
TABLE = {
    "source": "Table 8",
    "title": "A small table",
    "columns": {"lr": {"from": "lr.base"}, "top1": {"metric": "val/top1"}},
    "blocks": [{"label": "b", "rows": [{"run": run, "paper": {"top1": 1.0}} for run in _ROWS]}],
}

PRELOAD = ("tests.helpers.fake_train",)


def settings_in(base: Path, *arguments: str, script: str = "sweep") -> Settings:
    if not any(argument.startswith("results=") for argument in arguments):
        arguments = (f"results={base / 'results'}", *arguments)
    return load_settings(arguments, conf_dir=base / "conf", script=script)


def prepare(base: Path, table: dict) -> Path:
    """Make a configuration tree whose only table is this one, with its composed configs."""
    shutil.copytree(CONF_DIR, base / "conf")
    (base / "conf" / "claims.yaml").unlink()  # about tables that are removed here
    for path in (base / "conf" / "table").glob("*.yaml"):
        path.unlink()
    write_only_table(base, table)
    plan_tables(settings_in(base))
    return base


def write_only_table(base: Path, table: dict) -> None:
    (base / "conf" / "table" / "table8.yaml").write_text(yaml.safe_dump(table))


def sweep_in(base: Path, *arguments: str, say=print) -> int:
    """Sweep with the stand-in for training, whose plan lies in ``fake.json``."""
    train = partial(fake_train.train, plan=base / "fake.json")
    return sweep(settings_in(base, *arguments), say, train=train, preload=PRELOAD)


class Sandbox:
    """Fresh results beside a copy of a prepared tree; ``behave`` scripts the runs, in plan order.

    Args:
        prepared: what ``prepare`` made.
        base: an empty folder.
    """

    def __init__(self, prepared: Path, base: Path):
        for name in ("results", "conf"):
            shutil.copytree(prepared / name, base / name)
        self.base = base
        self.said = []
        self.plan = plan_tables(settings_in(base))
        self.names = list(self.plan.runs)

    def behave(self, *scripts):
        configs = {n: canonical(run.config) for n, run in self.plan.runs.items()}
        runs = dict(zip(self.names, scripts, strict=False))
        plan = json.dumps({"runs": runs, "configs": configs})
        (self.base / "fake.json").write_text(plan)

    def sweep(self, *arguments):
        """Sweep one run at a time, so that the order of starts is known."""
        if not any(argument.startswith("n_jobs=") for argument in arguments):
            arguments = (*arguments, "n_jobs=1")
        return sweep_in(self.base, *arguments, say=self.said.append)

    def folder(self, place):
        return run_directory(self.base / "results", self.names[place])

    def statuses(self):
        return [str(read_status(self.folder(place))) for place in range(len(self.names))]

    def started(self):
        """Return the runs in the order of their attempts, by their place in the plan."""
        path = self.base / "results" / "started"
        return [self.names.index(n) for n in path.read_text().split()] if path.exists() else []
