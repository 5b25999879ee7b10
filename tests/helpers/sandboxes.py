"""A sweep whose training is a stand-in: real plans and launchers, no seconds spent on training."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import yaml

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.config.identity import canonical
from scaledrelu.launch import launch
from scaledrelu.launch.sweep import plan_tables, run_sweep
from scaledrelu.runs.record import read_status, run_directory
from scaledrelu.tables.settings import Settings, load_settings

FAKE_TRAIN = (sys.executable, str(Path(__file__).with_name("fake_train.py")))


def settings_in(base: Path, *arguments: str) -> Settings:
    return load_settings([f"results={base / 'results'}", *arguments], conf_dir=base / "conf")


def prepare(base: Path, table: dict) -> Path:
    """Make a configuration tree whose only table is this one, with its composed configs."""
    shutil.copytree(CONF_DIR, base / "conf")
    for path in (base / "conf" / "table").glob("*.yaml"):
        path.unlink()
    write_only_table(base, table)
    plan_tables(settings_in(base))
    return base


def write_only_table(base: Path, table: dict) -> None:
    (base / "conf" / "table" / "table8.yaml").write_text(yaml.safe_dump(table))


class Sandbox:
    """Fresh results beside a copy of a prepared tree; ``behave`` scripts the runs, in plan order.

    Args:
        prepared: what ``prepare`` made.
        base: an empty folder.
        monkeypatch: of the test.
    """

    def __init__(self, prepared: Path, base: Path, monkeypatch):
        for name in ("results", "conf"):
            shutil.copytree(prepared / name, base / name)
        self.base = base
        self.said = []
        self.plan = plan_tables(settings_in(base))
        self.names = list(self.plan.runs)
        self._fake = base / "fake.json"
        monkeypatch.setenv("FAKE_PLAN", str(self._fake))
        monkeypatch.setattr(launch, "POLL_S", 0.02)
        monkeypatch.setenv("PYTHONPATH", str(CONF_DIR.parent))

    def behave(self, *scripts):
        configs = {n: canonical(run.config) for n, run in self.plan.runs.items()}
        runs = dict(zip(self.names, scripts, strict=False))
        self._fake.write_text(json.dumps({"runs": runs, "configs": configs}))

    def sweep(self, *arguments):
        return run_sweep(settings_in(self.base, *arguments), self.said.append, train=FAKE_TRAIN)

    def statuses(self):
        return [str(read_status(run_directory(self.base / "results", n))) for n in self.names]

    def commands(self):
        path = self.base / "results" / "commands"
        lines = path.read_text().splitlines() if path.exists() else []
        tried = []
        for line in lines:
            arguments = dict(item.partition("=")[::2] for item in json.loads(line))
            tried.append([self.names.index(n) for n in arguments["experiment"].split(",")])
        return tried
