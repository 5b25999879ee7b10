"""Rows that name code of others: refused where they are trained, never where they are shown."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from scaledrelu.errors import RefusedError
from scaledrelu.launch.jobs import trust_of
from scaledrelu.tables.planner import plan_tables
from scripts.report import report
from tests.helpers.run_folders import leave
from tests.helpers.sandboxes import Sandbox, settings_in, write_only_table

NORM = "stem.norm={_target_: timm.layers.LayerNorm2d}"
TABLE = {
    "source": "a table of our own",
    "title": "A norm of timm beside the paper's",
    "columns": {"lr": {"from": "lr.base"}, "top1": {"metric": "val/top1"}},
    "blocks": [
        {
            "label": "b",
            "rows": [
                {"run": ["stem=conv", *more], "paper": {"top1": "missing"}} for more in ([], [NORM])
            ],
        }
    ],
}
LINE = (
    "stem.norm._target_=timm.layers.LayerNorm2d: not trusted code; allowed: public names in "
    "scaledrelu.models, scaledrelu.tasks, scaledrelu.data, scaledrelu.evals, scaledrelu.optim, "
    "torch.optim, timm.optim; if you trust this code, add trust=[timm.layers], with make "
    "added to what ARGS holds: ARGS='trust=[timm.layers]' (1 of 2 runs to train)"
)
TRUST = "trust=[timm.layers]"


@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_a_sweep_that_would_call_it_is_refused_and_told_what_to_add(
    sandbox: Sandbox, launcher: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        sandbox.sweep(f"launcher={launcher}")
    assert caught.value.lines == (LINE,)
    assert not (sandbox.base / "results" / "runs").exists()


def test_a_sweep_that_trusts_it_trains_it(sandbox: Sandbox) -> None:
    plan = plan_tables(settings_in(sandbox.base, TRUST))
    assert [*plan.runs] == sandbox.names
    assert {trust_of(run.config) for run in plan.runs.values()} == {(TRUST,)}
    assert plan.overrides == (), "no difference from the paper"
    sandbox.behave()
    assert sandbox.sweep(TRUST) == 0
    assert sandbox.started() == [0, 1]


def test_a_plan_shows_it_and_says_what_to_add(sandbox: Sandbox) -> None:
    assert sandbox.sweep("dry_run=true") == 0
    assert sandbox.said[-1].splitlines()[-1] == LINE
    assert sandbox.sweep("dry_run=true", TRUST) == 0
    assert "trust" not in sandbox.said[-1]


@pytest.mark.parametrize("dry", ["dry_run=true", "dry_run=false"])
def test_code_of_several_modules_is_allowed_by_each_line_that_is_said(
    sandbox: Sandbox, dry: str
) -> None:
    act = "stem.act={_target_: my_layers.Act}"
    rows = [["stem=conv", NORM], ["stem=conv", act, "optimizer.build._target_=my_rules.Own"]]
    table = copy.deepcopy(TABLE)
    table["blocks"][0]["rows"] = [{"run": run, "paper": {"top1": "missing"}} for run in rows]
    write_only_table(sandbox.base, table)
    if dry == "dry_run=true":
        sandbox.sweep(dry, "trust=[my_rules]")
        lines = sandbox.said[-1].splitlines()[-2:]
    else:
        with pytest.raises(RefusedError) as caught:
            sandbox.sweep(dry, "trust=[my_rules]")
        lines = caught.value.lines
    assert len(lines) == 2
    assert all("ARGS='trust=[my_rules,timm.layers,my_layers]'" in line for line in lines)


def test_its_results_are_reported_without_trust(sandbox: Sandbox) -> None:
    for run in sandbox.plan.runs.values():
        leave(sandbox.base / "results", run.config, 70.0)
    written: list[Path] = []
    for given in ([], [TRUST]):
        report(settings_in(sandbox.base, *given, script="report"), lambda line: None)
        written.append((sandbox.base / "results" / "mini" / "table8.md").read_bytes())
    assert written[0] == written[1]
    assert written[0].count(b"70.0") >= 2
    assert sandbox.sweep() == 0, "what is done is not called again"
