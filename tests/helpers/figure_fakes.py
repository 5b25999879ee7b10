"""A small Figure 1 without training: its file, its plan, and the evidence of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from scaledrelu.runs.record import run_directory
from scaledrelu.tables.figures import load_figure
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import Planner
from tests.helpers.table_fakes import FakeCompose, finish, write_table

LAYERS = 4  # stem, positions and two blocks
SEEDS = (0, 1, 2)
RUNS = {
    "a": ["stem=patchify"],
    "b": ["stem=conv"],
    "c": ["stem=conv", "lr.base=1e-3"],
    "d": ["stem=patchify", "lr.base=1e-3"],
}
STATEMENTS = [
    {"says": "positions diversify", "kind": "position"},
    {"says": "b is lower at the bottom", "kind": "lower_layers", "series": "b", "against": "a"},
    {"says": "b ends elsewhere", "kind": "higher_layers", "series": "b", "against": "a"},
    {"says": "c is like d", "kind": "alike", "series": "c", "against": "d"},
]


def write_figure(conf_dir: Path, **values: Sequence[float]) -> None:
    """Write a figure of four series; ``values`` are what was read off the paper's."""
    write_table(conf_dir)
    raw = {
        "source": "Figure 1",
        "title": "A small figure",
        "base": ["recipe=deit", "model=vit", f"model.depth={LAYERS - 2}"],
        "seeds": list(SEEDS),
        "layers": 14,
        "axes": {"x": "Layer depth", "y": "similarity", "y_ticks": [0.2, 0.7]},
        "columns": {
            "stem": {"from": "stem.label"},
            "lr": {"from": "lr.base"},
            "top1": {"metric": "val/top1", "header": "Top-1", "digits": 1},
        },
        "series": [
            {"label": label, "run": run, "values": list(values.get(label, ())) or "missing"}
            for label, run in RUNS.items()
        ],
        "statements": STATEMENTS,
    }
    (conf_dir / "figure").mkdir(exist_ok=True)
    (conf_dir / "figure" / "figure1.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))


def figure_plan(base: Path, seeds: Sequence[int] = SEEDS) -> Plan:
    """Plan the figure that ``write_figure`` wrote."""
    conf_dir = base / "conf"
    return Planner("mini", results=base / "results", compose=FakeCompose(conf_dir)).plan(
        [load_figure(conf_dir).table], seeds
    )


def leave_evidence(plan: Plan, run_id: str, absolute: Sequence[float], **more: object) -> Path:
    """Leave the result and the evidence of a run; the signed similarity is a tenth lower."""
    folder = finish(plan, run_id, **more)
    absolute = np.asarray(absolute, float)
    arrays = {"similarity.absolute": absolute, "similarity.signed": absolute - 0.1}
    np.savez_compressed(folder / "evidence.npz", **arrays)
    return folder


def evidence_of(plan: Plan, run_id: str) -> dict[str, np.ndarray]:
    """Read a run's evidence as numpy has it."""
    with np.load(run_directory(plan.results, run_id) / "evidence.npz") as stored:
        return dict(stored)


def finish_figure(base: Path) -> Plan:
    """Leave all runs of the figure with curves of their own; d's last seed crashed."""
    plan, rng = figure_plan(base), np.random.RandomState(0)
    for cell in plan.cells:
        for run_id in cell.run_ids:
            crashed = cell.row.number == 4 and run_id == cell.run_ids[-1]
            crash = "collapsed" if crashed else None
            leave_evidence(plan, run_id, rng.uniform(0.2, 0.9, LAYERS), crash=crash)
    return figure_plan(base)
